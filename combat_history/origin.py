"""Whether a person began this process as a command. Django is not asked: it may not be
set up yet.
"""

from __future__ import annotations

is_command = False
"""Set by `manage.py` and `combat-settlement`."""
