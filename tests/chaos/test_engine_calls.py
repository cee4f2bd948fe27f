"""Every call of the engine while its servers are closed, frozen or restarting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import redis
from django.conf import settings

from persistence.dispatcher import SyncDispatcher
from persistence.errors import DispatchFailed, HandoffFailed
from persistence.handoff import Receipt
from persistence.protocols import GameMode, SyncScope
from tests.chaos.load import tell_story, wait_settled
from tests.chaos.rig import HOST, ServerPair
from tests.support.factories import make_document, new_session_id
from tests.support.ledger_oracle import Oracle
from tests.support.proxy import Proxy, proxy_to
from tests.support.redis_server import free_port, running_redis
from tests.support.waiting import wait_until
from tests.support.worker import running_worker

TIMEOUT = 1.0
SLACK = 0.5
"""Of a busy machine, above the bound that the dispatcher promises."""

PLAYER = 7
ADD = {"op_id": "a", "op": "add", "item_template_id": "wolf_pelt", "qty": 1}

Call = Callable[[SyncDispatcher], object]
AsyncCall = Callable[[SyncDispatcher], Awaitable[object]]

CALLS: dict[str, Call] = {
    "submit_combat": lambda d: d.submit_combat_sync(make_document()),
    "start_combat": lambda d: d.start_combat_sync(new_session_id(), [PLAYER]),
    "heartbeat": lambda d: d.heartbeat_sync(new_session_id()),
    "dispatch": lambda d: d.dispatch_sync(SyncScope.VITALS, char_id=PLAYER),
    "change_inventory": lambda d: d.change_inventory_sync(PLAYER, [ADD]),
    "switch_context": lambda d: d.switch_context_sync(
        char_id=PLAYER, to=GameMode.INVENTORY
    ),
}
TWINS: dict[str, AsyncCall] = {
    "submit_combat": lambda d: d.submit_combat(make_document()),
    "start_combat": lambda d: d.start_combat(new_session_id(), [PLAYER]),
    "heartbeat": lambda d: d.heartbeat(new_session_id()),
    "dispatch": lambda d: d.dispatch(SyncScope.VITALS, char_id=PLAYER),
    "change_inventory": lambda d: d.change_inventory(PLAYER, [ADD]),
    "switch_context": lambda d: d.switch_context(char_id=PLAYER, to=GameMode.INVENTORY),
}


@pytest.fixture
def hole(tmp_path: Path) -> Iterator[Proxy]:
    """A way to a Redis of this test's own, which can become a black hole."""
    port = free_port()
    with running_redis(tmp_path, port=port), proxy_to(HOST, port) as proxy:
        yield proxy


@contextmanager
def dispatcher(port: int) -> Iterator[SyncDispatcher]:
    engine = SyncDispatcher(f"redis://{HOST}:{port}/0", timeout=TIMEOUT)
    yield engine
    engine.close()


@contextmanager
def bounded() -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < TIMEOUT + SLACK


@contextmanager
def in_time() -> Iterator[None]:
    """Refused, and within the bound."""
    with bounded(), pytest.raises((DispatchFailed, HandoffFailed)):
        yield


@pytest.mark.parametrize("name", CALLS)
def test_a_closed_redis_is_told_at_once(name: str) -> None:
    with dispatcher(free_port()) as engine, in_time():
        CALLS[name](engine)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("connected", [False, True])
def test_a_frozen_redis_is_told_in_time(
    hole: Proxy, name: str, connected: bool
) -> None:
    with dispatcher(hole.port) as engine:
        if connected:
            engine.heartbeat_sync(new_session_id())
        hole.pause()
        with in_time():
            CALLS[name](engine)
        hole.resume()


@pytest.mark.parametrize("name", CALLS)
def test_a_restarted_redis_costs_a_reconnect_and_no_error(
    hole: Proxy, name: str
) -> None:
    with dispatcher(hole.port) as engine:
        engine.heartbeat_sync(new_session_id())
        hole.cut()
        with bounded():
            CALLS[name](engine)


@pytest.mark.parametrize("name", TWINS)
def test_no_call_holds_up_the_event_loop(hole: Proxy, name: str) -> None:
    gaps: list[float] = []

    async def tick() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            gaps.append(time.monotonic() - before)

    async def play(engine: SyncDispatcher) -> None:
        await engine.heartbeat(new_session_id())
        hole.pause()
        ticking = asyncio.create_task(tick())
        await asyncio.sleep(0)
        with in_time():
            await TWINS[name](engine)
        ticking.cancel()
        hole.resume()
        hole.cut()
        await TWINS[name](engine)
        await engine.aclose()

    with dispatcher(hole.port) as engine:
        asyncio.run(play(engine))

    # A stalled loop would have had no tick for the whole of the bound.
    assert max(gaps) < SLACK


def test_a_frozen_broker_is_not_waited_for(
    redis_client: redis.Redis, hole: Proxy
) -> None:
    engine = SyncDispatcher(
        settings.REDIS_URL, f"redis://{HOST}:{hole.port}/0", timeout=TIMEOUT
    )
    hole.pause()
    for name, call in CALLS.items():
        # Who fights cannot open a bag.
        redis_client.flushdb()
        # The belts are waited for by design, for a quarter of the bound.
        limit = TIMEOUT / 4 + SLACK if name == "start_combat" else SLACK
        started = time.monotonic()
        call(engine)
        assert time.monotonic() - started < limit, name
    hole.resume()
    engine.close()


def test_a_result_that_no_replica_has_is_not_accepted(
    watch: Oracle, pair: ServerPair, tmp_path: Path
) -> None:
    """A replica is cut off, promoted, and then gets what the old primary lost."""
    journal, (kept, lost) = tell_story(watch, 2)
    primary_port, replica_port = free_port(), free_port() + 1
    (tmp_path / "primary").mkdir()
    (tmp_path / "replica").mkdir()
    with (
        running_redis(tmp_path / "primary", port=primary_port) as primary_url,
        proxy_to(HOST, primary_port) as link,
        running_redis(tmp_path / "replica", port=replica_port) as replica_url,
        redis.Redis.from_url(primary_url) as primary,
        redis.Redis.from_url(replica_url) as replica,
    ):
        replica.replicaof(HOST, link.port)
        wait_until(lambda: primary.wait(1, 100) == 1, "the replica follows")
        engine = SyncDispatcher(primary_url, timeout=TIMEOUT, replicas=1)
        assert engine.submit_combat_sync(kept.document) is Receipt.ACCEPTED
        link.pause()
        with pytest.raises(HandoffFailed, match="0 of 1 replicas"):
            engine.submit_combat_sync(lost.document)
        assert primary.exists(f"combat:result:{lost.session_id}")
        engine.close()

        replica.replicaof("NO", "ONE")
        link.resume()
        assert replica.exists(f"combat:result:{kept.session_id}")
        assert not replica.exists(f"combat:result:{lost.session_id}")
        after = SyncDispatcher(replica_url, timeout=TIMEOUT)
        assert after.submit_combat_sync(lost.document) is Receipt.ACCEPTED
        after.close()
        journal.accepted |= {kept.session_id, lost.session_id}
        with (
            running_worker(
                tmp_path,
                DATABASE_URL=pair.database_url(),
                REDIS_URL=replica_url,
                CELERY_BROKER_URL=replica_url,
            ),
            closing(Oracle(pair.database_url(), replica_url)) as oracle,
        ):
            wait_settled(oracle, journal)
