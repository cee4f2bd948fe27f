"""Write docs/reference anew. With --check: say what differs, and exit with 1."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PAGES_FOLDER = Path(__file__).resolve().parent.parent / "reference"


def main(arguments: list[str]) -> int:
    _set_up()
    from docs.generate.pages import pages

    stale = [
        PAGES_FOLDER / name
        for name, text in pages().items()
        if _written(PAGES_FOLDER / name) != text
    ]
    if "--check" in arguments:
        sys.stderr.writelines(f"{path} is out of date\n" for path in stale)
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_text(pages()[path.name], encoding="utf-8")
        sys.stdout.write(f"{path}\n")
    return 0


def _set_up() -> None:
    """Django without servers: the pages are made of code alone."""
    os.environ.update(
        DATABASE_URL="postgresql://localhost/unused",
        REDIS_URL="redis://localhost/0",
        DJANGO_SETTINGS_MODULE="settlement_project.settings",
    )
    import django

    django.setup()


def _written(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
