"""Heartbeat files: the worker and beat touch theirs, health checks look how old it is.

`python persistence/worker/heartbeat.py worker --max-age 60` asks no broker and loads
neither Django nor Celery: exit status 0 where this machine's file is fresh.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from pathlib import Path

# Folder of the heartbeat files of worker and beat; none: no heartbeat is kept.
FOLDER_VARIABLE = "SETTLEMENT_HEARTBEAT_DIR"
KINDS = ("worker", "beat")

TOUCH_SECONDS = 5
MAX_AGE_SECONDS = 60
"""A loop that has not turned for so long serves nobody."""

FORGOTTEN_SECONDS = 24 * 60 * 60
"""What a killed container left behind is taken out by the next of its kind."""


def folder() -> Path | None:
    """The folder of the files; None: no heartbeat is kept."""
    name = os.environ.get(FOLDER_VARIABLE)
    return Path(name) if name else None


def touch(kind: str) -> None:
    own = _own_file(kind)
    if own is not None:
        own.touch()


def begin(kind: str) -> None:
    """The first heartbeat of a process. Raises OSError where none can be kept."""
    own = _own_file(kind)
    if own is None:
        return
    own.parent.mkdir(parents=True, exist_ok=True)
    for file in own.parent.glob(f"{kind}.*"):
        if (_age(file) or 0) > FORGOTTEN_SECONDS:
            file.unlink(missing_ok=True)
    own.touch()


def end(kind: str) -> None:
    """Take the file of a process away that stops in order: its silence is no alarm."""
    own = _own_file(kind)
    if own is not None:
        own.unlink(missing_ok=True)


def own_age(kind: str) -> float | None:
    """Seconds since this machine's process of that kind was heard; None: never."""
    own = _own_file(kind)
    return None if own is None else _age(own)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Is the process of this machine alive?"
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--max-age", type=float, default=MAX_AGE_SECONDS)
    options = parser.parse_args()
    if folder() is None:
        sys.exit(f"{FOLDER_VARIABLE} is not set")
    age = own_age(options.kind)
    if age is None:
        sys.exit(f"{options.kind}: no heartbeat")
    if age > options.max_age:
        sys.exit(f"{options.kind}: last heartbeat {age:.0f} s ago")


def _own_file(kind: str) -> Path | None:
    where = folder()
    return None if where is None else where / f"{kind}.{socket.gethostname()}"


def _age(file: Path) -> float | None:
    try:
        # Of two clocks, a file from the future is as good as new.
        return max(0.0, time.time() - file.stat().st_mtime)
    except FileNotFoundError:
        return None


if __name__ == "__main__":
    main()
