"""Servers and timings for the tests, ready before Django reads its settings.

A pytest plugin (`-p tests.servers`). Without DATABASE_URL or REDIS_URL it starts an
embedded pair in a throw-away folder. Given servers are used with care: PostgreSQL
through Django's own test database, Redis through two numbered databases that must be
empty. The addresses go into the environment, so that worker processes inherit them.
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

from settlement_project import embedded

_Thing = TypeVar("_Thing")

STATE_DB, BROKER_DB = 15, 14

TIMINGS = {
    # A task is milliseconds; what a killed parent held unacknowledged comes back after
    # four times this.
    "SETTLEMENT_HARD_LIMIT_SECONDS": "6",
    # Below the soft limit, which is two thirds of the hard one.
    "SETTLEMENT_DRAIN_SECONDS": "2",
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


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests() -> Generator[None]:
    """A wrapper: those run first, and pytest-django loads the settings in this hook."""
    for name, value in TIMINGS.items():
        os.environ.setdefault(name, value)
    if not os.environ.get("DATABASE_URL") or not os.environ.get("REDIS_URL"):
        _start()
    _separate_redis_databases()
    return (yield)


def _start() -> None:
    data_dir = Path(tempfile.mkdtemp(prefix="settlement-tests-"))
    _at_exit(_remove, data_dir)
    try:
        servers = embedded.ensure(data_dir)
    except embedded.EmbeddedError as error:
        raise pytest.UsageError(str(error)) from error
    addresses = {
        "DATABASE_URL": servers.database_url,
        "REDIS_URL": servers.redis_url,
    }
    for name, url in addresses.items():
        os.environ[name] = os.environ.get(name) or url


def _remove(data_dir: Path) -> None:
    embedded.stop(data_dir)
    shutil.rmtree(data_dir)


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
