from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import redis
from celery import Celery
from django.conf import settings

from persistence.dispatcher import SyncDispatcher
from tests.chaos.load import bare_producer
from tests.chaos.matrix import sampled
from tests.chaos.rig import HOST, Cables, ServerPair, Staff, staff
from tests.support.ledger_oracle import Oracle
from tests.support.proxy import proxy_to
from tests.support.redis_server import running_redis
from tests.support.waiting import wait_until
from tests.support.worker import database_url


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--soak",
        action="store_true",
        help="chaos tests at full length: every pair of crashes, and every cell of "
        "the fault matrix",
    )


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Of the fault matrix one cell a point, unless somebody asks for more."""
    if config.getoption("--soak", default=False) or config.option.keyword:
        return
    cells = [item for item in items if item.path.name == "test_fault_matrix.py"]
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(10**6))
    sample = sampled(random.Random(seed))
    left_out = [item for item in cells if item.name not in sample]
    if cells:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[redis.Redis]:
    """A Redis of a test's own, to be emptied and replaced."""
    with running_redis(tmp_path) as url, redis.Redis.from_url(url) as client:
        yield client


@pytest.fixture(scope="session", autouse=True)
def _servers(servers: None) -> None:
    """Every test here may ask for them, by whatever way."""


@pytest.fixture
def oracle(transactional_db: None, redis_client: redis.Redis) -> Iterator[Oracle]:
    """Over the servers of all tests, for work in forked children."""
    oracle = Oracle(database_url(), settings.REDIS_URL)
    yield oracle
    oracle.close()


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerPair]:
    """Servers that may be killed. Who kills one starts it again."""
    pair = ServerPair(tmp_path_factory.mktemp("chaos"))
    try:
        pair.start()
        yield pair
    finally:
        pair.stop()


@pytest.fixture(scope="session")
def cables(pair: ServerPair) -> Iterator[Cables]:
    with ExitStack() as stack:
        yield Cables(
            postgres=stack.enter_context(proxy_to(pair.socket_dir, pair.postgres.port)),
            redis=stack.enter_context(proxy_to(HOST, pair.redis.port)),
            broker=stack.enter_context(proxy_to(HOST, pair.redis.port)),
        )


@pytest.fixture(scope="session")
def wired(
    pair: ServerPair, cables: Cables, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Staff]:
    """A worker and a beat whose every connection runs through a cable."""
    env = pair.environment(
        DATABASE_URL=pair.database_url(cables.postgres.port),
        REDIS_URL=pair.redis_url(cables.redis.port),
        CELERY_BROKER_URL=pair.redis_url(cables.broker.port),
        # As in production: no wait here comes near the soft limit.
        SETTLEMENT_HARD_LIMIT_SECONDS="30",
    )
    with staff(pair, tmp_path_factory.mktemp("wired"), env) as hired:
        yield hired


@pytest.fixture
def watch(pair: ServerPair, cables: Cables, wired: Staff) -> Iterator[Oracle]:
    """Over the servers that may be killed; the wired staff is at work."""
    wired.supervise()  # a test that hired others has dismissed them
    with closing(Oracle(pair.database_url(), pair.redis_url())) as oracle:
        wait_until(oracle.is_quiet, "nothing is left from the test before")
        yield oracle
    for proxy in cables:
        proxy.forget()


@pytest.fixture
def engine(pair: ServerPair) -> Iterator[SyncDispatcher]:
    with closing(SyncDispatcher(pair.redis_url())) as dispatcher:
        yield dispatcher


@pytest.fixture
def producer(pair: ServerPair) -> Iterator[Celery]:
    with bare_producer(pair.redis_url()) as app:
        yield app
