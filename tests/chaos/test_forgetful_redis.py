"""Redis loses what it acknowledged a moment ago: emptied, an older file, a replica."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import redis

from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.contract.errors import DispatchFailed, HandoffFailed
from persistence.dispatcher import SyncDispatcher
from persistence.engine import doorbell, scripts
from persistence.engine.handoff import Receipt, checked
from persistence.protocols import GameMode, SyncScope
from tests.chaos.rig import HOST
from tests.support.documents import make_document, op
from tests.support.forgetting import (
    PLAYER,
    add,
    connected,
    is_recorded,
    port_of,
    queued,
)
from tests.support.ids import new_session_id
from tests.support.ports import free_port
from tests.support.proxy import Proxy, proxy_to
from tests.support.redis_server import running_redis
from tests.support.waiting import wait_until

PLAYERS = range(1, 6)
PER_SECOND = 60


@pytest.fixture
def engine(server: redis.Redis) -> Iterator[SyncDispatcher]:
    with connected(port_of(server)) as dispatcher:
        yield dispatcher


@dataclass
class Load:
    """Results and operations, each player's one after the other."""

    results: list[Document] = field(default_factory=list)
    operations: dict[int, list[str]] = field(default_factory=dict)

    def run(self, engine: SyncDispatcher, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        threads = [
            threading.Thread(target=self._play, args=(engine, char_id, deadline))
            for char_id in PLAYERS
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _play(self, engine: SyncDispatcher, char_id: int, deadline: float) -> None:
        done = self.operations.setdefault(char_id, [])
        while time.monotonic() < deadline:
            document = make_document()
            with contextlib.suppress(HandoffFailed):
                engine.submit_combat_sync(document)
                self.results.append(document)
            op_id = f"{char_id}-{len(done)}-{time.monotonic_ns()}"
            with contextlib.suppress(DispatchFailed):
                engine.change_inventory_sync(char_id, [add(op_id)])
                done.append(op_id)
            time.sleep(2 * len(PLAYERS) / PER_SECOND)

    def wait_known(self, client: redis.Redis) -> None:
        assert len(self.results) > 20
        wait_until(
            lambda: all(is_recorded(client, document) for document in self.results),
            "all accepted results are recorded",
        )
        for char_id, done in self.operations.items():
            wait_until(
                lambda p=char_id, d=done: _in_order(queued(client, p), d),  # type: ignore[misc]
                "all operations are queued in order",
            )


def _in_order(found: list[str], done: list[str]) -> bool:
    return [op_id for op_id in found if op_id in set(done)] == done


def test_what_an_emptied_redis_had_accepted_is_handed_over_again(
    server: redis.Redis, engine: SyncDispatcher
) -> None:
    load = Load()
    for after in (0.7, 1.5):
        threading.Timer(after, server.flushall).start()
    load.run(engine, 2.2)

    load.wait_known(server)


def test_what_an_older_file_lacks_is_handed_over_again(tmp_path: Path) -> None:
    load, port = Load(), free_port()
    folder, older = tmp_path / "redis", tmp_path / "older"
    folder.mkdir()
    with connected(port) as engine:
        with running_redis(folder, port=port):
            load.run(engine, 0.6)
        shutil.copytree(folder, older)
        with running_redis(folder, port=port):
            load.run(engine, 0.6)
        with (
            running_redis(older, port=port) as url,
            redis.Redis.from_url(url) as client,
        ):
            # No call is made: whoever remembers looks for himself.
            load.wait_known(client)


def test_what_an_older_replica_lacks_is_handed_over_again(tmp_path: Path) -> None:
    load = Load()
    (tmp_path / "replica").mkdir()
    with (
        running_redis(tmp_path) as primary_url,
        redis.Redis.from_url(primary_url) as primary,
        proxy_to(HOST, port_of(primary)) as link,
        proxy_to(HOST, port_of(primary)) as door,
        running_redis(tmp_path / "replica") as replica_url,
        redis.Redis.from_url(replica_url) as replica,
        connected(door.port) as engine,
    ):
        replica.replicaof(HOST, link.port)
        load.run(engine, 0.6)
        epoch = primary.get(redis_keys.EPOCH)
        wait_until(lambda: replica.get(redis_keys.EPOCH) == epoch, "it follows")
        link.pause()
        load.run(engine, 0.6)
        assert any(not is_recorded(replica, document) for document in load.results)

        replica.replicaof("NO", "ONE")
        door.point_to(port_of(replica))
        load.run(engine, 0.3)

        load.wait_known(replica)
        assert replica.get(redis_keys.EPOCH) == epoch


def test_every_promise_is_kept_after_a_flush(
    server: redis.Redis, engine: SyncDispatcher
) -> None:
    session_id = new_session_id()
    engine.switch_context_sync(char_id=9, to=GameMode.INVENTORY)
    engine.start_combat_sync(session_id, [PLAYER, 9])
    engine.dispatch_sync(SyncScope.VITALS, char_id=PLAYER)
    engine.switch_context_sync(char_id=8, to=GameMode.SCENARIO)
    engine.switch_context_sync(char_id=8, to=GameMode.IDLE)

    server.flushall()

    def noted() -> set[bytes]:
        found: Any = server.zrange(redis_keys.INTENTS, 0, -1)
        return set(found)

    expected = {f"belts:{session_id}".encode(), b"vitals:7", b"scenario:8"}
    wait_until(lambda: expected <= noted(), "the intents are noted again")
    assert server.hget(redis_keys.session(session_id), "status") == b"active"
    assert server.hget("ac:7", "combat_session_id") == str(session_id).encode()
    assert engine.heartbeat_sync(session_id)


def test_what_happened_in_a_fight_is_told_again(
    server: redis.Redis, engine: SyncDispatcher
) -> None:
    session_id = new_session_id()
    key = redis_keys.session(session_id)
    engine.start_combat_sync(session_id, [PLAYER, 9], {PLAYER: "blue"})
    belt = {"inventory_id": 55, "item_template_id": "p", "slot": "belt_1"}
    actor = json.dumps({"team": "blue", "belt_items": [{**belt, "quantity": 5}]})
    server.hset(key, "actor:7", actor)
    for use_id in ("a", "b", "a"):
        engine.use_item_sync(session_id, PLAYER, 55, use_id)
    # Begun before all else, and with all of them, whatever was last said.
    engine.start_combat_sync(session_id, [PLAYER])
    engine.join_sync(session_id, {8: "red"})
    engine.leave_sync(session_id, 8)
    engine.join_sync(session_id, {8: "red"})
    engine.leave_sync(session_id, PLAYER)

    server.flushall()

    def container() -> Any:
        return json.loads(server.hget(key, "actor:7") or "{}")

    wait_until(lambda: server.hexists(key, "left:7"), "who left has left again")
    assert container()["consumed"] == [{"inventory_id": 55, "qty": 2}]
    assert json.loads(server.hget(key, "participants") or "") == [9, 8]
    assert server.hget("ac:8", "combat_session_id") == str(session_id).encode()
    assert not server.hexists("ac:7", "combat_session_id")
    assert engine.use_item_sync(session_id, PLAYER, 55, "b") == 0
    ended = {"meta": {"finish_reason": "draw"}}
    assert engine.finish_combat_sync(session_id, ended) is Receipt.ACCEPTED
    server.flushall()
    wait_until(lambda: server.zcard(redis_keys.INBOX), "the result is there again")
    assert engine.finish_combat_sync(session_id, ended) is Receipt.DUPLICATE
    assert not server.exists(key)


def test_a_lost_reply_to_a_call_of_a_fight_is_made_up_for(
    server: redis.Redis,
) -> None:
    session_id = new_session_id()
    key = redis_keys.session(session_id)
    ended = {"meta": {"finish_reason": "draw"}}
    with proxy_to(HOST, port_of(server)) as door, connected(door.port) as engine:
        engine.start_combat_sync(session_id, [PLAYER])
        belt = {"inventory_id": 55, "item_template_id": "p", "slot": "belt_1"}
        belt["quantity"] = 5
        server.hset(key, "actor:7", json.dumps({"belt_items": [belt]}))
        calls: list[tuple[bytes, Callable[[], object]]] = [
            (b"use:7:a", lambda: engine.use_item_sync(session_id, 7, 55, "a")),
            (b"ac:8", lambda: engine.join_sync(session_id, {8: "red"})),
            (b"ac:8", lambda: engine.leave_sync(session_id, 8)),
            (b"finish_reason", lambda: engine.finish_combat_sync(session_id, ended)),
        ]
        for pattern, call in calls:
            fault = door.lose_reply_to(pattern)
            # The dispatcher's own second try goes over another connection.
            call()
            assert fault.struck.is_set()
            call()

        assert json.loads(server.hget(key, "actor:7") or "")["consumed"] == [
            {"inventory_id": 55, "item_template_id": "p", "qty": 1}
        ]
        assert json.loads(server.hget(key, "participants") or "") == [7]
        known: Any = server.hkeys(redis_keys.result(session_id))
        assert not [name for name in known if name.startswith(b"conflict:")]


def test_a_fight_that_is_over_is_not_begun_again(
    server: redis.Redis, engine: SyncDispatcher
) -> None:
    document = make_document()
    engine.start_combat_sync(document["session_id"], [PLAYER])
    engine.submit_combat_sync(document)

    server.flushall()

    wait_until(lambda: is_recorded(server, document), "the result is there again")
    assert not server.exists(redis_keys.session(UUID(document["session_id"])))
    assert not server.zcard(redis_keys.ACTIVE)


def test_the_next_operation_queues_behind_those_that_were_lost(
    server: redis.Redis, engine: SyncDispatcher
) -> None:
    for op_id in ("a", "b"):
        engine.change_inventory_sync(PLAYER, [add(op_id)])
    server.flushall()

    engine.change_inventory_sync(PLAYER, [add("c")])

    assert queued(server) == ["a", "b", "c"]


def test_an_operation_of_before_the_fight_is_not_refused_for_its_belt(
    server: redis.Redis, engine: SyncDispatcher
) -> None:
    take = op("t", "remove", inventory_id=55, qty=1)
    engine.change_inventory_sync(PLAYER, [take])
    server.flushall()
    session_id = new_session_id()
    belt = {"inventory_id": 55, "item_template_id": "p", "slot": "belt_1"}
    server.hset("ac:7", "combat_session_id", str(session_id))
    actor = json.dumps({"belt_items": [{**belt, "quantity": 5}]})
    server.hset(redis_keys.session(session_id), "actor:7", actor)

    wait_until(lambda: queued(server) == ["t"], "the operation is queued again")


def test_what_was_not_lost_is_not_handed_over_again(
    server: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    with proxy_to(HOST, port_of(server)) as door, connected(door.port) as engine:
        for op_id in ("a", "b"):
            engine.change_inventory_sync(PLAYER, [add(op_id)])
            door.cut()
        threads = [
            threading.Thread(target=engine.submit_combat_sync, args=(make_document(),))
            for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(1.5)

    assert server.llen(redis_keys.inventory_delta(PLAYER)) == 2
    # A ring may fail where its connection was cut, too; that is the doorbell's matter.
    assert not [
        record
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name != doorbell.__name__
    ]


def test_a_close_looks_a_last_time(server: redis.Redis) -> None:
    document = make_document()

    async def play() -> None:
        dispatcher = SyncDispatcher(f"redis://{HOST}:{port_of(server)}/0", timeout=1)
        assert await dispatcher.submit_combat(document) is Receipt.ACCEPTED
        await dispatcher.change_inventory(PLAYER, [add("a")])
        server.flushall()
        await dispatcher.change_inventory(PLAYER, [add("b")])
        server.flushall()
        await dispatcher.aclose()

    asyncio.run(play())

    assert is_recorded(server, document)
    assert queued(server) == ["a", "b"]


def test_what_several_loops_were_told_is_handed_over_again_after_one_was_closed(
    server: redis.Redis, engine: SyncDispatcher
) -> None:
    documents = [make_document() for _ in range(3)]

    async def play(document: Document) -> None:
        await engine.submit_combat(document)
        await engine.aclose()

    for document in documents:
        asyncio.run(play(document))
    server.flushall()
    engine.dispatch_sync(SyncScope.VITALS, char_id=PLAYER)

    for document in documents:
        wait_until(lambda d=document: is_recorded(server, d), "it is known again")  # type: ignore[misc]


def test_hundreds_of_lost_fights_are_known_again_in_a_few_round_trips(
    server: redis.Redis,
) -> None:
    """Until then their players are told that there is no such fight."""
    documents, door = (
        [make_document() for _ in range(300)],
        Proxy((HOST, port_of(server))),
    )
    with connected(door.port) as engine:
        for document in documents:
            engine.submit_combat_sync(document)
        server.flushall()
        # One after the other they would take half a minute, there and back.
        door.slow_down(0.05)
        wait_until(
            lambda: all(is_recorded(server, document) for document in documents),
            "all are known again",
        )
    door.close()


def test_redis_says_which_memory_it_answers_from(
    server: redis.Redis, engine: SyncDispatcher
) -> None:
    engine.submit_combat_sync(make_document())
    first = server.get(redis_keys.EPOCH)
    engine.dispatch_sync(SyncScope.VITALS, char_id=PLAYER)

    assert server.get(redis_keys.EPOCH) == first
    assert server.ttl(redis_keys.EPOCH) == -1
    server.flushall()
    engine.dispatch_sync(SyncScope.VITALS, char_id=PLAYER)
    assert first
    assert server.get(redis_keys.EPOCH) not in (None, first)


def test_an_engine_of_the_version_before_shares_the_redis(
    server: redis.Redis, engine: SyncDispatcher
) -> None:
    """It sends the scripts without the part that tells of a loss."""
    theirs, ours = make_document(), make_document()
    handoff = checked(theirs)
    before = server.register_script(scripts.source("handoff"))

    assert before(keys=handoff.keys, args=handoff.args)[0] == b"accepted"
    assert engine.submit_combat_sync(theirs) is Receipt.DUPLICATE
    engine.submit_combat_sync(ours)
    again = checked(ours)
    assert before(keys=again.keys, args=again.args)[0] == b"duplicate"
