"""Items used up in a fight, and what happens where they are no longer there."""

from __future__ import annotations

from typing import Any

import pytest

from persistence.savers.combat.rows import Plan
from tests.unit.builders import (
    HIDE,
    POTION,
    character,
    combat,
    item,
    participant,
    plan,
    session,
    solo,
    world,
)


def used(row_id: int, qty: int, template_id: str | None = POTION.id) -> dict[str, Any]:
    return {"inventory_id": row_id, "item_template_id": template_id, "qty": qty}


def shortages(made: Plan) -> list[tuple[str, int | None, str | None, int, int]]:
    return [
        (str(d.code), d.inventory_id, d.item_template_id, d.wanted, d.applied)
        for d in made.discrepancies
    ]


def assert_no_item_moved(made: Plan) -> None:
    assert (made.updated, made.inserted, made.removed) == ({}, {}, set())
    assert [line.items for line in made.ledger] == [[]]


def test_exactly_what_was_used_is_taken() -> None:
    start = world([item(55), item(56)])

    made = plan(solo(items_consumed=[used(55, 2)]), start)

    assert {row.id: row.quantity for row in made.updated.values()} == {55: 3}
    assert (made.removed, made.discrepancies) == (set(), [])
    assert made.ledger[0].items == [
        {
            "inventory_id": 55,
            "item_template_id": "hp_pot_small",
            "kind": "consumed",
            "delta": -2,
            "after": 3,
        }
    ]
    assert start.items[55].quantity == 3
    assert start.items[56].quantity == 5


def test_a_row_used_up_is_removed_and_its_full_image_kept() -> None:
    row = item(
        55,
        quantity=2,
        is_equipped=True,
        slot="belt_1",
        durability=7,
        max_durability=9,
        origin_session_id=session(4),
        opening_quantity=6,
    )
    start = world([row, item(56)])

    made = plan(solo(items_consumed=[used(55, 2)]), start)

    assert (made.removed, made.updated) == ({55}, {})
    assert made.ledger[0].items == [
        {
            "inventory_id": 55,
            "item_template_id": "hp_pot_small",
            "kind": "consumed",
            "delta": -2,
            "after": 0,
            "image": {
                "id": 55,
                "character_id": 101,
                "item_template_id": "hp_pot_small",
                "quantity": 2,
                "is_equipped": True,
                "slot": "belt_1",
                "durability": 7,
                "max_durability": 9,
                "origin_session_id": "00000000-0000-0000-0000-000000000004",
                "opening_quantity": 6,
            },
        }
    ]
    assert start.items.keys() == {56}


def test_a_shortage_takes_what_is_there() -> None:
    made = plan(solo(items_consumed=[used(55, 7)]), world([item(55, quantity=5)]))

    assert made.removed == {55}
    assert made.ledger[0].items[0]["delta"] == -5
    assert shortages(made) == [("item_shortage", 55, "hp_pot_small", 7, 5)]


def test_an_empty_row_gives_nothing_and_stays() -> None:
    made = plan(solo(items_consumed=[used(55, 1)]), world([item(55, quantity=0)]))

    assert_no_item_moved(made)
    assert shortages(made) == [("item_shortage", 55, "hp_pot_small", 1, 0)]


def test_a_row_that_is_gone_is_recorded() -> None:
    made = plan(solo(items_consumed=[used(77, 2)]), world([item(55)]))

    assert_no_item_moved(made)
    assert shortages(made) == [("item_gone", 77, "hp_pot_small", 2, 0)]


def test_a_row_of_somebody_else_is_not_touched() -> None:
    start = world([item(55, character_id=102)], [character(101), character(102)])

    made = plan(solo(items_consumed=[used(55, 2)]), start)

    assert_no_item_moved(made)
    assert shortages(made) == [("item_not_owned", 55, "hp_pot_small", 2, 0)]
    assert start.items[55].quantity == 5


def test_not_even_where_the_owner_fought_in_the_same_combat() -> None:
    start = world([item(55, character_id=102)], [character(101), character(102)])
    parts: dict[int | str, Any] = {
        101: participant(items_consumed=[used(55, 2)]),
        102: participant(items_consumed=[used(55, 1)]),
    }

    made = plan(combat(1, parts), start)

    assert start.items[55].quantity == 4
    assert shortages(made) == [("item_not_owned", 55, "hp_pot_small", 2, 0)]
    assert made.discrepancies[0].character_id == 101


