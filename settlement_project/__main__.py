"""`combat-settlement`, `manage.py` and `python -m settlement_project`: the commands."""

from __future__ import annotations

import os
import sys

from combat_history import origin


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settlement_project.settings")
    try:
        from django.core.management import execute_from_command_line
    except ModuleNotFoundError:
        # The engine's side and the bot are installed without the server.
        sys.exit("Django is missing: pip install 'combat-settlement[server]'")
    origin.is_command = True
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
