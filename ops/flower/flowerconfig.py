"""Flower: `celery -A settlement_project flower --conf=ops/flower/flowerconfig.py`.

What Flower remembers is a window; the history of combats is the admin's. It shows and
changes nothing: workers are stopped and tasks sent elsewhere, by those who may.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

# `user:password` of Flower; it refuses to start without.
if not os.environ.get("FLOWER_BASIC_AUTH"):
    # The file that holds it instead.
    secret = os.environ.get("FLOWER_BASIC_AUTH_FILE")
    if not secret:
        raise SystemExit(
            "Refusing to start: FLOWER_BASIC_AUTH=user:password is not set."
        )
    basic_auth = [Path(secret).read_text(encoding="utf-8").strip()]

read_only = True

# With its arguments a task names its combat.
tasks_columns = "name,args,state,received,runtime,worker"
max_tasks = 10_000

_SESSION_ID = re.compile(r"session_id\W+([\w-]{22,36})")


def format_task(task: Any) -> Any:
    """Ids, never loot: a sender's own event still carries the whole document."""
    found = _SESSION_ID.search(task.args or "")
    if found:
        task.args = f"({found[1]},)"
    return task
