"""Kill -9 a forked process at its k-th I/O operation, for every k, as SQLite tests.

An operation is one PostgreSQL statement, commit or rollback, one Redis command, script
or pipeline, or one acknowledgement to RabbitMQ: the drivers, and what the engine's side
has in the place of one, are wrapped inside the child alone, so nothing of the code
under test knows. What the child tells its parent survives it, as does what it did to
the servers, and nothing else.
"""

from __future__ import annotations

import gc
import itertools
import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

import amqp
import psycopg
import redis
from redis.client import Pipeline

from persistence.engine.redis import IdleConnections

HANG_SECONDS = 60
"""A child that takes this long waits for something its parent will never do."""

Tell = Callable[[str], None]
Work = Callable[[Tell], None]


class When(StrEnum):
    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True)
class Crash:
    """Dies before or after its operation number `operation`, counted from 1."""

    operation: int
    when: When

    def __str__(self) -> str:
        return f"killed {self.when} operation {self.operation}"


@dataclass(frozen=True)
class Run:
    """What the parent knows of a child that is gone."""

    is_killed: bool
    told: list[str]
    operations: int


def run(work: Work, crash: Crash | None = None) -> Run:
    """Run `work` in a forked child, which dies at `crash` if it comes so far.

    The caller must have no connection open that the child would use. Raises what the
    child raised, as AssertionError with its traceback.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # From 3.12 on a fork warns of other threads; none holds a lock of ours.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os.close(reader)
        _child(work, crash, writer)
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        lines = pipe.read().split("\0")
    _, status = os.waitpid(pid, 0)
    *told, end = lines
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, f"the child hung: {crash}"
        return Run(True, told, crash.operation if crash else 0)
    assert os.WEXITSTATUS(status) == 0, f"the child failed ({crash}):\n{end}"
    return Run(False, told, int(end))


def every_crash(whens: Iterable[When]) -> Iterator[Crash]:
    """All crash points in order: the caller stops at the first run that survives."""
    for operation in itertools.count(1):
        for when in whens:
            yield Crash(operation, when)


def _child(work: Work, crash: Crash | None, writer: int) -> NoReturn:
    gc.disable()  # its walk would copy every page of the parent
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(HANG_SECONDS)
    border = _Border(crash)
    try:
        border.guard(psycopg.Connection, "wait")
        border.guard(redis.Redis, "execute_command")
        border.guard(Pipeline, "execute")
        border.guard(IdleConnections, "ask")
        border.guard(amqp.Channel, "basic_ack")
        work(lambda line: _write(writer, f"{line}\0"))
        _write(writer, str(border.operations))
    except BaseException:  # noqa: BLE001 -- the parent raises it again
        _write(writer, traceback.format_exc())
        os._exit(1)
    os._exit(0)


class _Border:
    """Counts what crosses the process border, and kills at the chosen operation."""

    def __init__(self, crash: Crash | None) -> None:
        self.operations = 0
        self._crash = crash
        self._lock = threading.Lock()
        self._within = threading.local()

    def guard(self, owner: type, name: str) -> None:
        original = getattr(owner, name)

        def guarded(*args: Any, **kwargs: Any) -> Any:
            # A pipeline may send itself as commands: still one operation.
            if getattr(self._within, "operation", False):
                return original(*args, **kwargs)
            self._within.operation = True
            try:
                number = self._next()
                self._kill_at(number, When.BEFORE)
                result = original(*args, **kwargs)
                self._kill_at(number, When.AFTER)
                return result
            finally:
                self._within.operation = False

        setattr(owner, name, guarded)

    def _next(self) -> int:
        with self._lock:
            self.operations += 1
            return self.operations

    def _kill_at(self, number: int, when: When) -> None:
        if self._crash == Crash(number, when):
            os.kill(os.getpid(), signal.SIGKILL)
            # Signals reach another thread's process a moment later.
            time.sleep(HANG_SECONDS)


def _write(descriptor: int, text: str) -> None:
    """One write, so that a kill leaves all of it or nothing."""
    os.write(descriptor, text.encode())
