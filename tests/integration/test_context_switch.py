"""The Separator end to end: the old session is in PostgreSQL, the new one is live."""

from __future__ import annotations

from uuid import UUID

import pytest
import redis

from combat_history.models import InventoryItem, ScenarioSession
from persistence.contract import redis_keys
from persistence.contract.errors import CombatInProgress
from persistence.dispatcher import SyncDispatcher
from persistence.protocols import GameMode
from persistence.tasks import sweep
from tests.support.documents import HERO, PELT, op
from tests.support.engine import let_time_pass
from tests.support.ids import new_session_id
from tests.support.waiting import wait_until
from tests.support.worker import CeleryProcess

pytestmark = pytest.mark.usefixtures("world")


def travel(client: redis.Redis, engine: SyncDispatcher, version: int = 3) -> UUID:
    """The hero is on the road, and `version` steps far."""
    switch = engine.switch_context_sync(char_id=HERO, to=GameMode.SCENARIO)
    assert switch.session_id is not None
    client.hset(
        redis_keys.scenario(switch.session_id),
        mapping={"version": version, "at": "old bridge", "steps": version},
    )
    return switch.session_id


def is_closed(client: redis.Redis, mode: GameMode) -> bool:
    return not client.hexists("ac:101", redis_keys.closing_field(mode))


def assert_saved(client: redis.Redis, road: UUID, bag: UUID | None) -> None:
    saved = ScenarioSession.objects.get(pk=road)
    assert (saved.character_id, saved.version) == (HERO, 3)
    assert saved.progress["at"] == "old bridge"
    assert saved.closed_at is not None
    assert not client.exists(redis_keys.scenario(road))
    assert client.hget("ac:101", "inventory_session_id") == str(bag).encode()
    assert client.hget("ac:101", "scenario_session_id") is None
    assert not client.exists(redis_keys.INTENTS)


def test_the_old_session_is_saved_and_the_new_one_is_live(
    engine: SyncDispatcher, redis_client: redis.Redis, worker: CeleryProcess
) -> None:
    road = travel(redis_client, engine)

    bag = engine.switch_context_sync(char_id=HERO, to=GameMode.INVENTORY)

    wait_until(lambda: is_closed(redis_client, GameMode.SCENARIO), "it is closed")
    wait_until(lambda: not redis_client.exists(redis_keys.INTENTS), "nothing is owed")
    assert_saved(redis_client, road, bag.session_id)


def test_an_explicit_end_is_saved_in_the_same_way(
    engine: SyncDispatcher, redis_client: redis.Redis, worker: CeleryProcess
) -> None:
    road = travel(redis_client, engine)

    engine.switch_context_sync(char_id=HERO, to=GameMode.IDLE)

    wait_until(lambda: is_closed(redis_client, GameMode.SCENARIO), "it is closed")
    assert ScenarioSession.objects.get(pk=road).closed_at is not None


@pytest.mark.parametrize("is_intent_lost", [False, True])
def test_a_switch_whose_engine_dies_is_finished_by_the_sweep(
    unheard: SyncDispatcher,
    redis_client: redis.Redis,
    worker: CeleryProcess,
    is_intent_lost: bool,
) -> None:
    road = travel(redis_client, unheard)
    bag = unheard.switch_context_sync(char_id=HERO, to=GameMode.INVENTORY)
    if is_intent_lost:
        # As an engine leaves it that marks sessions itself.
        redis_client.delete(redis_keys.INTENTS)
        sweep()
    let_time_pass(redis_client)

    sweep()

    wait_until(lambda: is_closed(redis_client, GameMode.SCENARIO), "it is closed")
    wait_until(lambda: not redis_client.exists(redis_keys.INTENTS), "nothing is owed")
    assert_saved(redis_client, road, bag.session_id)


def test_leaving_the_inventory_applies_what_was_done_in_it(
    engine: SyncDispatcher, redis_client: redis.Redis, worker: CeleryProcess
) -> None:
    engine.switch_context_sync(char_id=HERO, to=GameMode.INVENTORY)
    add = op("a", "add", item_template_id=PELT, qty=2)
    engine.change_inventory_sync(HERO, [add])

    engine.switch_context_sync(char_id=HERO, to=GameMode.SCENARIO)

    wait_until(lambda: is_closed(redis_client, GameMode.INVENTORY), "it is closed")
    assert InventoryItem.objects.get(item_template_id=PELT).quantity == 2
    assert not redis_client.exists(redis_keys.inventory_delta(HERO))


def test_a_combat_begins_with_the_belt_and_with_nothing_else_open(
    engine: SyncDispatcher, redis_client: redis.Redis, worker: CeleryProcess
) -> None:
    road = travel(redis_client, engine)
    fight = new_session_id()

    engine.start_combat_sync(fight, [HERO])

    # The first call may not wait long enough for a busy worker; this one asks again.
    wait_until(lambda: engine.start_combat_sync(fight, [HERO]).belts_loaded, "belts")
    started = engine.start_combat_sync(fight, [HERO])
    (potion,) = started.actors[HERO].belt_items
    assert (potion.inventory_id, potion.quantity) == (55, 5)
    assert InventoryItem.objects.get(pk=55).reserved_session_id == fight
    wait_until(lambda: is_closed(redis_client, GameMode.SCENARIO), "it is closed")
    assert ScenarioSession.objects.get(pk=road).closed_at is not None
    with pytest.raises(CombatInProgress):
        engine.switch_context_sync(char_id=HERO, to=GameMode.SCENARIO)
