"""join and leave: who is in a fight that goes on, and with which belt."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from uuid import UUID

import pytest
import redis
from django.conf import settings

from combat_history.models import InventoryItem
from persistence.belts.tasks import assemble_belts
from persistence.contract.errors import (
    CharactersUnknown,
    CombatInProgress,
    NotInCombat,
    PersistenceError,
)
from persistence.dispatcher import SyncDispatcher
from persistence.engine.answers import Belts
from tests.support.belts import add_fighter, holders
from tests.support.documents import HERO, POTION
from tests.support.engine import account, live
from tests.support.factories import add_character, add_item
from tests.support.ids import new_session_id
from tests.support.playing import on_belt, result_of, won
from tests.support.silence import fall_silent, sweep_and_settle

RIVAL, FRIEND = 102, 103
STRANGER = 55_555

pytestmark = pytest.mark.usefixtures("world")


def test_who_joins_is_in_with_his_belt(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    (row,) = add_fighter(RIVAL)
    redis_client.hset("ac:102", "scenario_session_id", str(new_session_id()))
    joined = engine.join_sync(begun, {RIVAL: "red"})
    assert joined.belts is Belts.LATE

    assemble_belts(str(begun))
    joined = engine.join_sync(begun, {RIVAL: "blue"})

    assert (joined.belts, joined.belts_loaded) == (Belts.LOADED, True)
    assert [*joined.actors] == [RIVAL]
    assert joined.actors[RIVAL].team == "red"
    assert on_belt(redis_client, begun, RIVAL) == {row: 5}
    assert holders() == {POTION: begun, row: begun}
    assert json.loads(live(redis_client, begun)["participants"]) == [HERO, RIVAL]
    assert account(redis_client, RIVAL)["combat_session_id"] == str(begun)
    assert "scenario_session_id" not in account(redis_client, RIVAL)
    assert engine.use_item_sync(begun, RIVAL, row, "a") == 4


def test_all_who_join_enter_or_none_does(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    other = new_session_id()
    engine.start_combat_sync(other, [FRIEND])
    before = live(redis_client, begun)

    with pytest.raises(CombatInProgress) as refused:
        engine.join_sync(begun, {RIVAL: "red", FRIEND: "red"})

    assert (refused.value.char_id, refused.value.session_id) == (FRIEND, str(other))
    assert live(redis_client, begun) == before
    assert not account(redis_client, RIVAL)


def test_whoever_joins_and_does_not_exist_is_shown_out(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    engine.start_combat_sync(begun, [HERO])
    add_fighter(RIVAL)
    # As the call does before it waits: a worker is quicker than it.
    joining = SyncDispatcher(settings.REDIS_URL, settings.BROKER_URL, timeout=8)
    told: list[PersistenceError] = []

    async def join() -> None:
        call = asyncio.create_task(joining.join(begun, {RIVAL: "red", STRANGER: "red"}))
        while str(STRANGER) not in live(redis_client, begun)["participants"]:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(in_a_thread, assemble_belts, str(begun))
        try:
            await call
        except CharactersUnknown as error:
            told.append(error)
        await joining.aclose()

    asyncio.run(join())

    (error,) = told
    assert isinstance(error, CharactersUnknown)
    assert error.char_ids == [STRANGER]
    assert json.loads(live(redis_client, begun)["participants"]) == [HERO, RIVAL]
    assert "combat_session_id" not in account(redis_client, STRANGER)
    assert engine.start_combat_sync(begun, [HERO, RIVAL]).belts is Belts.LOADED
    engine.finish_combat_sync(begun, won())
    assert [*result_of(begun)["participants"]] == ["101", "102"]


def in_a_thread(task: Callable[[str], object], session_id: str) -> None:
    from django.db import connection

    try:
        task(session_id)
    finally:
        connection.close()


def test_who_leaves_is_free_and_what_he_used_is_settled_with_the_fight(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    add_item(HERO, "hp_pot_small", 60, quantity=3, is_equipped=True, slot="belt_2")
    redis_client.hset("ac:101", "hp", 7)
    assemble_belts(str(begun))
    engine.join_sync(begun, {RIVAL: "red"})
    add_character(RIVAL)
    engine.use_item_sync(begun, HERO, POTION, "a")

    engine.leave_sync(begun, HERO)
    engine.leave_sync(begun, HERO)
    assemble_belts(str(begun))

    assert "combat_session_id" not in account(redis_client, HERO)
    assert json.loads(live(redis_client, begun)["participants"]) == [RIVAL]
    assert holders() == {POTION: begun}
    with pytest.raises(NotInCombat):
        engine.use_item_sync(begun, HERO, POTION, "b")
    assert engine.use_item_sync(begun, HERO, POTION, "a") == 4
    second = new_session_id()
    engine.start_combat_sync(second, [HERO])
    redis_client.hset("ac:101", "hp", 99)

    engine.finish_combat_sync(begun, won(ui_report={"fled": True}))

    part = result_of(begun)["participants"]["101"]
    assert (part["is_winner"], part["team"]) == (False, "blue")
    assert "state_snapshot" not in part
    assert InventoryItem.objects.get(pk=POTION).quantity == 4
    assert account(redis_client, HERO)["hp"] == "99"
    assert account(redis_client, HERO)["combat_session_id"] == str(second)


def test_an_abandoned_fight_takes_what_a_leaver_used(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    engine.use_item_sync(begun, HERO, POTION, "a")
    engine.leave_sync(begun, HERO)
    redis_client.hset("ac:101", mapping={"hp": 99, "vitals_at": 0})
    fall_silent(redis_client, begun)

    sweep_and_settle()

    assert InventoryItem.objects.get(pk=POTION).quantity == 4
    assert account(redis_client, HERO)["hp"] == "99"


def test_who_comes_back_finds_what_he_had_not_used(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    engine.use_item_sync(begun, HERO, POTION, "a")
    engine.leave_sync(begun, HERO)
    assert on_belt(redis_client, begun) == {}
    assemble_belts(str(begun))

    engine.join_sync(begun, {HERO: "blue"})
    assemble_belts(str(begun))

    assert on_belt(redis_client, begun) == {POTION: 4}
    assert engine.use_item_sync(begun, HERO, POTION, "b") == 3
    assert json.loads(live(redis_client, begun)["participants"]) == [HERO]


def test_belts_that_another_fight_holds_are_told(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID, fight: UUID
) -> None:
    engine.use_item_sync(begun, HERO, POTION, "a")
    engine.leave_sync(begun, HERO)
    second = new_session_id()
    engine.start_combat_sync(second, [HERO])
    assemble_belts(str(second))

    started = engine.start_combat_sync(second, [HERO])

    assert (started.belts, started.belts_loaded) == (Belts.HELD, True)
    (held,) = started.held[HERO]
    assert (held.inventory_id, held.session_id) == (POTION, begun)