def test_a_row_of_another_template_is_not_taken_from() -> None:
    made = plan(solo(items_consumed=[used(55, 2)]), world([item(55, HIDE)]))

    assert_no_item_moved(made)
    assert shortages(made) == [("item_mismatch", 55, "hp_pot_small", 2, 0)]


def test_without_a_template_the_row_id_decides() -> None:
    made = plan(solo(items_consumed=[used(55, 2, None)]), world([item(55, HIDE)]))

    assert made.updated[55].quantity == 3
    assert made.discrepancies == []


def test_one_entry_per_use_is_summed() -> None:
    uses = [used(55, 1), used(56, 1), used(55, 2)]

    made = plan(solo(items_consumed=uses), world([item(55), item(56)]))

    assert [(m["inventory_id"], m["delta"]) for m in made.ledger[0].items] == [
        (55, -3),
        (56, -1),
    ]
    assert {row.id: row.quantity for row in made.updated.values()} == {55: 2, 56: 4}


def test_a_summed_shortage_is_one_shortage() -> None:
    made = plan(
        solo(items_consumed=[used(55, 3), used(55, 3)]),
        world([item(55, quantity=5)]),
    )

    assert shortages(made) == [("item_shortage", 55, "hp_pot_small", 6, 5)]


def test_the_alias_of_the_seed_is_consumed_alike() -> None:
    uses = [{"inv_id": 55, "qty": 1}, {"inventory_id": 55, "qty": 1}]

    made = plan(solo(items_consumed=uses), world([item(55)]))

    assert made.updated[55].quantity == 3


def test_a_later_combat_of_the_batch_finds_what_the_earlier_one_left() -> None:
    first = solo(1, items_consumed=[used(55, 4)])
    second = solo(2, seconds=1, items_consumed=[used(55, 4)])

    made = plan([second, first], world([item(55)]))

    assert [line.items[0]["delta"] for line in made.ledger] == [-4, -1]
    assert shortages(made) == [("item_shortage", 55, "hp_pot_small", 4, 1)]
    assert made.discrepancies[0].session_id == session(2)
    assert (made.removed, made.updated) == ({55}, {})


def test_a_row_used_up_earlier_in_the_batch_is_gone() -> None:
    first = solo(1, items_consumed=[used(55, 5)])
    second = solo(2, seconds=1, items_consumed=[used(55, 1)])

    made = plan([first, second], world([item(55)]))

    assert shortages(made) == [("item_gone", 55, "hp_pot_small", 1, 0)]


def test_loot_of_one_combat_used_up_in_the_next_never_meets_the_table() -> None:
    first = solo(1, loot_obtained=[{"name": POTION.name, "qty": 2}])
    second = solo(2, seconds=1, items_consumed=[used(1000, 2)])

    made = plan([first, second], world())

    assert (made.inserted, made.updated, made.removed) == ({}, {}, set())
    assert [line.items[0]["delta"] for line in made.ledger] == [2, -2]
    assert made.ledger[1].items[0]["image"]["origin_session_id"] == str(session(1))


@pytest.mark.parametrize(
    ("start", "detail"),
    [
        ([item(55, quantity=1)], "item_shortage"),
        ([], "item_gone"),
        ([item(55, character_id=102)], "item_not_owned"),
        ([item(55, HIDE)], "item_mismatch"),
    ],
)
def test_where_shortages_fail_nothing_of_the_combat_is_applied(
    start: list[Any], detail: str
) -> None:
    fight = solo(xp_gained=9, gold_gained=9, items_consumed=[used(55, 2)])
    rows = world(start)

    made = plan(fight, rows, fail_on_shortage=True)

    failure = made.failures[fight.session_id]
    assert failure.code == "shortage"
    assert detail in failure.detail
    assert "of character 101" in failure.detail
    assert (made.ledger, made.discrepancies, made.characters) == ([], [], {})
    assert rows.characters[101] == character()
    assert rows.items == {row.id: row for row in start}


def test_where_shortages_fail_a_covered_combat_is_settled() -> None:
    made = plan(
        solo(items_consumed=[used(55, 5)]), world([item(55)]), fail_on_shortage=True
    )

    assert (made.failures, made.removed) == ({}, {55})
