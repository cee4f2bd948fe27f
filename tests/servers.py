"""Servers and timings for the tests, ready before Django reads its settings.

A pytest plugin (`-p tests.servers`). Without DATABASE_URL or REDIS_URL each process
that runs tests has a pair of its own, which is started for the first test that asks
for `servers`; tests/unit does without. Given servers are used with care, and by one
process: PostgreSQL through Django's own test database, Redis through two numbered
databases that must be empty. The addresses go into the environment, so that worker
processes inherit them.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import pytest
import redis

from devservers import EmbeddedError
from tests.support.server_pair import ServerPair

_Thing = TypeVar("_Thing")

FOLDER_VARIABLE = "SETTLEMENT_TESTS_FOLDER"
"""Where the pairs of all processes of a run are; set by the first of them."""

STATE_DB, BROKER_DB = 15, 14

TIMINGS = {
    # A task is milliseconds; what a killed parent held unacknowledged comes back after
    # four times this.
    "SETTLEMENT_HARD_LIMIT_SECONDS": "6",
    # Below the soft limit, which is two thirds of the hard one.
    "SETTLEMENT_DRAIN_SECONDS": "2",
    # Only where it is tested: a process that lingers holds the message it was rung by.
    "SETTLEMENT_LINGER": "0",
    # What a killed worker held comes due again this soon.
    "SETTLEMENT_LEASE_MS": "2000",
    # First of the doubling waits after a transient error.
    "SETTLEMENT_BACKOFF_MS": "50",
    # A lost ring, and everything only the sweep can find, costs this much.
    "SETTLEMENT_BEAT_SECONDS": "1",
    "SETTLEMENT_SWEEP_SECONDS": "1",
    # A row that a test holds on purpose is given up soon.
    "SETTLEMENT_LOCK_TIMEOUT_MS": "1000",
}


class _Pair:
    """The pair of this process, if its servers were not given."""

    own: ServerPair | None = None


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    """A wrapper: those run first, and pytest-django loads the settings in this hook."""
    for name, value in TIMINGS.items():
        os.environ.setdefault(name, value)
    given = [bool(os.environ.get(name)) for name in ("DATABASE_URL", "REDIS_URL")]
    if FOLDER_VARIABLE in os.environ or not any(given):
        _take_addresses()
    elif not all(given):
        raise pytest.UsageError("DATABASE_URL and REDIS_URL: set both, or neither.")
    elif getattr(early_config.known_args_namespace, "numprocesses", None):
        raise pytest.UsageError(
            "Servers given by DATABASE_URL and REDIS_URL are for one process: leave "
            "out -n, or unset both, and each process has servers of its own."
        )
    else:
        _separate_redis_databases()
    return (yield)


@pytest.fixture(scope="session")
def servers() -> None:
    """PostgreSQL and Redis serve from here on."""
    if _Pair.own is None:
        return
    try:
        _Pair.own.start()
    except EmbeddedError as error:
        pytest.exit(str(error), pytest.ExitCode.USAGE_ERROR)


def _take_addresses() -> None:
    """Nothing serves there yet. A process that is given tests by xdist has its own."""
    if FOLDER_VARIABLE not in os.environ:
        os.environ[FOLDER_VARIABLE] = tempfile.mkdtemp(prefix="settlement-tests-")
        # Also what a process left that was killed.
        _at_exit(_remove, Path(os.environ[FOLDER_VARIABLE]))
    folder = Path(os.environ[FOLDER_VARIABLE])
    own = folder / os.environ.get("PYTEST_XDIST_WORKER", "main")
    own.mkdir()
    try:
        _Pair.own = ServerPair(own)
    except EmbeddedError as error:
        raise pytest.UsageError(str(error)) from error
    _at_exit(ServerPair.stop, _Pair.own)
    url = urlsplit(_Pair.own.redis.url)
    os.environ["DATABASE_URL"] = _Pair.own.postgres.url
    os.environ["REDIS_URL"] = url._replace(path=f"/{STATE_DB}").geturl()
    os.environ["CELERY_BROKER_URL"] = url._replace(path=f"/{BROKER_DB}").geturl()


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _at_exit(clean: Callable[[_Thing], None], thing: _Thing) -> None:
    """Also where the run ends before its first test; not where a forked child does."""
    owner = os.getpid()
    atexit.register(lambda: clean(thing) if os.getpid() == owner else None)


def _separate_redis_databases() -> None:
    """Tests empty their Redis: it must be nobody else's."""
    broker = os.environ.get("CELERY_BROKER_URL") or os.environ["REDIS_URL"]
    os.environ["REDIS_URL"] = _empty_database(os.environ["REDIS_URL"], STATE_DB)
    os.environ["CELERY_BROKER_URL"] = _empty_database(broker, BROKER_DB)


def _empty_database(url: str, number: int) -> str:
    own = urlsplit(url)._replace(path=f"/{number}").geturl()
    with redis.Redis.from_url(own) as client:
        if os.environ.get("SETTLEMENT_TESTS_EMPTY_REDIS"):
            # Of a caller whose servers are its own, as `tests.mutants` has them.
            client.flushdb()
        elif client.dbsize():
            raise pytest.UsageError(
                f"The tests use Redis database {number} and empty it, but it holds "
                f"keys. Look at {own}, then FLUSHDB it, or unset REDIS_URL."
            )
    _at_exit(_empty, own)
    return own


def _empty(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.flushdb()
