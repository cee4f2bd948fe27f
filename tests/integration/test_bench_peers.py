"""What the benchmark measures beside this project settles what this project settles."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from benchmarks import books, variants, world
from benchmarks.backlog import Backlog, generate
from benchmarks.drain import is_settled
from benchmarks.peers import environments
from benchmarks.processes import wait_until
from benchmarks.servers import Servers
from benchmarks.transaction import Settler
from benchmarks.variants import Variant
from tests.servers import TIMINGS

REDIS_DATABASE = 13
"""Neither the tests' state nor their broker."""

CHARACTERS = 100
COMBATS = 40
TWICE = 20
SECONDS = 120


@pytest.fixture(scope="module")
def bench(servers: None) -> Iterator[Servers]:
    url = urlsplit(os.environ["REDIS_URL"])._replace(path=f"/{REDIS_DATABASE}").geturl()
    own = Servers(os.environ["DATABASE_URL"], url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELERY_BROKER_URL", url)
        # The tests' are no server's that Django's checks would pass.
        for name in TIMINGS:
            patch.delenv(name)
        world.build(own, CHARACTERS)
        yield own
        own.drop_databases()
        with own.redis() as client:
            client.flushdb()


@pytest.fixture(scope="module")
def backlog() -> Backlog:
    return generate(COMBATS, "peers", CHARACTERS)


@pytest.fixture(scope="module")
def wanted(bench: Servers, backlog: Backlog) -> str:
    """The digest of what all of them are to leave."""
    world.copy(bench)
    with closing(Settler(bench.conninfo(), bench.redis_url)) as settler:
        settler.settle(backlog.raws)
    books.check(bench, backlog)
    return books.digest(bench)


@pytest.mark.parametrize("variant", variants.PEERS, ids=lambda variant: variant.name)
def test_a_peer_settles_each_combat_once_also_where_it_is_delivered_twice(
    variant: Variant, bench: Servers, backlog: Backlog, wanted: str
) -> None:
    if variant is not variants.TUNED and (reason := environments.missing()):
        pytest.skip(f"{reason}; nothing of this project needs them")
    world.copy(bench)
    variant.load(bench, Backlog([*backlog.raws[:TWICE], *backlog.raws]))

    with variant.start(bench) as settling:
        variant.release(bench)

        def is_done() -> bool:
            settling.raise_if_failed()
            return is_settled(bench, COMBATS)

        wait_until(is_done, SECONDS, f"{variant.name}: all settled")

    books.check(bench, backlog)
    assert books.digest(bench) == wanted
