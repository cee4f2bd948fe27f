"""The processes of the system, started and stopped together.

Each child is a session of its own, so that Ctrl-C reaches them only as an orderly
SIGTERM from here, and each dies with this process, even when that is killed -9.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from django.conf import settings

from persistence.worker import heartbeat
from settlement_project import servers

STOP_SECONDS = 10
"""For an orderly end, all children together; then kill -9."""

READY_SECONDS = 60
STEADY_SECONDS = 10
"""A child that has to be started again sooner than this is not, until then."""

_VERBOSE = ("--loglevel", "INFO")

Say = Callable[[str], None]


def data_dir() -> Path:
    """Where journals and logs go: beside the embedded servers' data."""
    return servers.data_dir(settings.BASE_DIR)


@dataclass(frozen=True)
class Program:
    """A child. `ready`: the words in its log that say it serves."""

    name: str
    arguments: list[str]
    ready: str
    environment: Mapping[str, str] = field(default_factory=dict)


def celery(*arguments: str) -> list[str]:
    return ["-m", "celery", "-A", "settlement_project", *arguments]


def worker(processes: int = 2) -> Program:
    # No other worker is asked for its state: that alone would cost a second.
    quick = ("--without-mingle", "--without-gossip")
    pool = ("--pool", "prefork", "--concurrency", str(processes))
    return Program("worker", celery("worker", *_VERBOSE, *pool, *quick), " ready.")


def beat() -> Program:
    schedule = str(data_dir() / "celerybeat-schedule")
    return Program(
        "beat", celery("beat", *_VERBOSE, "--schedule", schedule), "beat: Starting"
    )


def web(port: int) -> Program:
    address = ("--host", "127.0.0.1", "--port", str(port))
    # An open browser must not hold up the end.
    limit = ("--timeout-graceful-shutdown", "3")
    arguments = ["-m", "settlement_project.web", *address, *limit]
    return Program("web", arguments, "Uvicorn running on")


def flower(port: int, user: str, password: str) -> Program:
    conf = settings.BASE_DIR / "ops" / "flower" / "flowerconfig.py"
    address = ("--address=127.0.0.1", f"--port={port}")
    return Program(
        "flower",
        celery("flower", f"--conf={conf}", *address),
        "Visit me at",
        # Not on the command line, which every user of the machine can read.
        {"FLOWER_BASIC_AUTH": f"{user}:{password}"},
    )


class Stack:
    """A context manager: all children are gone when it ends, however it ends."""

    def __init__(self, programs: Iterable[Program], say: Say) -> None:
        self._say = say
        self._children = [_Child(program) for program in programs]

    def __enter__(self) -> Self:
        for child in self._children:
            child.log.parent.mkdir(parents=True, exist_ok=True)
            child.log.unlink(missing_ok=True)
        try:
            self._start_all()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def revive(self) -> bool:
        """Start again what died; whether anything had."""
        dead = [child for child in self._children if child.may_restart()]
        for child in dead:
            self._say(f"{child.program.name} {child.ending()}: started again.")
            child.start()
        return bool(dead)

    def stop(self) -> None:
        """Ask all to end, wait, kill what is left. A second Ctrl-C only kills."""
        deadline = time.monotonic() + STOP_SECONDS
        try:
            for child in self._children:
                child.ask()
            for child in self._children:
                child.wait(deadline)
        finally:
            for child in self._children:
                child.kill()

    def _start_all(self) -> None:
        for child in self._children:
            child.start()
        deadline = time.monotonic() + READY_SECONDS
        for child in self._children:
            while not child.is_ready():
                if not child.is_alive or time.monotonic() > deadline:
                    raise StackError(child.program.name, child.log)
                time.sleep(0.05)


class StackError(Exception):
    """A child did not come up."""

    def __init__(self, name: str, log: Path) -> None:
        super().__init__(name, log)
        self.name = name
        self.log = log

    def __str__(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-15:]
        return "\n".join([f"{self.name} did not start; {self.log} ends:", *lines])


class _Child:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.log = data_dir() / "logs" / f"{program.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._started = -math.inf
        self._rests_until = 0.0

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        now = time.monotonic()
        hurried = now - self._started < STEADY_SECONDS
        self._started, self._rests_until = now, now + hurried * STEADY_SECONDS
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_dies_with_us(), sys.executable, *self.program.arguments],
                cwd=settings.BASE_DIR,
                env={
                    heartbeat.FOLDER_VARIABLE: str(data_dir() / "heartbeats"),
                    **os.environ,
                    **self.program.environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def is_ready(self) -> bool:
        return self.program.ready.encode() in self.log.read_bytes()

    def may_restart(self) -> bool:
        return not self.is_alive and time.monotonic() >= self._rests_until

    def ending(self) -> str:
        code = self._process.returncode if self._process else 0
        if code < 0:
            return f"died of {signal.Signals(-code).name}"
        return f"ended with status {code}"

    def ask(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def wait(self, deadline: float) -> None:
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(max(0, deadline - time.monotonic()))

    def kill(self) -> None:
        """The whole session: a pool process may outlive its parent."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _dies_with_us() -> list[str]:
    """Linux only: elsewhere children survive a kill -9 of this process."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []
