"""SyncDispatcher as an engine uses it; the workers' part is looked at elsewhere."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
import redis
from django.conf import settings

from persistence.contract import redis_keys
from persistence.contract.changes import MAX_BIGINT
from persistence.contract.errors import (
    CombatFinished,
    CombatInProgress,
    DispatchFailed,
    ItemReserved,
    OperationInvalid,
)
from persistence.contract.ids import short_id
from persistence.contract.payload import MAX_PARTICIPANTS
from persistence.dispatcher import SyncDispatcher
from persistence.engine.handoff import Receipt
from persistence.protocols import GameMode, SyncScope
from tests.support.documents import HERO, POTION, make_document, make_participant, op
from tests.support.engine import account, intents, live, messages
from tests.support.ids import new_session_id
from tests.support.proxy import proxy_to, through
from tests.support.waiting import wait_until

RIVAL = 102
TRAVEL = "018f0000-0000-7000-8000-000000000001"

pytestmark = pytest.mark.usefixtures("redis_client")


def test_a_started_combat_is_registered_everywhere(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    redis_client.hset("ac:101", mapping={"hp": 90, "energy": 30})
    session_id = new_session_id()

    started = engine.start_combat_sync(session_id, [RIVAL, HERO], {HERO: "blue"})

    session = live(redis_client, session_id)
    assert session["status"] == "active"
    assert json.loads(session["participants"]) == [HERO, RIVAL]
    assert json.loads(session["actor:101"]) == {
        "team": "blue",
        "hp": 90,
        "energy": 30,
        "belt_items": [],
        "consumed": [],
    }
    assert redis_client.zscore(redis_keys.ACTIVE, str(session_id)) == float(
        session["heartbeat"]
    )
    for char_id in (HERO, RIVAL):
        assert account(redis_client, char_id)["combat_session_id"] == str(session_id)
    assert intents(redis_client) == {f"belts:{session_id}"}
    assert (started.session_id, started.belts_loaded) == (session_id, False)
    assert (started.actors[HERO].team, started.actors[HERO].hp) == ("blue", 90)
    assert started.actors[RIVAL].hp is None


@pytest.mark.parametrize(
    ("held", "known"),
    [
        ("0", 0),
        ("007", 7),
        ("1000000000", 1_000_000_000),
        ("1000000001", None),
        ("-5", None),
        ("12.5", None),
        ("0x10", None),
        ("1e3", None),
        ("nan", None),
        ("", None),
    ],
)
def test_odd_vitals_of_an_account_do_not_spoil_its_container(
    engine: SyncDispatcher, redis_client: redis.Redis, held: str, known: int | None
) -> None:
    redis_client.hset("ac:101", mapping={"hp": held, "energy": 30})

    started = engine.start_combat_sync(new_session_id(), [HERO], {HERO: "blue"})

    hero = started.actors[HERO]
    assert (hero.team, hero.hp, hero.energy) == ("blue", known, 30)


def test_more_players_than_a_result_can_hold_are_refused_before_anyone_enters(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    with pytest.raises(ValueError, match="at most 1000"):
        engine.start_combat_sync(new_session_id(), range(1, MAX_PARTICIPANTS + 2))

    assert redis_client.keys("*") == []
    engine.start_combat_sync(new_session_id(), range(1, MAX_PARTICIPANTS + 1))
    assert len(redis_client.keys("ac:*")) == MAX_PARTICIPANTS


@pytest.mark.parametrize("char_id", [0, -1, 2**63, 2**70, True, "101", 1.0, None])
def test_no_call_takes_an_id_that_no_player_can_have(
    engine: SyncDispatcher, redis_client: redis.Redis, char_id: Any
) -> None:
    add = op("a", "add", item_template_id="wolf_pelt", qty=2)
    calls: list[Callable[[], object]] = [
        lambda: engine.start_combat_sync(new_session_id(), [HERO, char_id]),
        lambda: engine.dispatch_sync(SyncScope.INVENTORY, char_id=char_id),
        lambda: engine.change_inventory_sync(char_id, [add]),
        lambda: engine.change_inventory_sync(char_id, []),
        lambda: engine.switch_context_sync(char_id=char_id, to=GameMode.IDLE),
    ]

    for call in calls:
        with pytest.raises(ValueError, match="is no player"):
            call()

    assert redis_client.keys("*") == []


def test_the_workers_are_asked_for_the_belts(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    session_id = new_session_id()

    engine.start_combat_sync(session_id, [HERO])

    wait_until(lambda: messages(redis_client), "the ring is sent")
    assert messages(redis_client) == [("assemble_belts", [str(session_id)])]


def test_starting_a_combat_again_changes_nothing(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    session_id = new_session_id()
    engine.start_combat_sync(session_id, [HERO])
    redis_client.hset(redis_keys.session(session_id), "actor:101", '{"hp":1}')

    engine.start_combat_sync(short_id(session_id), [HERO])

    assert live(redis_client, session_id)["actor:101"] == '{"hp":1}'


def test_all_players_enter_a_combat_or_none_does(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    first, second = new_session_id(), new_session_id()
    engine.start_combat_sync(first, [RIVAL])

    with pytest.raises(CombatInProgress) as refused:
        engine.start_combat_sync(second, [HERO, RIVAL])

    assert (refused.value.char_id, refused.value.session_id) == (RIVAL, str(first))
    assert not account(redis_client, HERO)
    assert not redis_client.exists(redis_keys.session(second))
    assert redis_client.zscore(redis_keys.ACTIVE, str(second)) is None


def test_a_combat_that_is_over_is_not_started_again(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    document = make_document()
    engine.start_combat_sync(document["session_id"], [HERO])
    engine.submit_combat_sync(document)

    with pytest.raises(CombatFinished):
        engine.start_combat_sync(document["session_id"], [HERO])

    redis_client.delete(redis_keys.session(UUID(document["session_id"])))
    with pytest.raises(CombatFinished):
        engine.start_combat_sync(document["session_id"], [HERO])


def test_a_submitted_combat_leaves_everything_that_the_start_entered(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    document = make_document()
    session_id = UUID(document["session_id"])
    engine.start_combat_sync(session_id, [HERO])

    assert engine.submit_combat_sync(document) is Receipt.ACCEPTED

    assert "combat_session_id" not in account(redis_client, HERO)
    assert redis_client.zscore(redis_keys.ACTIVE, str(session_id)) is None
    assert live(redis_client, session_id)["status"] == "finished"
    assert 0 < redis_client.ttl(redis_keys.session(session_id)) <= 300


def test_a_heartbeat_moves_the_combat_and_nothing_else_has_one(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    session_id = new_session_id()
    engine.start_combat_sync(session_id, [HERO])
    redis_client.hset(redis_keys.session(session_id), "heartbeat", 5)

    assert engine.heartbeat_sync(session_id)

    assert int(live(redis_client, session_id)["heartbeat"]) > 5
    assert not engine.heartbeat_sync(new_session_id())
    redis_client.hset(redis_keys.session(session_id), "status", "finished")
    assert not engine.heartbeat_sync(session_id)


@pytest.mark.parametrize("scope", list(SyncScope))
def test_a_dispatch_is_noted_before_it_rings(
    engine: SyncDispatcher, redis_client: redis.Redis, scope: SyncScope
) -> None:
    engine.dispatch_sync(scope, char_id=HERO)

    assert intents(redis_client) == {f"{scope}:101"}
    wait_until(lambda: messages(redis_client), "the ring is sent")
    assert messages(redis_client) == [("task_sync_state", [scope, 101])]


def test_a_close_sends_what_was_asked_while_a_ring_was_under_way(
    redis_client: redis.Redis,
) -> None:
    address = urlsplit(settings.BROKER_URL)
    with proxy_to(address.hostname or "", address.port or 0) as slow:
        broker = through(settings.BROKER_URL, slow.port)
        engine = SyncDispatcher(settings.REDIS_URL, broker)
        slow.pause()
        engine.dispatch_sync(SyncScope.VITALS, char_id=HERO)
        wait_until(lambda: slow.is_used, "the first ring is under way")
        engine.dispatch_sync(SyncScope.SCENARIO, char_id=HERO)
        threading.Timer(0.2, slow.resume).start()
        engine.close()

    assert sorted(messages(redis_client)) == [
        ("task_sync_state", ["scenario", HERO]),
        ("task_sync_state", ["vitals", HERO]),
    ]


def test_the_seeds_short_name_of_the_combat_scope() -> None:
    assert SyncScope["COMBAT"] is SyncScope("combat_result")


def test_a_dispatch_of_nothing_that_exists_notes_nothing(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    with pytest.raises(ValueError, match="karma"):
        engine.dispatch_sync("karma", char_id=HERO)

    assert not intents(redis_client)


def test_a_dispatch_without_redis_says_that_nothing_was_noted() -> None:
    engine = SyncDispatcher("redis://127.0.0.1:1/0", timeout=0.4)

    with pytest.raises(DispatchFailed, match="dispatch vitals of character 101"):
        engine.dispatch_sync(SyncScope.VITALS, char_id=HERO)

    engine.close()


def test_a_foreign_account_is_left_alone(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    redis_client.set("ac:101", "not an account")
    session_id = new_session_id()

    engine.start_combat_sync(session_id, [HERO])
    with pytest.raises(DispatchFailed, match="neither a hash"):
        engine.switch_context_sync(char_id=HERO, to=GameMode.INVENTORY)

    assert redis_client.get("ac:101") == b"not an account"
    assert live(redis_client, session_id)["status"] == "active"


def test_operations_are_queued_in_order(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    first = op("a", "add", item_template_id="wolf_pelt", qty=2)
    second = op("b", "unequip", inventory_id=POTION)

    engine.change_inventory_sync(HERO, [first])
    engine.change_inventory_sync(HERO, [second])

    queued: Any = redis_client.lrange(redis_keys.inventory_delta(HERO), 0, -1)
    assert [json.loads(raw) for raw in queued] == [first, second]
    assert intents(redis_client) == {"inventory:101"}


def test_an_operation_that_breaks_its_contract_queues_nothing(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    good = op("a", "add", item_template_id="wolf_pelt", qty=2)

    with pytest.raises(OperationInvalid, match="qty"):
        engine.change_inventory_sync(HERO, [good, {**good, "qty": 0}])

    assert not redis_client.exists(redis_keys.inventory_delta(HERO))
    assert not intents(redis_client)


@pytest.mark.parametrize("row", [POTION, 10**14, MAX_BIGINT])
def test_the_belt_of_a_running_combat_is_not_taken_from(
    engine: SyncDispatcher, redis_client: redis.Redis, row: int
) -> None:
    session_id = new_session_id()
    engine.start_combat_sync(session_id, [HERO])
    belt = {
        "inventory_id": row,
        "item_template_id": "hp_pot_small",
        "slot": "belt_1",
        "quantity": 5,
    }
    container = {"hp": 1, "energy": 1, "belt_items": [belt], "consumed": []}
    redis_client.hset(
        redis_keys.session(session_id), "actor:101", json.dumps(container)
    )
    add = op("a", "add", item_template_id="wolf_pelt", qty=2)
    take = op("b", "remove", inventory_id=row, qty=1)

    with pytest.raises(ItemReserved) as refused:
        engine.change_inventory_sync(HERO, [add, take])

    assert refused.value.inventory_ids == [row]
    assert refused.value.session_id == str(session_id)
    assert not redis_client.exists(redis_keys.inventory_delta(HERO))
    engine.change_inventory_sync(HERO, [add])
    assert redis_client.llen(redis_keys.inventory_delta(HERO)) == 1


@pytest.mark.parametrize(
    "belt", ["null", '"x"', "5", "true", "[1]", '["x"]', "[null]", '{"a": 1}', "[[]]"]
)
def test_a_belt_that_is_no_belt_holds_nothing(
    engine: SyncDispatcher, redis_client: redis.Redis, belt: str
) -> None:
    session_id = new_session_id()
    engine.start_combat_sync(session_id, [HERO])
    key = redis_keys.session(session_id)
    redis_client.hset(key, "actor:101", f'{{"belt_items": {belt}}}')
    take = op("b", "remove", inventory_id=POTION, qty=1)

    engine.change_inventory_sync(HERO, [take])

    assert redis_client.llen(redis_keys.inventory_delta(HERO)) == 1


def test_every_call_has_an_asynchronous_twin(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    document = make_document(participants={"102": make_participant()})
    session_id = UUID(document["session_id"])
    add = op("a", "add", item_template_id="wolf_pelt", qty=2)

    async def play() -> None:
        started = await engine.start_combat(session_id, [RIVAL])
        assert list(started.actors) == [RIVAL]
        assert await engine.heartbeat(session_id)
        with pytest.raises(CombatInProgress):
            await engine.switch_context(char_id=RIVAL, to="inventory")
        assert await engine.submit_combat(document) is Receipt.ACCEPTED
        await engine.dispatch(SyncScope.VITALS, char_id=RIVAL)
        await engine.change_inventory(RIVAL, [add])
        switch = await engine.switch_context(char_id=RIVAL, to="inventory")
        assert switch.changed
        await engine.aclose()

    asyncio.run(play())

    assert account(redis_client, RIVAL)["last_combat_session_id"] == str(session_id)
    assert intents(redis_client) == {
        f"belts:{session_id}",
        "vitals:102",
        "inventory:102",
    }
