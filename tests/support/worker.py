"""Real Celery processes over the test database, which die with the test run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import redis
from django.conf import settings
from django.db import connection

from tests.support.mortal import mortal
from tests.support.waiting import wait_until

PROJECT_ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_SECONDS = 60
STOP_TIMEOUT_SECONDS = 40

_TASK_ENDED = re.compile(r"Task \w+\[([\w-]+)\] (?!received)(\w+)")
_TAKEN_ALONG = re.compile(r"taken along queue=\S+ tasks=(\S+)")


def database_url() -> str:
    """DATABASE_URL of the database Django's test runner made."""
    name = connection.settings_dict["NAME"]
    return urlsplit(settings.DATABASE_URL)._replace(path=f"/{name}").geturl()


def environment(**over: str) -> dict[str, str]:
    """The environment of a process that works on what the tests see."""
    return {
        **os.environ,
        "DATABASE_URL": database_url(),
        "REDIS_URL": settings.REDIS_URL,
        "CELERY_BROKER_URL": settings.BROKER_URL,
        **over,
    }


class Process:
    """A Python program of its own, started by construction; it dies with its parent.

    `log`: all that it printed.
    """

    def __init__(
        self,
        log: Path,
        arguments: Sequence[str],
        env: Mapping[str, str],
        *,
        cwd: Path = PROJECT_ROOT,
        pass_fds: Sequence[int] = (),
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                mortal(sys.executable, *arguments),
                cwd=cwd,
                env=env,
                pass_fds=pass_fds,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def children(self) -> list[int]:
        """The pool processes (and beat, where it is embedded), oldest first."""
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def kill9(self) -> None:
        """kill -9 of the main process; the kernel takes its pool along."""
        self._process.kill()
        self._process.wait()

    def terminate(self) -> int:
        """SIGTERM, the warm shutdown; returns the exit status."""
        if self.is_alive:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise


class CeleryProcess(Process):
    """One `celery` command of the project, or of another copy of it in `cwd`."""

    def __init__(
        self,
        folder: Path,
        arguments: list[str],
        env: Mapping[str, str],
        *,
        cwd: Path = PROJECT_ROOT,
    ) -> None:
        super().__init__(
            folder / f"{arguments[0]}.log",
            ["-m", "celery", "-A", "settlement_project", *arguments],
            environment(**env),
            cwd=cwd,
        )

    def wait_ready(self, word: str) -> None:
        def is_ready() -> bool:
            assert self.is_alive, f"ended at start:\n{self.output()}"
            return word in self.output()

        wait_until(is_ready, f"{self.log} says {word!r}", START_TIMEOUT_SECONDS)

    def taken_along(self) -> set[str]:
        """The tasks that were recorded along with another one."""
        return set(",".join(_TAKEN_ALONG.findall(self.output())).split(",")) - {""}

    def wait_succeeded(self, task_ids: Collection[str]) -> None:
        """Until each task has succeeded; fails at once where one raised."""

        def all_succeeded() -> bool:
            text = self.output()
            told = [match.groups() for match in _TASK_ENDED.finditer(text)]
            bad = {id_ for id_, how in told if how != "succeeded"} & set(task_ids)
            assert not bad, f"tasks {bad} did not succeed:\n{text}"
            return self.taken_along() | {id_ for id_, _ in told} >= set(task_ids)

        wait_until(all_succeeded, f"{len(task_ids)} tasks succeeded")


def start_worker(
    folder: Path,
    *,
    concurrency: int = 2,
    beat: bool = False,
    name: str | None = None,
    **env: str,
) -> CeleryProcess:
    """A worker that takes tasks when this returns. The caller ends it."""
    arguments = ["worker", "--concurrency", str(concurrency), "--loglevel", "INFO"]
    if name is not None:
        arguments += ["--hostname", f"{name}@%h"]
    worker = CeleryProcess(folder, [*arguments, *(["--beat"] if beat else [])], env)
    worker.wait_ready(" ready.")
    return worker


@contextmanager
def running_worker(
    folder: Path,
    *,
    concurrency: int = 2,
    beat: bool = False,
    name: str | None = None,
    **env: str,
) -> Iterator[CeleryProcess]:
    """A worker for the length of a block, stopped warmly at its end."""
    worker = start_worker(folder, concurrency=concurrency, beat=beat, name=name, **env)
    try:
        yield worker
    finally:
        worker.terminate()


@contextmanager
def running_beat(folder: Path, **env: str) -> Iterator[CeleryProcess]:
    """Beat in a process of its own."""
    beat = CeleryProcess(folder, ["beat", "--loglevel", "INFO"], env)
    try:
        beat.wait_ready("beat: Starting...")
        yield beat
    finally:
        beat.terminate()


def wait_idle() -> None:
    """Nothing queued, nothing in a worker's hands: every message is acknowledged."""
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        wait_until(
            lambda: not any(broker.exists(key) for key in _BROKER_KEYS),
            "the broker holds no message",
        )


_BROKER_KEYS = ("celery", "sweep", "saves", "unacked")
