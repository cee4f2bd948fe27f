"""What undoing a combat does to each kind of movement, case by case."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from combat_history.actions.undo_plan import (
    Balance,
    Undo,
    origin_of,
    plan_undo,
)
from persistence.contract.changes import MAX_BIGINT
from persistence.contract.errors import DomainFailure, FailureCode
from persistence.savers.combat.rows import Catalogue, ItemRow, LedgerEntry, Template
from persistence.savers.inventory.bag import Item
from tests.unit import builders
from tests.unit.builders import CATALOGUE, HIDE, POTION, SWORD, session

HERO, OTHER = 101, 102
NEW_ID = 5000
RICH = Balance(xp=500, gold=50)


def item(
    row_id: int,
    template: Template = POTION,
    *,
    held_by: UUID | None = None,
    **over: Any,
) -> Item:
    row = builders.item(row_id, template, **over)
    values = {name: getattr(row, name) for name in ItemRow.__slots__}
    return Item(**{**values, "reserved_session_id": held_by})


def moved(
    kind: str, row_id: int, delta: int, template: Template = POTION, **more: Any
) -> dict[str, Any]:
    return {
        "inventory_id": row_id,
        "item_template_id": template.id,
        "kind": kind,
        "delta": delta,
        "after": 0,
        **more,
    }


def worn(row_id: int, points: int, template: Template = SWORD) -> dict[str, Any]:
    return moved("worn", row_id, 0, template, durability_delta=-points)


def line(*items: dict[str, Any], xp: int = 0, gold: int = 0) -> LedgerEntry:
    """What the combat moved; what it left is not read."""
    return LedgerEntry(session(1), 1, HERO, xp, gold, 0, 0, list(items))


def undo(
    combat: LedgerEntry, rows: Iterable[Item] = (), balance: Balance = RICH
) -> Undo:
    return plan_undo(
        [combat], {HERO: balance}, rows, Catalogue(CATALOGUE).by_id, count(NEW_ID)
    )


def movements(plan: Undo) -> list[tuple[str, int, int]]:
    (counter,) = plan.lines
    return [(m["kind"], m["inventory_id"], m["delta"]) for m in counter.items]


def shortages(plan: Undo) -> list[tuple[str, int, int]]:
    return [(str(s.code), s.wanted, s.applied) for s in plan.shortages]


def image(row: Item) -> dict[str, Any]:
    """As the settlement keeps it: of a plain row."""
    return ItemRow(**{n: getattr(row, n) for n in ItemRow.__slots__}).image()


def test_balances_are_moved_back() -> None:
    plan = undo(line(xp=120, gold=-30))

    assert plan.after == {HERO: Balance(380, 80)}
    (counter,) = plan.lines
    assert (counter.xp_delta, counter.gold_delta) == (-120, 30)
    assert (counter.xp_after, counter.gold_after) == (380, 80)
    assert plan.shortages == []


def test_spent_gold_and_missing_xp_are_shortages() -> None:
    plan = undo(line(xp=501, gold=80))

    assert plan.after == {HERO: Balance(0, 0)}
    assert shortages(plan) == [
        ("undo_xp_short", 501, 500),
        ("undo_gold_short", 80, 50),
    ]


def test_a_penalty_that_finds_no_room_in_the_purse_is_a_shortage() -> None:
    plan = undo(line(gold=-30), balance=Balance(0, MAX_BIGINT - 10))

    assert plan.after == {HERO: Balance(0, MAX_BIGINT)}
    assert shortages(plan) == [("undo_gold_short", 30, 10)]


def test_consumed_pieces_return_to_their_row() -> None:
    plan = undo(line(moved("consumed", 1, -2)), [item(1, quantity=3)])

    assert [row.quantity for row in plan.updated] == [5]
    assert movements(plan) == [("returned", 1, 2)]
    assert plan.lines[0].items[0]["after"] == 5


def test_removed_row_returns_as_it_was() -> None:
    gone = item(
        1,
        quantity=2,
        is_equipped=True,
        slot="belt_1",
        durability=3,
        max_durability=9,
        origin_session_id=session(7),
        opening_quantity=4,
    )

    plan = undo(line(moved("consumed", 1, -2, image=image(gone))))

    assert plan.inserted == [replace(gone, origin_operation=origin_of(session(1)))]
    assert movements(plan) == [("returned", 1, 2)]


def test_removed_row_whose_slot_is_taken_returns_to_the_bag() -> None:
    gone = item(1, quantity=2, is_equipped=True, slot="belt_1")
    taker = item(2, HIDE, is_equipped=True, slot="belt_1")

    plan = undo(line(moved("consumed", 1, -2, image=image(gone))), [taker])

    (row,) = plan.inserted
    assert (row.id, row.is_equipped, row.slot) == (1, False, None)
    assert plan.lines[0].items[0]["slot_taken"] == "belt_1"


@pytest.mark.parametrize(
    "taker",
    [
        item(2, is_equipped=False, slot="belt_1"),
        item(2, is_equipped=True, slot="belt_2"),
        item(2, is_equipped=True, slot="belt_1", character_id=OTHER),
    ],
)
def test_a_slot_is_taken_only_by_what_the_player_wears_in_it(taker: Item) -> None:
    gone = item(1, quantity=2, is_equipped=True, slot="belt_1")

    plan = undo(line(moved("consumed", 1, -2, image=image(gone))), [taker])

    assert plan.inserted[0].slot == "belt_1"


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [item(1, character_id=OTHER)],
        [item(1, HIDE)],
        [item(1, quantity=2**31 - 2)],
    ],
    ids=["gone", "of somebody else", "of another kind", "full"],
)
def test_pieces_whose_row_is_no_place_for_them_come_as_a_new_row(
    rows: list[Item],
) -> None:
    plan = undo(line(moved("consumed", 1, -2)), rows)

    (row,) = plan.inserted
    assert (row.id, row.character_id, row.quantity) == (NEW_ID, HERO, 2)
    assert (row.item_template_id, row.opening_quantity) == (POTION.id, 0)
    assert row.origin_operation == origin_of(session(1))
    assert plan.updated == []
    assert movements(plan) == [("returned", NEW_ID, 2)]


def test_removed_row_whose_id_is_in_use_comes_as_a_new_row_as_worn_as_it_was() -> None:
    gone = item(1, SWORD, quantity=1, durability=7, is_equipped=True, slot="hand")
    foreign = item(1, SWORD, character_id=OTHER)

    plan = undo(line(moved("consumed", 1, -1, SWORD, image=image(gone))), [foreign])

    (row,) = plan.inserted
    assert (row.id, row.durability, row.max_durability) == (NEW_ID, 7, 80)
    assert (row.is_equipped, row.slot, row.opening_quantity) == (False, None, 0)


def test_loot_is_taken_from_its_row_even_where_it_is_worn_by_now() -> None:
    rows = [item(1, quantity=9), item(2, quantity=5, is_equipped=True, slot="belt_1")]

    plan = undo(line(moved("gained", 2, 3)), rows)

    assert movements(plan) == [("taken_back", 2, -3)]


def test_missing_loot_is_taken_from_the_other_stacks_in_the_bag() -> None:
    rows = [
        item(1, quantity=1),
        item(2, quantity=2),
        item(3, quantity=9, is_equipped=True),
        item(4, HIDE, quantity=9),
        item(5, quantity=9, character_id=OTHER),
        item(6, quantity=9),
    ]

    plan = undo(line(moved("gained", 2, 5)), rows)

    assert movements(plan) == [
        ("taken_back", 2, -2),
        ("taken_back", 1, -1),
        ("taken_back", 6, -2),
    ]
    assert plan.removed == [2, 1]
    assert [(row.id, row.quantity) for row in plan.updated] == [(6, 7)]


def test_an_emptied_row_is_removed_with_its_image() -> None:
    row = item(1, quantity=3, opening_quantity=1, origin_session_id=session(9))

    plan = undo(line(moved("gained", 1, 3)), [row])

    assert plan.removed == [1]
    (movement,) = plan.lines[0].items
    assert movement["after"] == 0
    assert movement["image"].items() >= image(row).items()


def test_loot_that_is_nowhere_is_a_shortage() -> None:
    plan = undo(line(moved("gained", 1, 5)), [item(2, quantity=2)])

    assert shortages(plan) == [("undo_item_short", 5, 2)]
    (short,) = plan.shortages
    assert (short.inventory_id, short.item_template_id) == (1, POTION.id)
    assert plan.removed == [2]


def test_what_a_live_fight_holds_is_not_taken() -> None:
    rows = [
        item(1, quantity=5, held_by=session(8)),
        item(2, quantity=5, held_by=session(8)),
    ]

    plan = undo(line(moved("gained", 1, 3)), rows)

    assert plan.changes == {}
    assert shortages(plan) == [("undo_item_short", 3, 0)]


def test_what_a_live_fight_holds_may_get_its_pieces_back() -> None:
    plan = undo(line(moved("consumed", 1, -2)), [item(1, held_by=session(8))])

    assert [row.quantity for row in plan.updated] == [7]


def test_a_row_that_gets_pieces_back_is_not_removed_in_between() -> None:
    combat = line(moved("consumed", 1, -4), moved("gained", 1, 3))

    plan = undo(combat, [item(1, quantity=3)])

    assert [(row.id, row.quantity) for row in plan.updated] == [(1, 4)]
    assert movements(plan) == [("taken_back", 1, -3), ("returned", 1, 4)]
    assert all("image" not in movement for movement in plan.lines[0].items)


def test_the_last_movement_of_a_removed_row_has_its_image() -> None:
    combat = line(worn(1, 4), moved("gained", 1, 1, SWORD))

    plan = undo(combat, [item(1, SWORD, quantity=1, durability=70)])

    assert plan.removed == [1]
    taken, repaired = plan.lines[0].items
    assert (taken["kind"], repaired["kind"]) == ("taken_back", "repaired")
    assert "image" not in taken
    assert repaired["image"]["id"] == 1


@pytest.mark.parametrize(
    ("durability", "limit", "after"),
    [(40, 80, 45), (78, 80, 80), (80, 80, 80), (90, 80, 90), (3, None, 8)],
)
def test_wear_is_mended_up_to_the_limit(
    durability: int, limit: int | None, after: int
) -> None:
    row = item(1, SWORD, durability=durability, max_durability=limit)

    plan = undo(line(worn(1, 5)), [row])

    (movement,) = plan.lines[0].items
    assert movement["kind"] == "repaired"
    assert movement["durability_delta"] == after - durability
    assert movement["durability_after"] == after
    assert [row.durability for row in plan.updated] == (
        [after] if after != durability else []
    )
    assert plan.shortages == []


@pytest.mark.parametrize(
    "rows",
    [[], [item(1, SWORD, character_id=OTHER)], [item(1, SWORD, durability=None)]],
    ids=["gone", "of somebody else", "does not wear"],
)
def test_wear_of_what_is_not_there_is_a_shortage(rows: list[Item]) -> None:
    plan = undo(line(worn(1, 5)), rows)

    assert plan.changes == {}
    assert shortages(plan) == [("undo_wear_short", 5, 0)]


def test_wear_of_no_points_is_no_movement() -> None:
    plan = undo(line(worn(1, 0)))

    assert movements(plan) == []
    assert plan.shortages == []


def test_the_rows_given_are_not_changed() -> None:
    row = item(1, quantity=3)
    before = replace(row)

    undo(line(moved("consumed", 1, -2)), [row])

    assert row == before


def test_a_player_who_is_no_more_is_a_failure() -> None:
    with pytest.raises(DomainFailure) as caught:
        plan_undo([line()], {}, [], {}, count(NEW_ID))

    assert caught.value.code == FailureCode.UNKNOWN_CHARACTER


def test_a_movement_that_no_settlement_makes_is_no_guess() -> None:
    with pytest.raises(ValueError, match="split"):
        undo(line(moved("split", 1, -2)), [item(1)])
