"""What only a belt holds is not traded away: refused at once, by id and by template."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import pytest
import redis

from combat_history.models import InventoryItem, ParkedOperation
from persistence.belts.reservations import assemble
from persistence.contract import redis_keys
from persistence.contract.errors import ItemReserved
from persistence.dispatcher import SyncDispatcher
from persistence.engine.handoff import checked
from persistence.tasks import task_sync_state
from persistence.worker.inbox import record
from tests.conftest import Settle
from tests.support.belts import begin, result_of
from tests.support.documents import HERO, POTION
from tests.support.factories import add_item
from tests.support.ids import new_session_id

pytestmark = pytest.mark.usefixtures("world")

KIND = "hp_pot_small"
Fight = Callable[..., UUID]
Operation = Mapping[str, Any]


@pytest.fixture
def start(redis_client: redis.Redis) -> Fight:
    """A fight whose belt holds five potions, as many as asked for are elsewhere."""

    def begun(free: int = 0) -> UUID:
        if free:
            add_item(HERO, KIND, 70, quantity=free)
        fight = new_session_id()
        begin(redis_client, fight, HERO)
        redis_client.hset("ac:101", "combat_session_id", str(fight))
        assemble(fight, [HERO])
        return fight

    return begun


def op(op_id: str, kind: str = "remove", **rest: Any) -> dict[str, Any]:
    return {"op_id": op_id, "op": kind, "item_template_id": KIND, **rest}


@pytest.mark.parametrize(
    "operations",
    [
        [op("a", qty=1)],
        [op("a", "add", qty=2), op("b", qty=3)],
        [op("a", qty=1), op("b", "add", qty=1)],
    ],
    ids=["one", "more than is added", "before it is added"],
)
def test_removing_what_only_the_belt_holds_is_refused_at_once(
    engine: SyncDispatcher,
    redis_client: redis.Redis,
    start: Fight,
    operations: list[dict[str, Any]],
) -> None:
    fight = start()

    with pytest.raises(ItemReserved) as refused:
        engine.change_inventory_sync(HERO, operations)

    assert refused.value.inventory_ids == [POTION]
    assert refused.value.session_id == str(fight)
    assert not redis_client.exists(redis_keys.inventory_delta(HERO))


def test_the_operations_of_one_call_are_taken_together(
    engine: SyncDispatcher, start: Fight
) -> None:
    start(free=3)

    with pytest.raises(ItemReserved):
        engine.change_inventory_sync(HERO, [op("a", qty=2), op("b", qty=2)])

    engine.change_inventory_sync(HERO, [op("c", qty=2), op("d", qty=1)])


def test_what_was_removed_and_added_since_counts_saved_or_not(
    engine: SyncDispatcher, start: Fight
) -> None:
    start(free=3)
    engine.change_inventory_sync(HERO, [op("a", qty=3)])
    task_sync_state("inventory", HERO)

    with pytest.raises(ItemReserved):
        engine.change_inventory_sync(HERO, [op("b", qty=1)])
    engine.change_inventory_sync(HERO, [op("c", "add", qty=1)])
    engine.change_inventory_sync(HERO, [op("d", qty=1)])

    task_sync_state("inventory", HERO)
    assert not ParkedOperation.objects.exists()
    assert InventoryItem.objects.get(item_template_id=KIND).quantity == 5


def test_after_the_fight_the_belt_is_anybodys(
    engine: SyncDispatcher, start: Fight, settle_here: Settle
) -> None:
    fight = start()
    settle_here(result_of(fight))

    engine.change_inventory_sync(HERO, [op("a", qty=1)])

    task_sync_state("inventory", HERO)
    assert InventoryItem.objects.get(pk=POTION).quantity == 4


def test_where_something_is_still_to_be_saved_nothing_is_refused_by_count(
    engine: SyncDispatcher, start: Fight
) -> None:
    engine.change_inventory_sync(HERO, [op("a", "add", qty=2)])
    start()

    engine.change_inventory_sync(HERO, [op("b", qty=2)])

    task_sync_state("inventory", HERO)
    assert not ParkedOperation.objects.exists()


def test_where_the_last_fight_is_still_to_be_settled_nothing_is_refused_by_count(
    engine: SyncDispatcher, start: Fight
) -> None:
    record(checked(result_of(new_session_id())))
    start()

    engine.change_inventory_sync(HERO, [op("a", qty=2)])


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "qty": 1},
        {"op": "equip", "slot": "belt_3"},
        {"op": "unequip"},
        {"op": "move", "slot": "belt_3"},
        {"op": "split", "qty": 1},
        {"op": "merge", "into": 70},
    ],
    ids=lambda operation: operation["op"],
)
def test_nothing_that_moves_the_row_passes_by_its_id(
    engine: SyncDispatcher, start: Fight, operation: dict[str, Any]
) -> None:
    start(free=1)

    with pytest.raises(ItemReserved):
        engine.change_inventory_sync(
            HERO, [{"op_id": "a", "inventory_id": POTION, **operation}]
        )
