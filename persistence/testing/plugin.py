"""The plugin of pytest that comes with the package: the fixture `settlement`.

Imported by every run of pytest where the package is installed: it imports nothing else
before a test asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from persistence.testing.settlement import Settlement

OPTION = "settlement_redis"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        OPTION,
        "URL of a Redis database that tests may empty; by default each run has a"
        " server of its own",
        default="",
    )


@pytest.fixture(scope="session")
def settlement_redis(pytestconfig: pytest.Config) -> Iterator[str]:
    """The URL of a Redis that is the tests' alone."""
    from persistence.testing import redis_server

    given: str = pytestconfig.getini(OPTION)
    if given:
        yield given
        return
    with redis_server.running() as url:
        yield url


@pytest.fixture
def settlement(settlement_redis: str) -> Iterator[Settlement]:
    """A dispatcher with the rules of production, and books that are empty."""
    import redis

    from persistence.testing.settlement import Settlement

    with redis.Redis.from_url(settlement_redis) as client:
        client.flushdb()
    settlement = Settlement(settlement_redis)
    yield settlement
    settlement.close()
