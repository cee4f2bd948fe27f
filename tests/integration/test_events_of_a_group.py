"""`dispatcher.events`: at least once for each group, whoever dies or restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from itertools import islice
from threading import Timer
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from django.conf import settings
from django.db import connection

from persistence.contract import redis_keys
from persistence.contract.events import Event
from persistence.dispatcher import SyncDispatcher
from persistence.tasks import publish_events
from tests.integration.test_publishing import write
from tests.support.proxy import Proxy, proxy_to, through
from tests.support.redis_users import url_as

pytestmark = pytest.mark.usefixtures("world")

GROUP = "game"


def publish(*names: str) -> list[int]:
    ids = [write(name=name) for name in names]
    publish_events()
    return ids


def publish_in_a_thread(name: str) -> list[int]:
    try:
        return publish(name)
    finally:
        connection.close()


def pending(client: redis.Redis) -> int:
    told: Any = client.xpending(redis_keys.EVENTS, GROUP)
    return int(told["pending"])


def first(told: Iterator[Event], number: int) -> list[int]:
    return [event.id for event in islice(told, number)]


def test_each_group_is_told_everything_in_order(engine: SyncDispatcher) -> None:
    ids = publish("a", "b", "c")
    for group in (GROUP, "bot"):
        with_group = engine.events_sync(group, "one")
        assert first(with_group, 3) == ids
        with_group.close()


def test_the_asynchronous_twin_waits_for_what_comes(engine: SyncDispatcher) -> None:
    ids = publish("a", "b")

    async def read() -> list[int]:
        told: AsyncGenerator[Event, None] = engine.events(GROUP, "one")
        seen = []
        async for event in told:
            seen.append(event.id)
            if len(seen) == 2:
                ids.extend(await asyncio.to_thread(publish_in_a_thread, "c"))
            if len(seen) == 3:
                break
        await told.aclose()
        return seen

    assert asyncio.run(read()) == ids


def test_an_event_is_acknowledged_when_its_body_has_ended(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    ids = publish("a", "b")
    told = engine.events_sync(GROUP, "one")
    assert next(told).id == ids[0]
    assert pending(redis_client) == 2
    assert next(told).id == ids[1]
    assert pending(redis_client) == 1
    told.close()

    # Its body may not have ended: the same consumer is told again.
    again = engine.events_sync(GROUP, "one")
    assert next(again).id == ids[1]
    again.close()


def test_what_a_dead_consumer_held_goes_to_another(engine: SyncDispatcher) -> None:
    ids = publish("a", "b")
    dead = engine.events_sync(GROUP, "dead")
    next(dead)
    dead.close()

    heir = engine.events_sync(GROUP, "heir", reclaim_seconds=0.05)

    assert first(heir, 2) == ids
    heir.close()


def test_a_redis_that_was_emptied_is_read_on(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    ids = publish("a")
    told = engine.events_sync(GROUP, "one")
    assert next(told).id == ids[0]
    redis_client.delete(redis_keys.EVENTS)
    ids += publish("b")

    # It is told again what the stream was.
    assert first(told, 2) == ids
    told.close()


@pytest.fixture
def line() -> Iterator[Proxy]:
    parts = urlsplit(settings.REDIS_URL)
    with proxy_to(parts.hostname or "127.0.0.1", parts.port or 6379) as proxy:
        yield proxy


def test_a_frozen_connection_and_a_cut_one_are_waited_out(line: Proxy) -> None:
    own = url_as("engine", through(settings.REDIS_URL, line.port))
    engine = SyncDispatcher(own, timeout=0.2)
    ids = publish("a", "b")
    told = engine.events_sync(GROUP, "one")
    assert next(told).id == ids[0]
    # The answer is lost, with an event that was given to us.
    lost = line.lose_reply(b'"op_id" : "c"')
    ids += publish("c")
    assert first(told, 2) == ids[1:]
    assert lost.struck.is_set()

    line.pause()
    thaw = Timer(1.5, line.resume)
    thaw.start()
    ids += publish("d")
    assert first(told, 1) == ids[3:]
    thaw.join()
    told.close()
    engine.close()


def test_what_is_no_event_is_passed_over(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    redis_client.xadd(redis_keys.EVENTS, {"event": "?"}, id="0-1")
    ids = publish("a")
    told = engine.events_sync(GROUP, "one")
    assert next(told).id == ids[0]
    assert pending(redis_client) == 1
    told.close()
