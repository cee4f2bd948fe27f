"""Servers that a test may kill, and the staff that works on them.

Not the servers of the other tests: those must survive. Everything ends with the test
run, however it ends: the kernel kills servers and workers with their parent.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from devservers.server import Server
from tests.support import server_pair
from tests.support.mortal import mortal
from tests.support.proxy import Proxy, through
from tests.support.waiting import wait_until
from tests.support.worker import PROJECT_ROOT, CeleryProcess, environment

HOST = "127.0.0.1"
CONCURRENCY = 2


class ServerPair(server_pair.ServerPair):
    """With the project's tables; not the servers of the other tests."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.hired: list[Staff] = []
        """Everybody who has worked on these servers."""

    def dismiss_all(self) -> None:
        """Nobody works here until a test hires."""
        for staff in self.hired:
            staff.dismiss()

    def start(self) -> None:
        super().start()
        self._manage("migrate", "--verbosity", "0")

    def database_url(self, port: int | None = None) -> str:
        """Its own, or where a proxy leads there."""
        return through(self.postgres.url, port) if port else self.postgres.url

    def redis_url(self, port: int | None = None) -> str:
        return through(self.redis.url, port or self.redis.port)

    def environment(self, **over: str) -> dict[str, str]:
        return {
            "DATABASE_URL": self.database_url(),
            "REDIS_URL": self.redis_url(),
            "CELERY_BROKER_URL": self.redis_url(),
            **over,
        }

    def _manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            mortal(sys.executable, "manage.py", *arguments),
            cwd=PROJECT_ROOT,
            env=environment(**self.environment()),
            check=True,
            capture_output=True,
            text=True,
        )


def kill_server(server: Server) -> None:
    """kill -9 of the main process. PostgreSQL's backends see it and leave."""
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not server.is_alive, f"{server.name} is dead")


@dataclass(frozen=True)
class Cables:
    """What connects a staff with its servers."""

    postgres: Proxy
    redis: Proxy
    broker: Proxy

    def __iter__(self) -> Iterator[Proxy]:
        return iter((self.postgres, self.redis, self.broker))


class Staff:
    """One worker and one beat, hired again whenever one of them is gone."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._folder = folder
        self._env = env
        self._read = 0
        self.worker = self._hire_worker()
        self.beat = self._hire_beat()
        wait_until(lambda: self.is_ready, "the worker is ready")

    @property
    def is_ready(self) -> bool:
        """Whether this worker, not one before it, takes tasks."""
        return self.worker.is_alive and " ready." in self.worker.output()[self._read :]

    def supervise(self) -> None:
        """What a supervisor does: whoever is dead is replaced, without waiting."""
        if not self.worker.is_alive:
            self.worker = self._hire_worker()
        if not self.beat.is_alive:
            self.beat = self._hire_beat()

    def pool(self) -> list[int]:
        """The worker's live processes; Celery buries a dead one only after seconds."""
        return [pid for pid in self.worker.children() if not is_zombie(pid)]

    def freeze(self) -> None:
        """SIGSTOP, as a machine does that swaps or is being moved."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def dismiss(self) -> None:
        for process in (self.worker, self.beat):
            process.kill9()

    def _signal(self, number: signal.Signals) -> None:
        if self.worker.is_alive:
            for pid in (self.worker.pid, *self.pool()):
                os.kill(pid, number)

    def _hire_worker(self) -> CeleryProcess:
        arguments = ["--concurrency", str(CONCURRENCY), "--loglevel", "INFO"]
        log = self._folder / "worker.log"
        self._read = len(log.read_text(encoding="utf-8")) if log.exists() else 0
        return CeleryProcess(self._folder, ["worker", *arguments], self._env)

    def _hire_beat(self) -> CeleryProcess:
        return CeleryProcess(self._folder, ["beat", "--loglevel", "INFO"], self._env)


def is_zombie(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


@contextlib.contextmanager
def staff(pair: ServerPair, folder: Path, env: dict[str, str]) -> Iterator[Staff]:
    """For the length of a block. Whoever worked here before is dismissed."""
    pair.dismiss_all()
    hired = Staff(folder, env)
    pair.hired.append(hired)
    try:
        yield hired
    finally:
        hired.dismiss()


def wait_for_sweep(staff: Staff) -> None:
    """A sweep that began after this call has ended."""
    swept = "persistence.tasks sweep "
    before = staff.worker.output().count(swept)
    # One may be under way now.
    wait_until(lambda: staff.worker.output().count(swept) > before + 1, "a sweep")
