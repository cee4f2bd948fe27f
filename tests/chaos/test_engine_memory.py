"""How long a dispatcher remembers what it was told, and how much of it."""

from __future__ import annotations

import gc
import time

import pytest
import redis

from persistence.contract import redis_keys
from persistence.contract.payload import CombatResultPayload
from persistence.engine.remembered import Limits
from persistence.protocols import SyncScope
from tests.chaos.rig import HOST
from tests.support.documents import make_document
from tests.support.forgetting import (
    PLAYER,
    add,
    connected,
    is_recorded,
    port_of,
    queued,
)
from tests.support.ids import new_session_id
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until


def test_memory_is_bounded_and_says_so(
    server: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    documents = [make_document() for _ in range(3)]
    with connected(port_of(server), Limits(calls=2)) as engine:
        for document in documents:
            engine.submit_combat_sync(document)
        server.flushall()
    assert [is_recorded(server, d) for d in documents] == [False, True, True]
    assert "more is accepted than can be remembered" in caplog.text

    with connected(port_of(server), Limits(seconds=0)) as engine:
        engine.submit_combat_sync(documents[0])
        server.flushall()
    assert not is_recorded(server, documents[0])


def test_what_is_old_and_not_done_yet_is_handed_over_again(
    server: redis.Redis,
) -> None:
    document, session_id = make_document(), new_session_id()
    with connected(port_of(server), Limits(seconds=0.5)) as engine:
        engine.submit_combat_sync(document)
        engine.change_inventory_sync(PLAYER, [add("a")])
        engine.dispatch_sync(SyncScope.VITALS, char_id=PLAYER)
        engine.start_combat_sync(session_id, [8])
        time.sleep(3)
        engine.change_inventory_sync(PLAYER, [add("b")])
        server.flushall()

        wait_until(lambda: is_recorded(server, document), "the result is there again")
        wait_until(lambda: queued(server) == ["a", "b"], "so are the operations")
        wait_until(
            lambda: server.zscore(redis_keys.INTENTS, "vitals:7") is not None,
            "so is what was to be saved",
        )
        assert engine.heartbeat_sync(session_id)


def test_what_is_old_and_done_is_forgotten(server: redis.Redis) -> None:
    document = make_document()
    sid = document["session_id"]
    with connected(port_of(server), Limits(seconds=0.5)) as engine:
        engine.start_combat_sync(sid, [PLAYER])
        engine.submit_combat_sync(document)
        engine.change_inventory_sync(PLAYER, [add("a")])
        engine.change_inventory_sync(8, [add("c")])
        engine.dispatch_sync(SyncScope.VITALS, char_id=PLAYER)
        server.zrem(redis_keys.INBOX, sid)
        server.delete(redis_keys.inventory_delta(PLAYER))
        server.zrem(redis_keys.INTENTS, "vitals:7")
        time.sleep(3)
        server.flushall()

        wait_until(lambda: queued(server, 8) == ["c"], "what waits is there again")

    assert not is_recorded(server, document)
    assert queued(server) == []
    assert server.zscore(redis_keys.INTENTS, "vitals:7") is None


def test_the_age_of_what_is_remembered_stands_still_while_redis_is_away(
    server: redis.Redis,
) -> None:
    document, door = make_document(), Proxy((HOST, port_of(server)))
    with connected(door.port, Limits(seconds=1)) as engine:
        engine.submit_combat_sync(document)
        door.pause()
        server.flushall()
        time.sleep(2.5)
        door.resume()
        wait_until(lambda: is_recorded(server, document), "it is known again")
    door.close()


def test_no_more_is_kept_of_a_result_than_was_sent(server: redis.Redis) -> None:
    """Its parsed form takes several times what its bytes take."""

    def parsed() -> int:
        gc.collect()
        return sum(isinstance(o, CombatResultPayload) for o in gc.get_objects())

    before = parsed()
    with connected(port_of(server)) as engine:
        for _ in range(3):
            engine.submit_combat_sync(make_document())

        assert parsed() == before
