"""What a pool's processes are told by their main process: whether others wait for them.

In memory that both see, because a child is told nothing else while its task runs.
Where nobody tells (no worker, a pool that does not fork) there is no room.
"""

from __future__ import annotations

import mmap

from celery.signals import worker_shutting_down

_JOBS, _PROCESSES, _CLOSING = range(3)

# Made before the pool forks: its children inherit it. Each number is written at once.
_told = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("i")


def tell(jobs: int, processes: int) -> None:
    """By the main process, of each job: so many wait or run, in so many processes."""
    _told[_JOBS], _told[_PROCESSES] = jobs, processes


def open_pool() -> None:
    _told[_CLOSING] = 0


def close_pool(**_: object) -> None:
    _told[_CLOSING] = 1


def is_wanted() -> bool:
    """Whether the caller's process is wanted for another job, or is to end."""
    return bool(_told[_CLOSING]) or _told[_JOBS] > _told[_PROCESSES]


def is_last() -> bool:
    """Whether no process is free: the next message has to wait for one that works."""
    return _told[_JOBS] >= _told[_PROCESSES]


def is_told() -> bool:
    return _told[_PROCESSES] > 0


# From the signal's handler: a main process that waits for its last tasks tells no more.
worker_shutting_down.connect(close_pool)
