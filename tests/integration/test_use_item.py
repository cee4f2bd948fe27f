"""use_item: one piece less on the belt, one more consumed, once by its id."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

import pytest
import redis
from django.conf import settings

from combat_history.models import CombatHistory, InventoryItem
from persistence.contract import redis_keys
from persistence.contract.errors import (
    CombatNotRegistered,
    DispatchFailed,
    ItemNotOnBelt,
    ItemSpent,
    NotInCombat,
    UseIdReused,
)
from persistence.dispatcher import SyncDispatcher
from tests.support.belts import container
from tests.support.documents import HERO, POTION
from tests.support.engine import live
from tests.support.ids import new_session_id
from tests.support.playing import consumed, on_belt, result_of, won
from tests.support.silence import fall_silent, sweep_and_settle

RIVAL, FRIEND = 102, 103
LONG_ID = 2**63 - 5

pytestmark = pytest.mark.usefixtures("world")


def test_a_use_is_one_less_on_the_belt_and_one_more_consumed(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    assert engine.use_item_sync(begun, HERO, POTION, "a") == 4
    assert engine.use_item_sync(begun, HERO, POTION, "b") == 3

    actor = container(redis_client, begun, HERO)
    assert on_belt(redis_client, begun) == {POTION: 3}
    assert actor["consumed"] == [
        {"inventory_id": POTION, "item_template_id": "hp_pot_small", "qty": 2}
    ]
    assert actor["team"] == "blue"


def test_a_use_counts_once_by_its_id(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    first = [engine.use_item_sync(begun, HERO, POTION, "a") for _ in range(2)]
    engine.use_item_sync(begun, HERO, POTION, "b")

    assert [*first, engine.use_item_sync(begun, HERO, POTION, "a")] == [4, 4, 4]
    with pytest.raises(UseIdReused):
        engine.use_item_sync(begun, HERO, POTION + 1, "a")
    assert consumed(redis_client, begun) == {POTION: 2}


def test_nothing_is_used_below_zero(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    for number in range(5):
        engine.use_item_sync(begun, HERO, POTION, str(number))

    with pytest.raises(ItemSpent):
        engine.use_item_sync(begun, HERO, POTION, "one more")

    assert on_belt(redis_client, begun) == {POTION: 0}
    assert consumed(redis_client, begun) == {POTION: 5}


def test_many_at_once_use_what_is_there(redis_client: redis.Redis, begun: UUID) -> None:
    async def use_up() -> list[object]:
        engine = SyncDispatcher(settings.REDIS_URL, settings.BROKER_URL)
        uses = [engine.use_item(begun, HERO, POTION, f"u{n}") for n in range(12)]
        told = await asyncio.gather(*uses, return_exceptions=True)
        await engine.aclose()
        return list(told)

    told = asyncio.run(use_up())

    assert sorted(n for n in told if isinstance(n, int)) == [0, 1, 2, 3, 4]
    assert sum(isinstance(n, ItemSpent) for n in told) == 7
    assert consumed(redis_client, begun) == {POTION: 5}


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        pytest.param(
            '{ "consumed" : [ ] ,"note":[],"x":{"belt_items":[1,"]}"]},\n'
            '"belt_items":[{"quantity" : 7,"inventory_id":%d,"slot":"a\\"]"}]}',
            '{ "consumed" : [ {"inventory_id":%d,"qty":1}] ,"note":[],'
            '"x":{"belt_items":[1,"]}"]},\n'
            '"belt_items":[{"quantity" : 6,"inventory_id":%d,"slot":"a\\"]"}]}',
            id="whatever stands beside it",
        ),
        pytest.param(
            '{"belt_items":[{"inventory_id":%d,"item_template_id":"p\\u00e9",'
            '"quantity":1}]}',
            '{"belt_items":[{"inventory_id":%d,"item_template_id":"p\\u00e9",'
            '"quantity":0}],"consumed":[{"inventory_id":%d,'
            '"item_template_id":"p\\u00e9","qty":1}]}',
            id="nothing consumed before",
        ),
        pytest.param(
            '{"consumed":[{"inv_id":7,"qty":1},{"qty":2,"inv_id":%d}],'
            '"belt_items":[{"inventory_id":7,"quantity":1},'
            '{"inventory_id":%d,"quantity":3}]}',
            '{"consumed":[{"inv_id":7,"qty":1},{"qty":3,"inv_id":%d}],'
            '"belt_items":[{"inventory_id":7,"quantity":1},'
            '{"inventory_id":%d,"quantity":2}]}',
            id="the engine's own entries",
        ),
    ],
)
def test_the_rest_of_a_container_stays_as_the_engine_wrote_it(
    engine: SyncDispatcher,
    redis_client: redis.Redis,
    fight: UUID,
    text: str,
    changed: str,
) -> None:
    engine.start_combat_sync(fight, [HERO])
    given = text % ((LONG_ID,) * text.count("%d"))
    redis_client.hset(redis_keys.session(fight), "actor:101", given)

    engine.use_item_sync(fight, HERO, LONG_ID, "a")

    expected = changed % ((LONG_ID,) * changed.count("%d"))
    assert live(redis_client, fight)["actor:101"] == expected


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '"x"',
        '{"belt_items":[{"inventory_id":55,"quantity":"5"}]}',
        '{"belt_items":[{"inventory_id":55,"quantity":5}],"consumed":{}}',
    ],
)
def test_of_a_container_that_is_not_readable_nothing_is_used(
    engine: SyncDispatcher, redis_client: redis.Redis, fight: UUID, text: str
) -> None:
    engine.start_combat_sync(fight, [HERO])
    redis_client.hset(redis_keys.session(fight), "actor:101", text)

    with pytest.raises(DispatchFailed, match="not readable"):
        engine.use_item_sync(fight, HERO, POTION, "a")

    assert live(redis_client, fight)["actor:101"] == text


@pytest.mark.parametrize(
    ("use", "error"),
    [
        (lambda e, f: e.use_item_sync(f, HERO, 999, "a"), ItemNotOnBelt),
        (lambda e, f: e.use_item_sync(f, RIVAL, POTION, "a"), NotInCombat),
        (lambda e, f: e.leave_sync(f, RIVAL), NotInCombat),
        (lambda e, _: e.use_item_sync(new_session_id(), HERO, 1, "a"), None),
        (lambda e, _: e.join_sync(new_session_id(), {RIVAL: "red"}), None),
        (lambda e, _: e.leave_sync(new_session_id(), HERO), None),
        (lambda e, _: e.finish_combat_sync(new_session_id(), won()), None),
        (lambda e, f: e.use_item_sync(f, HERO, POTION, ""), ValueError),
        (lambda e, f: e.use_item_sync(f, HERO, 0, "a"), ValueError),
        (lambda e, f: e.join_sync(f, {0: None}), ValueError),
        (lambda e, f: e.join_sync(f, {}), ValueError),
    ],
)
def test_what_cannot_be_is_told_by_its_type(
    engine: SyncDispatcher,
    redis_client: redis.Redis,
    begun: UUID,
    use: Callable[[SyncDispatcher, UUID], object],
    error: type[Exception] | None,
) -> None:
    before = live(redis_client, begun)

    with pytest.raises(error or CombatNotRegistered):
        use(engine, begun)

    assert live(redis_client, begun) == before


def test_a_container_changes_as_the_seeds_engine_does_it(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    actor = engine.start_combat_sync(begun, [HERO]).actors[HERO]

    actor.belt_items[0].quantity -= 1
    actor.consumed.append({"inv_id": POTION, "qty": 1})  # type: ignore[arg-type]
    actor.hp = 12
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        actor.belt_items[0].quantity -= 5
    redis_client.hset(redis_keys.session(begun), "actor:101", actor.model_dump_json())

    assert engine.use_item_sync(begun, HERO, POTION, "a") == 3
    engine.finish_combat_sync(begun, won())
    hero = result_of(begun)["participants"]["101"]
    assert hero["changes"]["items_consumed"] == [{"inventory_id": POTION, "qty": 2}]


def test_an_abandoned_fight_takes_what_was_used(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    engine.use_item_sync(begun, HERO, POTION, "a")
    engine.use_item_sync(begun, HERO, POTION, "b")
    fall_silent(redis_client, begun)

    sweep_and_settle()

    assert InventoryItem.objects.get(pk=POTION).quantity == 3
    assert CombatHistory.objects.get(pk=begun).settlement_status == "processed"
