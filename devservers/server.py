"""One supervised server process.

All processes of a server, and nobody else, hold that server's lock: they inherit it
from here. A free lock therefore proves that nothing is left of an earlier run, which
no pid file can, and what that run left behind may be cleared.
"""

from __future__ import annotations

import contextlib
import glob
import logging
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Protocol

from devservers import locks, ports
from devservers.errors import EmbeddedError, tail
from devservers.identity import Identity

START_TIMEOUT_SECONDS = 60  # crash recovery of a full WAL or a long AOF on a slow disk
STOP_TIMEOUT_SECONDS = 20  # then kill -9: costs a crash recovery, never data
POLL_SECONDS = 0.02
PORT_TRIES = 20  # each one lost to somebody who bound the port after we had looked

logger = logging.getLogger(__name__)


class Program(Protocol):
    """What differs between the two servers."""

    @property
    def data_dir(self) -> Path: ...

    @property
    def identity(self) -> Identity: ...

    name: ClassVar[str]
    preferred_port: ClassVar[int]
    stop_signal: ClassVar[signal.Signals]
    orphan_signal: ClassVar[signal.Signals]
    """Sent by the kernel to the main process when the supervisor dies."""

    def prepare(self, lock: int) -> None:
        """Make the data startable. Nothing of this server runs; `lock` proves it."""

    def command(self, port: int) -> list[str]: ...

    def answers(self, port: int, pid: int) -> bool:
        """Whether process `pid` serves at `port`: never true for a stranger there."""

    def url(self, port: int) -> str: ...


class Server:
    """A program and its process. Not started by construction."""

    def __init__(self, program: Program, last_port: int | None) -> None:
        self.name = program.name
        self.port = last_port or program.preferred_port
        self._program = program
        self._log = program.data_dir / "logs" / f"{program.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self._program.url(self.port)

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Serve at the first port from `self.port` on that nobody takes from us."""
        with self._alone() as lock:
            for _ in range(PORT_TRIES):
                self.port = ports.next_free(self.port)
                if self._launch(lock):
                    return
                if ports.is_free(self.port):
                    break
        raise self._failed("ended at start")

    def restart(self) -> None:
        """Serve again, over the same data at the same port: users know its address."""
        with self._alone() as lock:
            if not self._launch(lock):
                raise self._failed("cannot be restarted")

    def stop(self) -> None:
        if not self.is_alive or self._process is None:
            return
        self._process.send_signal(self._program.stop_signal)
        self._process.send_signal(signal.SIGCONT)  # a frozen process could not obey
        try:
            self._process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            logger.warning("%s does not stop: killing it", self.name)
            self._process.kill()
            self._process.wait()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[int]:
        """The lock of this server, once the last process of an earlier run is gone."""
        lock = locks.open_lock(self._program.data_dir, self.name)
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        try:
            while not locks.try_exclusive(lock):
                if time.monotonic() > deadline:
                    raise self._failed("still has processes of an earlier run")
                _kill_holders(lock)
                time.sleep(POLL_SECONDS)
            yield lock
        finally:
            os.close(lock)

    def _launch(self, lock: int) -> bool:
        """True once it answers, False if it ended before."""
        self._program.prepare(lock)
        command = self._program.command(self.port)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._program.identity.guarded(command, self._program.orphan_signal),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
            )
        return self._wait(self._process)

    def _wait(self, process: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return False
            if self._program.answers(self.port, process.pid):
                logger.info("%s: pid %d, port %d", self.name, process.pid, self.port)
                return True
            time.sleep(POLL_SECONDS)
        raise self._failed(f"does not answer after {START_TIMEOUT_SECONDS} s")

    def _failed(self, what: str) -> EmbeddedError:
        where = self._program.data_dir
        return EmbeddedError(
            f"The embedded {self.name} over {where} {what}. The reason is in its log. "
            f"To start over with empty servers delete {where}; to use other servers "
            f"set DATABASE_URL and REDIS_URL.\n{tail(self._log)}"
        )


def _kill_holders(lock: int) -> None:
    """Kill -9 what an earlier run left: its main process frozen, or workers orphaned.

    Without the right to look into /proc they are waited for instead.
    """
    wanted = os.fstat(lock)
    for link in glob.iglob("/proc/[0-9]*/fd/*"):
        pid = int(link.split("/")[2])
        try:
            if pid != os.getpid() and os.path.samestat(os.stat(link), wanted):
                logger.warning("killing process %d of an earlier run", pid)
                os.kill(pid, signal.SIGKILL)
        except OSError:  # ended while we looked, or of another user and so not ours
            continue
