"""Everybody who works during the storm: each has a post, which is never long vacant."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.chaos.rig import is_zombie
from tests.storm.servers import Servers
from tests.support.web import Web
from tests.support.worker import PROJECT_ROOT, CeleryProcess, Process, environment

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
CLOCK = Path(__file__).parent / "clock"
WRONG_BY_SECONDS = {"ahead": 600, "behind": -600}

TIMINGS = {
    # A document that happens to be in the hands of many killed workers is none of the
    # poisonous ones.
    "SETTLEMENT_MAX_ATTEMPTS": "100",
    "SETTLEMENT_HARD_LIMIT_SECONDS": "6",
    "SETTLEMENT_DRAIN_SECONDS": "2",
    # As in production; the suite, which plays a storm too, has it off elsewhere.
    "SETTLEMENT_LINGER": "1",
    "SETTLEMENT_LEASE_MS": "3000",
    "SETTLEMENT_BACKOFF_MS": "50",
    "SETTLEMENT_BEAT_SECONDS": "1",
    "SETTLEMENT_SWEEP_SECONDS": "2",
    "SETTLEMENT_LOCK_TIMEOUT_MS": "1000",
    "SETTLEMENT_ABANDONED_SECONDS": "15",
    "SETTLEMENT_API_UNKNOWN_PER_MINUTE": "100000",
    "LOG_LEVEL": "WARNING",
    "DEBUG": "true",
}


class Post:
    """Who does one job now, and how the next one is hired."""

    def __init__(self, name: str, hire: Callable[[], Process]) -> None:
        self.name = name
        self._hire = hire
        self.holder: Process | None = None
        self.hired = 0

    @property
    def is_held(self) -> bool:
        return self.holder is not None and self.holder.is_alive

    def fill(self) -> None:
        if not self.is_held:
            self.holder = self._hire()
            self.hired += 1

    def dismiss(self) -> None:
        if self.holder is not None and self.holder.is_alive:
            self.signal(signal.SIGCONT)
            self.holder.kill9()

    def signal(self, number: signal.Signals) -> None:
        """To the main process and, where it freezes or wakes, to its children."""
        if self.holder is None or not self.holder.is_alive:
            return
        pids = [self.holder.pid]
        if number in (signal.SIGSTOP, signal.SIGCONT):
            pids += self.children()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def children(self) -> list[int]:
        """Live ones; Celery buries a dead one only after seconds."""
        if self.holder is None or not self.holder.is_alive:
            return []
        with suppress(OSError):
            return [pid for pid in self.holder.children() if not is_zombie(pid)]
        return []


class Staff:
    """Two workers, of whom one may be a strange one, two beats, and all others."""

    def __init__(
        self,
        folder: Path,
        servers: Servers,
        older: Path | None,
        engine: list[str],
        desk: list[str],
    ) -> None:
        self._folder = folder
        self._servers = servers
        self._older = older
        self.guest = "newer"
        """What the next guest worker is: newer, older, ahead or behind."""
        self.posts = {
            "worker": Post("worker", lambda: self._worker("worker")),
            "guest": Post("guest", self._guest),
            "beat": Post("beat", lambda: self._beat("beat")),
            "second beat": Post("second beat", lambda: self._beat("second-beat")),
            "web": Post("web", self._web),
            "engine": Post("engine", lambda: self._program("engine", engine)),
            "desk": Post("desk", lambda: self._program("desk", desk)),
        }
        self._vacant = {"second beat"}

    def supervise(self) -> None:
        """What a supervisor does: whoever is dead is replaced, without waiting."""
        for name, post in self.posts.items():
            if name not in self._vacant:
                post.fill()

    def stand_for(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.supervise()
            time.sleep(0.05)

    def open(self, name: str) -> None:
        self._vacant.discard(name)

    def close(self, name: str) -> None:
        """Whoever has the post leaves, and is not replaced."""
        self._vacant.add(name)
        self.posts[name].dismiss()

    def retire(self, name: str) -> Process | None:
        """Nobody is hired any more; who is there may end by itself."""
        self._vacant.add(name)
        return self.posts[name].holder

    def receive_guest(self, kind: str) -> None:
        self.guest = kind
        self.posts["guest"].dismiss()

    def dismiss(self) -> None:
        for post in self.posts.values():
            post.dismiss()

    def _env(self, who: str) -> dict[str, str]:
        return {**TIMINGS, **self._servers.environment(who)}

    def _worker(
        self, name: str, clock: dict[str, str] | None = None, cwd: Path = PROJECT_ROOT
    ) -> Process:
        options = ["--concurrency", "2", "--loglevel", "WARNING", "-n", f"{name}@%h"]
        return CeleryProcess(
            self._folder / name,
            ["worker", *options],
            {**self._env("worker"), **(clock or {})},
            cwd=cwd,
        )

    def _guest(self) -> Process:
        if self.guest == "older" and self._older is not None:
            return self._worker("guest", cwd=self._older)
        if self.guest in WRONG_BY_SECONDS:
            return self._worker("guest", _clock(WRONG_BY_SECONDS[self.guest]))
        return self._worker("guest")

    def _beat(self, name: str) -> Process:
        schedule = str(self._folder / f"{name}-schedule")
        options = ["--loglevel", "WARNING", "--schedule", schedule]
        return CeleryProcess(self._folder / name, ["beat", *options], self._env("beat"))

    def _web(self) -> Process:
        options = ["--log-level", "warning"]
        env = {**self._env("web"), "SETTLEMENT_DATABASE_POOL": "10"}
        web = Web(self._folder / "web.log", env, options)
        for name, cable in self._servers.cables.items():
            if name.endswith("~web"):
                cable.point_to(web.port)
        return web

    def _program(self, who: str, arguments: list[str]) -> Process:
        return Process(
            self._folder / f"{who}.log",
            ["-m", f"tests.storm.{who}", str(self._folder), *arguments],
            environment(**self._env(who)),
        )


def _clock(ahead: int) -> dict[str, str]:
    if FAKETIME.exists():
        return {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME": f"{ahead:+d}s",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
    return {"PYTHONPATH": str(CLOCK), "STORM_CLOCK_AHEAD": str(ahead)}


def copy_of(ref: str, folder: Path) -> Path | None:
    """The project as it was at a commit; None where there is no such commit."""
    archive = subprocess.run(
        ["git", "archive", ref], cwd=PROJECT_ROOT, capture_output=True, check=False
    )
    if archive.returncode:
        return None
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder


def manage(servers: Servers, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of the project, over the servers and no cable."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=PROJECT_ROOT,
        env={**os.environ, **TIMINGS, **servers.addresses()},
        capture_output=True,
        text=True,
        check=False,
    )
