"""SyncDispatcher as an engine uses it; the workers' part is looked at elsewhere."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
import redis
from django.conf import settings

from persistence import redis_keys
from persistence.dispatcher import SyncDispatcher
from persistence.errors import (
    CombatFinished,
    CombatInProgress,
    DispatchFailed,
    ItemReserved,
    OperationInvalid,
)
from persistence.handoff import Receipt
from persistence.ids import short_id
from persistence.protocols import GameMode, SyncScope
from tests.support.factories import (
    HERO,
    POTION,
    make_document,
    make_participant,
    new_session_id,
)
from tests.support.waiting import wait_until

RIVAL = 102
TRAVEL = "018f0000-0000-7000-8000-000000000001"

pytestmark = pytest.mark.usefixtures("redis_client")


def account(client: redis.Redis, char_id: int) -> dict[str, str]:
    return texts(client.hgetall(redis_keys.account(char_id)))


def live(client: redis.Redis, session_id: UUID) -> dict[str, str]:
    return texts(client.hgetall(redis_keys.session(session_id)))


def texts(found: Any) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in found.items()}


def intents(client: redis.Redis) -> set[str]:
    members: Any = client.zrange(redis_keys.INTENTS, 0, -1)
    return {member.decode() for member in members}


def messages(client: redis.Redis) -> list[tuple[str, list[Any]]]:
    """Task and arguments of what waits in the default queue."""
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        raw: Any = broker.lrange("celery", 0, -1)
    sent = map(json.loads, raw)
    return [
        (message["headers"]["task"], json.loads(b64decode(message["body"]))[0])
        for message in sent
    ]


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


def test_the_seeds_short_name_of_the_combat_scope() -> None:
    assert SyncScope["COMBAT"] is SyncScope("combat_result")


@pytest.mark.parametrize(("scope", "char_id"), [("karma", HERO), ("vitals", 0)])
def test_a_dispatch_of_nothing_that_exists_notes_nothing(
    engine: SyncDispatcher, redis_client: redis.Redis, scope: str, char_id: int
) -> None:
    with pytest.raises(ValueError, match=r"karma|positive"):
        engine.dispatch_sync(scope, char_id=char_id)

    assert not intents(redis_client)


def test_a_dispatch_without_redis_says_that_nothing_was_noted() -> None:
    engine = SyncDispatcher("redis://127.0.0.1:1/0", timeout=0.4)

    with pytest.raises(DispatchFailed, match="dispatch vitals of character 101"):
        engine.dispatch_sync(SyncScope.VITALS, char_id=HERO)

    engine.close()


def test_opening_a_mode_closes_the_one_that_was_open(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    redis_client.hset("ac:101", "scenario_session_id", TRAVEL)

    switch = engine.switch_context_sync(char_id=HERO, to=GameMode.INVENTORY)

    assert switch.changed
    assert switch.closed == {GameMode.SCENARIO: TRAVEL}
    assert account(redis_client, HERO) == {
        "scenario_closing_session_id": TRAVEL,
        "inventory_session_id": str(switch.session_id),
    }
    assert intents(redis_client) == {"scenario:101"}
    wait_until(lambda: messages(redis_client), "the ring is sent")
    assert messages(redis_client) == [("task_sync_state", ["scenario", 101])]


def test_a_mode_that_is_open_goes_on(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    first = engine.switch_context_sync(char_id=HERO, to=GameMode.INVENTORY)

    again = engine.switch_context_sync(char_id=HERO, to=GameMode.INVENTORY)

    assert (again.session_id, again.changed) == (first.session_id, False)
    assert not intents(redis_client)


def test_another_session_of_the_same_mode_closes_the_first(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    redis_client.hset("ac:101", "scenario_session_id", TRAVEL)
    quest = new_session_id()

    switch = engine.switch_context_sync(
        char_id=HERO, to=GameMode.SCENARIO, session_id=quest
    )

    assert (switch.session_id, switch.closed) == (quest, {GameMode.SCENARIO: TRAVEL})
    assert account(redis_client, HERO) == {
        "scenario_session_id": str(quest),
        "scenario_closing_session_id": TRAVEL,
    }


def test_sessions_closed_one_after_the_other_are_all_named(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    travels = [new_session_id() for _ in range(3)]
    for travel in travels:
        engine.switch_context_sync(
            char_id=HERO, to=GameMode.SCENARIO, session_id=travel
        )

    left = engine.switch_context_sync(char_id=HERO, to=GameMode.IDLE)

    assert left.session_id is None
    assert account(redis_client, HERO) == {
        "scenario_closing_session_id": ",".join(map(str, travels))
    }


def test_a_running_combat_cannot_be_switched_away_from(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    session_id = new_session_id()
    engine.start_combat_sync(session_id, [HERO])
    before = account(redis_client, HERO)

    for mode in (GameMode.INVENTORY, GameMode.SCENARIO, GameMode.IDLE):
        with pytest.raises(CombatInProgress, match=str(session_id)):
            engine.switch_context_sync(char_id=HERO, to=mode)

    assert account(redis_client, HERO) == before
    with pytest.raises(ValueError, match="start_combat"):
        engine.switch_context_sync(char_id=HERO, to=GameMode.COMBAT)


def test_a_combat_closes_what_its_players_had_open(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    redis_client.hset("ac:101", "scenario_session_id", TRAVEL)
    session_id = new_session_id()

    engine.start_combat_sync(session_id, [HERO])

    assert account(redis_client, HERO) == {
        "combat_session_id": str(session_id),
        "scenario_closing_session_id": TRAVEL,
    }
    assert intents(redis_client) == {f"belts:{session_id}", "scenario:101"}


def test_two_switches_at_once_leave_one_winner(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    modes = [GameMode.INVENTORY, GameMode.SCENARIO] * 10
    redis_client.hset("ac:101", "scenario_session_id", TRAVEL)

    with ThreadPoolExecutor(8) as pool:
        switches = list(
            pool.map(
                lambda mode: engine.switch_context_sync(char_id=HERO, to=mode), modes
            )
        )

    left = account(redis_client, HERO)
    opened = [
        left[f] for f in left if f in ("inventory_session_id", "scenario_session_id")
    ]
    assert len(opened) == 1
    # Every session that was opened is open or named as closing, each once.
    closing = [
        sid
        for mode in ("inventory", "scenario")
        for sid in left.get(f"{mode}_closing_session_id", "").split(",")
        if sid
    ]
    everything = {str(s.session_id) for s in switches} | {TRAVEL}
    assert sorted([*opened, *closing]) == sorted(everything)


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
    first = {"op_id": "a", "op": "add", "item_template_id": "wolf_pelt", "qty": 2}
    second = {"op_id": "b", "op": "unequip", "inventory_id": POTION}

    engine.change_inventory_sync(HERO, [first])
    engine.change_inventory_sync(HERO, [second])

    queued: Any = redis_client.lrange(redis_keys.inventory_delta(HERO), 0, -1)
    assert [json.loads(raw) for raw in queued] == [first, second]
    assert intents(redis_client) == {"inventory:101"}


def test_an_operation_that_breaks_its_contract_queues_nothing(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    good = {"op_id": "a", "op": "add", "item_template_id": "wolf_pelt", "qty": 2}

    with pytest.raises(OperationInvalid, match="qty"):
        engine.change_inventory_sync(HERO, [good, {**good, "qty": 0}])

    assert not redis_client.exists(redis_keys.inventory_delta(HERO))
    assert not intents(redis_client)


def test_the_belt_of_a_running_combat_is_not_taken_from(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    session_id = new_session_id()
    engine.start_combat_sync(session_id, [HERO])
    belt = {
        "inventory_id": POTION,
        "item_template_id": "hp_pot_small",
        "slot": "belt_1",
        "quantity": 5,
    }
    container = {"hp": 1, "energy": 1, "belt_items": [belt], "consumed": []}
    redis_client.hset(
        redis_keys.session(session_id), "actor:101", json.dumps(container)
    )
    add = {"op_id": "a", "op": "add", "item_template_id": "wolf_pelt", "qty": 2}
    take = {"op_id": "b", "op": "remove", "inventory_id": POTION, "qty": 1}

    with pytest.raises(ItemReserved) as refused:
        engine.change_inventory_sync(HERO, [add, take])

    assert refused.value.inventory_ids == [POTION]
    assert refused.value.session_id == str(session_id)
    assert not redis_client.exists(redis_keys.inventory_delta(HERO))
    engine.change_inventory_sync(HERO, [add])
    assert redis_client.llen(redis_keys.inventory_delta(HERO)) == 1


def test_every_call_has_an_asynchronous_twin(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    document = make_document(participants={"102": make_participant()})
    session_id = UUID(document["session_id"])
    add = {"op_id": "a", "op": "add", "item_template_id": "wolf_pelt", "qty": 2}

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
