"""Ends a command that is silent for long, once nobody reads its output any more."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import UnsupportedOperation
from threading import Event, Thread

LOOK_MS = 500


@contextmanager
def ends_with_its_reader() -> Iterator[None]:
    """End this process where the other end of its standard output is closed.

    A write would notice it; within the block there is none. Its connections go with the
    process, and PostgreSQL ends the statement of one that is closed.
    """
    try:
        fd = sys.stdout.fileno()
    except (AttributeError, UnsupportedOperation):
        yield
        return
    over = Event()
    watching = Thread(target=_watch, args=(fd, over), daemon=True)
    watching.start()
    try:
        yield
    finally:
        over.set()


def _watch(fd: int, over: Event) -> None:
    poll = select.poll()
    poll.register(fd, 0)  # errors and hang-ups are told in any case
    while not over.is_set():
        if poll.poll(LOOK_MS) and not over.is_set():
            os.kill(os.getpid(), signal.SIGTERM)
            return
