"""Every call of the engine while its servers are closed, frozen or restarting."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings

from persistence.contract import redis_keys
from persistence.contract.errors import DispatchFailed, HandoffFailed, PersistenceError
from persistence.dispatcher import SyncDispatcher
from persistence.engine.handoff import Receipt
from persistence.engine.remembered import Limits
from persistence.protocols import GameMode, SyncScope
from tests.chaos.load import tell_story, wait_settled
from tests.chaos.rig import HOST, ServerPair
from tests.support.documents import make_document, op
from tests.support.ids import new_session_id
from tests.support.ledger_oracle import Oracle
from tests.support.ports import free_port
from tests.support.proxy import Proxy, proxy_to
from tests.support.redis_server import running_redis
from tests.support.waiting import wait_until
from tests.support.worker import running_worker

TIMEOUT = 1.0
SLACK = 0.9 * TIMEOUT
"""Of a busy machine; another try, or a stalled loop, would take the bound once more."""

PLAYER = 7
ADD = op("a", "add", item_template_id="wolf_pelt", qty=1)

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


@dataclass(frozen=True)
class Followed:
    primary_url: str
    primary: redis.Redis
    link: Proxy
    """From the replica to its primary."""
    replica_url: str
    replica: redis.Redis


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
def in_time() -> Iterator[pytest.ExceptionInfo[PersistenceError]]:
    """Refused, and within the bound."""
    with bounded(), pytest.raises((DispatchFailed, HandoffFailed)) as refused:
        yield refused


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

    assert max(gaps) < SLACK


def test_a_frozen_broker_is_not_waited_for(
    redis_client: redis.Redis, hole: Proxy
) -> None:
    engine = SyncDispatcher(
        settings.REDIS_URL,
        f"redis://{HOST}:{hole.port}/0",
        timeout=TIMEOUT,
        # Redis is emptied on purpose, and is to stay so.
        remembered=Limits(seconds=0),
    )
    hole.pause()
    for name, call in CALLS.items():
        # Who fights cannot open a bag.
        redis_client.flushdb()
        # The belts are waited for by design, for a quarter of the bound.
        limit = TIMEOUT / 4 + 2 * SLACK if name == "start_combat" else SLACK
        started = time.monotonic()
        call(engine)
        assert time.monotonic() - started < limit, name
    hole.resume()
    engine.close()


@contextmanager
def followed(folder: Path) -> Iterator[Followed]:
    """A primary, and a replica that has caught up, over a link that can be cut."""
    primary_port = free_port()
    (folder / "primary").mkdir()
    (folder / "replica").mkdir()
    with (
        running_redis(folder / "primary", port=primary_port) as primary_url,
        proxy_to(HOST, primary_port) as link,
        running_redis(folder / "replica") as replica_url,
        redis.Redis.from_url(primary_url) as primary,
        redis.Redis.from_url(replica_url) as replica,
    ):
        replica.replicaof(HOST, link.port)
        wait_until(lambda: has_caught_up(primary), "the replica follows")
        yield Followed(primary_url, primary, link, replica_url, replica)


def has_caught_up(primary: redis.Redis) -> bool:
    # WAIT asks for what was written before the last command of its connection.
    return primary.ping() and primary.wait(1, 100) == 1


REPLICATED = sorted(CALLS.keys() - {"heartbeat"})
"""What is answered for good. A heartbeat that a fail-over lost is soon followed by the
next one."""


def test_no_call_is_answered_before_a_replica_has_what_it_asked_for(
    tmp_path: Path,
) -> None:
    session_id = new_session_id()
    calls: dict[str, Call] = {
        **CALLS,
        # Known, the second time: there is nothing more to write.
        "start_combat": lambda d: d.start_combat_sync(session_id, [PLAYER]),
    }

    async def refused_too(name: str) -> None:
        engine = SyncDispatcher(pair.primary_url, timeout=TIMEOUT, replicas=1)
        with in_time() as refused:
            await TWINS[name](engine)
        assert "0 of 1 replicas" in str(refused.value)
        await engine.aclose()

    with followed(tmp_path) as pair:
        for name in REPLICATED:
            pair.link.pause()
            # Over connections that have written nothing, too: no replica has it yet.
            for _ in range(2):
                engine = SyncDispatcher(pair.primary_url, timeout=TIMEOUT, replicas=1)
                with in_time() as refused:
                    calls[name](engine)
                assert "0 of 1 replicas" in str(refused.value)
                engine.close()
            # Who fights enters nothing else.
            pair.primary.flushall()
            asyncio.run(refused_too(name))
            pair.link.resume()
            wait_until(lambda: has_caught_up(pair.primary), "the replica catches up")
            engine = SyncDispatcher(pair.primary_url, timeout=TIMEOUT, replicas=1)
            pair.primary.flushall()
            calls[name](engine)
            engine.close()
            pair.primary.flushall()


def test_a_promoted_replica_has_every_operation_that_was_acknowledged(
    tmp_path: Path,
) -> None:
    def queue(engine: SyncDispatcher, number: int) -> None:
        add = {**ADD, "op_id": str(number)}
        with contextlib.suppress(DispatchFailed):
            engine.change_inventory_sync(PLAYER, [add])
            acknowledged.append(str(number))

    acknowledged: list[str] = []
    with followed(tmp_path) as pair:
        engine = SyncDispatcher(pair.primary_url, timeout=TIMEOUT, replicas=1)
        threading.Timer(0.3, pair.link.pause).start()
        deadline = time.monotonic() + 0.3 + TIMEOUT
        number = 0
        while time.monotonic() < deadline:
            queue(engine, number)
            number += 1
        engine.close()
        pair.replica.replicaof("NO", "ONE")
        pair.link.resume()
        held: Any = pair.replica.lrange(redis_keys.inventory_delta(PLAYER), 0, -1)

    assert len(acknowledged) > 10
    assert set(acknowledged) <= {json.loads(raw)["op_id"] for raw in held}


def test_a_result_that_no_replica_has_is_not_accepted(
    watch: Oracle, pair: ServerPair, tmp_path: Path
) -> None:
    """A replica is cut off, promoted, and then gets what the old primary lost."""
    journal, (kept, lost) = tell_story(watch, 2)
    with followed(tmp_path) as redises:
        replica_url = redises.replica_url
        engine = SyncDispatcher(redises.primary_url, timeout=TIMEOUT, replicas=1)
        assert engine.submit_combat_sync(kept.document) is Receipt.ACCEPTED
        redises.link.pause()
        with pytest.raises(HandoffFailed, match="0 of 1 replicas"):
            engine.submit_combat_sync(lost.document)
        engine.close()

        redises.replica.replicaof("NO", "ONE")
        redises.link.resume()
        assert redises.replica.exists(f"combat:result:{kept.session_id}")
        assert not redises.replica.exists(f"combat:result:{lost.session_id}")
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
