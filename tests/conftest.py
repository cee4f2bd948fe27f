from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
import redis
from django.conf import settings
from pytest_django import DjangoDbBlocker

from persistence.tasks import settle_combat
from settlement_project.celery import app
from tests.support import factories, flush, redis_users, roles
from tests.support.rabbitmq import NoRabbitMq, running_rabbitmq
from tests.support.worker import CeleryProcess, running_worker, wait_idle

Settle = Callable[..., None]

flush.use_deletes()
# The machine is shared: a slow example is no fault of the code.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")


@pytest.fixture(scope="session")
def _redis_clients() -> Iterator[tuple[redis.Redis, redis.Redis]]:
    """Of combats and of the broker. To connect costs more than to empty them."""
    with (
        redis.Redis.from_url(settings.REDIS_URL) as client,
        redis.Redis.from_url(settings.BROKER_URL) as broker,
    ):
        yield client, broker


@pytest.fixture
def redis_client(_redis_clients: tuple[redis.Redis, redis.Redis]) -> redis.Redis:
    """The Redis of combats, empty; the broker's is emptied with it."""
    client, broker = _redis_clients
    client.flushdb()
    broker.flushdb()
    return client


@pytest.fixture
def world(transactional_db: None, redis_client: redis.Redis) -> None:
    """The small world, committed; see `factories.add_small_world`."""
    factories.add_small_world()


@pytest.fixture
def settle_here(world: None) -> Settle:
    """`settle_combat` in this process: settings may be overridden, code be traced."""

    def settle(*payloads: object) -> None:
        for payload in payloads:
            settle_combat(payload)

    return settle


@pytest.fixture(scope="session")
def database_roles(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """The roles of production beside the tables' owner, who is the tests'."""
    with django_db_blocker.unblock(), roles.made():
        django_db_blocker.block()
        yield
        django_db_blocker.restore()


@pytest.fixture(scope="session")
def users(servers: None) -> None:
    """Redis' users of production beside the one of the tests."""
    redis_users.make_users(settings.BROKER_URL)


@pytest.fixture(scope="session")
def worker(
    database_roles: None, users: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CeleryProcess]:
    """One worker with two pool processes for all tests that do not kill theirs."""
    env: dict[str, Any] = {
        "DATABASE_URL": roles.url_as(roles.NAMES.worker),
        "REDIS_URL": redis_users.url_as("worker", settings.REDIS_URL),
        "CELERY_BROKER_URL": redis_users.url_as("worker", settings.BROKER_URL),
        "SETTLEMENT_REMOTE_CONTROL": "true",
    }
    with running_worker(tmp_path_factory.mktemp("worker"), **env) as process:
        yield process


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a RabbitMQ of this run."""
    try:
        with running_rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as url:
            yield url
    except NoRabbitMq as reason:
        # Erlang is no package of PyPI, which the other servers are brought along as.
        pytest.skip(f"{reason}; `make test-amqp`, which CI does not run, installs it")


@pytest.fixture
def settle(world: None, worker: CeleryProcess) -> Iterator[Settle]:
    """`app.send_task` to the real worker; returns when every message is done with."""

    def send(*payloads: object) -> None:
        sent = [
            app.send_task("settle_combat", args=[payload]).id for payload in payloads
        ]
        worker.wait_succeeded(sent)
        wait_idle()

    yield send
    assert worker.is_alive, worker.output()
    wait_idle()
