"""Start the processes that settle, and stop them whatever happens.

They also end when the benchmark itself is killed: the kernel tells them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks.errors import BenchmarkError
from benchmarks.servers import BASE_DIR

POOL_SIZE = 2
START_SECONDS = 60
STOP_SECONDS = 20
POLL_SECONDS = 0.05
LOG_TAIL = 3000


@dataclass(frozen=True)
class Process:
    popen: subprocess.Popen[bytes]
    output: int
    """Descriptor of the nameless file that it writes to."""

    def has_said(self, word: str) -> bool:
        self.raise_if_failed()
        return word in self._said()

    def raise_if_failed(self) -> None:
        if self.popen.poll():
            raise BenchmarkError(
                f"{self.popen.args!r} failed:\n{self._said()[-LOG_TAIL:]}"
            )

    def _said(self) -> str:
        size = os.fstat(self.output).st_size
        return os.pread(self.output, size, 0).decode(errors="replace")

    def stop(self) -> None:
        self.popen.send_signal(signal.SIGTERM)
        try:
            self.popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()


@dataclass(frozen=True)
class Settling:
    """What is at work: Celery parents, whose pools are children, and bare processes."""

    parents: Sequence[Process] = ()
    bare: Sequence[Process] = ()

    def raise_if_failed(self) -> None:
        for process in (*self.parents, *self.bare):
            process.raise_if_failed()


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"not within {seconds:.0f} s: {what}")
        time.sleep(POLL_SECONDS)


@contextmanager
def celery_worker(
    app: str, environment: dict[str, str], python: str = sys.executable
) -> Iterator[Settling]:
    """A prefork worker of two that is ready for messages."""
    command = ["-m", "celery", "-A", app, "worker", "-c", str(POOL_SIZE), "-l", "INFO"]
    with _running([python, *command], environment) as process:
        _await_word("ready.", process)
        yield Settling(parents=[process])


@contextmanager
def bare_processes(
    module: str, environment: dict[str, str], python: str = sys.executable
) -> Iterator[Settling]:
    """As many plain processes of `module`, each having printed `ready`."""
    with ExitStack() as stack:
        started = [
            stack.enter_context(_running([python, "-m", module], environment))
            for _ in range(POOL_SIZE)
        ]
        for process in started:
            _await_word("ready", process)
        yield Settling(bare=started)


@contextmanager
def _running(command: Sequence[str], environment: dict[str, str]) -> Iterator[Process]:
    guard = ["setpriv", "--pdeathsig=TERM"] if shutil.which("setpriv") else []
    with tempfile.TemporaryFile() as output:
        popen = subprocess.Popen(
            [*guard, *command],
            cwd=BASE_DIR,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        process = Process(popen, output.fileno())
        try:
            yield process
        finally:
            process.stop()


def _await_word(word: str, process: Process) -> None:
    wait_until(
        lambda: process.has_said(word), START_SECONDS, f"{process.popen.args!r} ready"
    )
