"""Durability: which row wears, and how far."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.builders import (
    POTION,
    SWORD,
    character,
    item,
    plan,
    solo,
    world,
)


def sword(row_id: int, **over: Any) -> Any:
    return item(row_id, SWORD, **{"quantity": 1, "is_equipped": True, **over})


def test_the_equipped_row_of_the_lowest_id_wears() -> None:
    rows = [
        sword(9),
        sword(5, is_equipped=False),
        sword(6, character_id=102),
        sword(7),
    ]

    made = plan(
        solo(durability_loss={"item:sword_epic": 5}),
        world(rows, [character(101), character(102)]),
    )

    assert {row.id: row.durability for row in made.updated.values()} == {7: 75}
    assert made.ledger[0].items == [
        {
            "inventory_id": 7,
            "item_template_id": "sword_epic",
            "kind": "worn",
            "delta": 0,
            "after": 1,
            "durability_delta": -5,
            "durability_after": 75,
        }
    ]


def test_durability_ends_at_zero_and_the_item_stays() -> None:
    made = plan(
        solo(durability_loss={"item:sword_epic": 5}), world([sword(7, durability=3)])
    )

    assert made.updated[7].durability == 0
    assert made.updated[7].quantity == 1
    assert made.ledger[0].items[0]["durability_delta"] == -3
    assert (made.removed, made.discrepancies) == (set(), [])


@pytest.mark.parametrize("rows", [[], [sword(7, is_equipped=False)]])
def test_where_none_is_equipped_the_loss_is_recorded(rows: list[Any]) -> None:
    made = plan(solo(durability_loss={"item:sword_epic": 5}), world(rows))

    (shortage,) = made.discrepancies
    assert shortage.code == "not_equipped"
    assert (shortage.inventory_id, shortage.item_template_id) == (None, "sword_epic")
    assert (shortage.wanted, shortage.applied) == (5, 0)
    assert (made.updated, made.ledger[0].items) == ({}, [])


def test_a_row_without_durability_is_recorded() -> None:
    made = plan(
        solo(durability_loss={"inventory:7": 5}), world([sword(7, durability=None)])
    )

    (shortage,) = made.discrepancies
    assert shortage.code == "no_durability"
    assert (shortage.inventory_id, shortage.item_template_id) == (7, "sword_epic")
    assert made.updated == {}


@pytest.mark.parametrize("equipped", [True, False])
def test_a_row_named_by_id_wears_equipped_or_not(equipped: bool) -> None:
    rows = [sword(6), sword(7, is_equipped=equipped)]

    made = plan(solo(durability_loss={"inventory:7": 5}), world(rows))

    assert {row.id: row.durability for row in made.updated.values()} == {7: 75}


def test_a_row_of_somebody_else_named_by_id_does_not_wear() -> None:
    start = world([sword(7, character_id=102)], [character(101), character(102)])

    made = plan(solo(durability_loss={"inventory:7": 5}), start)

    (shortage,) = made.discrepancies
    assert (shortage.code, shortage.inventory_id) == ("item_not_owned", 7)
    assert made.updated == {}
    assert start.items[7].durability == 80


def test_a_row_that_is_gone_is_recorded() -> None:
    made = plan(solo(durability_loss={"inventory:7": 5}), world())

    assert [(d.code, d.wanted) for d in made.discrepancies] == [("item_gone", 5)]


def test_both_forms_may_hit_one_row() -> None:
    made = plan(
        solo(durability_loss={"item:sword_epic": 5, "inventory:7": 2}),
        world([sword(7)]),
    )

    assert made.updated[7].durability == 73
    assert [m["durability_after"] for m in made.ledger[0].items] == [75, 73]


def test_consumption_comes_before_wear() -> None:
    made = plan(
        solo(
            items_consumed=[{"inventory_id": 7, "qty": 1}],
            durability_loss={"item:sword_epic": 5},
        ),
        world([sword(7), sword(8)]),
    )

    assert made.removed == {7}
    assert {row.id: row.durability for row in made.updated.values()} == {8: 75}


def test_a_used_up_row_keeps_the_image_of_its_wear_in_the_batch() -> None:
    first = solo(1, durability_loss={"inventory:7": 5})
    second = solo(2, seconds=1, items_consumed=[{"inventory_id": 7, "qty": 1}])

    made = plan([first, second], world([sword(7)]))

    assert made.ledger[1].items[0]["image"]["durability"] == 75
    assert (made.removed, made.updated) == ({7}, {})


def test_wear_and_use_of_one_row_are_one_update() -> None:
    stack = item(7, POTION, is_equipped=True, durability=10)

    made = plan(
        solo(
            items_consumed=[{"inventory_id": 7, "qty": 2}],
            durability_loss={"item:hp_pot_small": 4},
        ),
        world([stack]),
    )

    assert (made.updated[7].quantity, made.updated[7].durability) == (3, 6)


def test_wear_adds_up_over_the_combats_of_a_batch() -> None:
    fights = [
        solo(n, seconds=n, durability_loss={"item:sword_epic": 30}) for n in (1, 2, 3)
    ]

    made = plan(fights, world([sword(7)]))

    assert made.updated[7].durability == 0
    assert [line.items[0]["durability_delta"] for line in made.ledger] == [
        -30,
        -30,
        -20,
    ]


def test_a_loss_of_nothing_stops_no_other() -> None:
    worn = {f"item:{SWORD.id}": 0, "inventory:7": 3}
    made = plan(solo(durability_loss=worn), world([item(7, SWORD)]))
    assert made.updated[7].durability == 77


def test_a_template_may_have_a_colon_in_its_name() -> None:
    made = plan(solo(durability_loss={"item:sword:of:dawn": 3}), world())
    assert made.discrepancies[0].item_template_id == "sword:of:dawn"
