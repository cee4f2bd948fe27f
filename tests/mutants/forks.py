"""A pytest that collects its tests once, and runs them in a fork for each mutant.

A plugin (`-p tests.mutants.forks`) of `tests.mutants`, for a copy of it all. What a run
costs that ends at its first failure is imports, collection and the test database:
here the forks inherit them. Whoever noticed a mutant is asked first about the next.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from django.core.management import call_command
from django.db import connections
from django.test import utils
from mutmut.state import state
from pytest_django.plugin import blocking_manager_key

PATIENCE = 5
"""So many times as long as without a mutant, and a minute, may the tests take."""

NO_MUTANT, WHO_CALLS_WHAT = "", "stats"
"""Values of MUTANT_UNDER_TEST, of mutmut's, beside the name of a mutant."""

CLEAN, NOTICED = 0, 1


@dataclass(frozen=True, slots=True)
class Job:
    """`function`: only tests that call it are asked; '' asks all. `text`: what the file
    is to hold meanwhile, where the mutant is not one of mutmut's."""

    name: str
    function: str = ""
    text: str | None = None


@dataclass(slots=True)
class _Clean:
    """What the run without a mutant showed of each test."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    calls: dict[str, list[str]] = field(default_factory=dict)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mutated", help="the file that jobs.json is about")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """True in this process; None in a fork, which goes on as an ordinary run."""
    folder = session.config.rootpath
    mutated = Path(session.config.getoption("mutated"))
    jobs = [Job(**job) for job in json.loads((folder / "jobs.json").read_text())]
    # Starting a worker takes longer than all others together.
    tests = session.items = [i for i in session.items if "worker" not in _fixtures(i)]
    _make_database(session.config)

    def first() -> None:
        os.environ["MUTANT_UNDER_TEST"] = WHO_CALLS_WHAT
        session.config.pluginmanager.register(_Watch(folder / "clean.json"))

    ended = _forked(first, seconds=math.inf)
    if ended is None:
        return None
    if ended != CLEAN:
        raise pytest.UsageError("the tests fail without any change")
    clean = _Clean(**json.loads((folder / "clean.json").read_text()))
    noticed: Counter[str] = Counter()
    original = mutated.read_text(encoding="utf-8")
    gc.freeze()
    for job in jobs:
        items = [
            item
            for item in tests
            if not job.function or job.function in clean.calls[item.nodeid]
        ]
        items.sort(key=lambda i: (-noticed[i.nodeid], clean.seconds[i.nodeid]))

        def change(items: Sequence[pytest.Item] = items, job: Job = job) -> None:
            session.items = list(items)
            if job.text is None:
                os.environ["MUTANT_UNDER_TEST"] = job.name
            else:
                mutated.write_text(job.text, encoding="utf-8")
            session.config.pluginmanager.register(_Watch(folder / "failed.json"))

        (folder / "failed.json").unlink(missing_ok=True)
        usual = sum(clean.seconds[item.nodeid] for item in items)
        ended = _forked(change, 60 + PATIENCE * usual) if items else CLEAN
        if ended is None:
            return None
        mutated.write_text(original, encoding="utf-8")
        by = _failed(folder / "failed.json")
        noticed.update([by] if by else [])
        _tell(folder, job, ended, by)
        _free_redis()
        if by is None and ended != CLEAN:
            _empty_database(session.config)
    return True


class _Watch:
    """Notes in a fork how long each test takes, what it calls, and which one fails."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.clean = _Clean()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.clean.seconds[report.nodeid] += report.duration
        if report.failed:
            self.file.write_text(json.dumps({"failed": report.nodeid}))

    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        self.clean.calls[item.nodeid] = sorted(state()._stats)
        state()._stats.clear()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus == CLEAN:
            seen = {"seconds": self.clean.seconds, "calls": self.clean.calls}
            self.file.write_text(json.dumps(seen))
        # Summing up and taking the interpreter down cost more than most of the tests.
        sys.stdout.flush()
        os._exit(exitstatus)


def _fixtures(item: pytest.Item) -> Sequence[str]:
    return getattr(item, "fixturenames", ())


def _make_database(config: pytest.Config) -> None:
    """Once for all forks, each of which leaves it empty unless it is killed."""
    with config.stash[blocking_manager_key].unblock():
        for connection in connections.all():
            connection.creation.create_test_db(verbosity=0, keepdb=True)
        _empty_database(config)
    nothing: Callable[..., Any] = lambda *_, **__: []  # noqa: E731
    utils.setup_databases = utils.teardown_databases = nothing


def _empty_database(config: pytest.Config) -> None:
    with config.stash[blocking_manager_key].unblock():
        call_command("flush", verbosity=0, interactive=False)
        connections.close_all()


def _forked(change: Callable[[], None], seconds: float) -> int | None:
    """None in the fork, which has changed what `change` changes; else how it ended.

    After so many seconds it is taken for a failure.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        change()
        return None
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return NOTICED


def _failed(file: Path) -> str | None:
    if not file.exists():
        return None
    failed: str | None = json.loads(file.read_text()).get("failed")
    return failed


def _tell(folder: Path, job: Job, ended: int, by: str | None) -> None:
    with (folder / "told.jsonl").open("a", encoding="utf-8") as file:
        told = {"name": job.name, "ended": ended, "by": by}
        file.write(json.dumps(told) + "\n")


def _free_redis() -> None:
    """A script that never ends would hold it up for all that come after."""
    # Without a database: choosing one is refused meanwhile.
    url = urlsplit(os.environ["REDIS_URL"])._replace(path="").geturl()
    with redis.Redis.from_url(url, socket_timeout=1) as client:
        for _ in range(100):
            with contextlib.suppress(redis.RedisError):
                client.get("anything")
                return
            with contextlib.suppress(redis.RedisError):
                client.script_kill()
                continue
            # It has written: only an end stops it, and the supervisor starts the next.
            with contextlib.suppress(redis.RedisError):
                client.shutdown(nosave=True)
            time.sleep(0.2)
