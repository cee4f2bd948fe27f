"""Locks under DATA_DIR/locks: who uses the pair, who runs it, what is still alive.

A flock belongs to the open file, not to a process: whoever inherited the descriptor
shares it, and the kernel drops it when the last of them is gone, however they died.

- `lease`: shared, held by every user; exclusive, by a supervisor that is leaving.
- `supervisor`: exclusive, handed by the process that starts a supervisor to it.
- `postgres`, `redis`: exclusive, held by all processes of that server alone.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def open_lock(data_dir: Path, name: str) -> int:
    """A new descriptor of one lock file, not inherited across exec, nothing held."""
    path = data_dir / "locks" / name
    path.parent.mkdir(exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def try_exclusive(descriptor: int) -> bool:
    return _try(descriptor, fcntl.LOCK_EX)


def try_shared(descriptor: int) -> bool:
    return _try(descriptor, fcntl.LOCK_SH)


def release(descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def _try(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
