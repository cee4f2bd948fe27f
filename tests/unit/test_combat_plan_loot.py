"""Loot: where it lands, and when a combat fails for it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from persistence.contract.payload import validate
from persistence.savers.combat.rows import MAX_INT, Catalogue, Template
from tests.unit.builders import (
    HIDE,
    POTION,
    RING,
    SWORD,
    character,
    combat,
    item,
    participant,
    plan,
    sample_with,
    session,
    solo,
    world,
)

LOOT = "participants.101.ui_report.loot_obtained"


def gained(template: Template, qty: int) -> list[dict[str, Any]]:
    return [{"item_template_id": template.id, "qty": qty}]


def test_loot_joins_the_lowest_unequipped_stack_of_the_bag() -> None:
    rows = [
        item(9, HIDE),
        item(4, HIDE, is_equipped=True),
        item(5, HIDE, slot="belt_1"),
        item(6, HIDE, character_id=102),
        item(8, HIDE),
        item(7, RING),
    ]

    made = plan(
        solo(items_gained=gained(HIDE, 3)),
        world(rows, [character(101), character(102)]),
    )

    assert {row.id: row.quantity for row in made.updated.values()} == {8: 8}
    assert made.inserted == {}
    assert made.ledger[0].items == [
        {
            "inventory_id": 8,
            "item_template_id": "wolf_hide",
            "kind": "gained",
            "delta": 3,
            "after": 8,
        }
    ]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [item(4, HIDE, is_equipped=True)],
        [item(4, HIDE, slot="belt_1")],
        [item(4, HIDE, character_id=102)],
        [item(4, RING)],
    ],
)
def test_without_such_a_stack_a_row_is_inserted(rows: list[Any]) -> None:
    start = world(rows, [character(101), character(102)])

    made = plan(solo(items_gained=gained(HIDE, 3)), start)

    assert made.updated == {}
    assert [asdict(row) for row in made.inserted.values()] == [
        {
            "id": 1000,
            "character_id": 101,
            "item_template_id": "wolf_hide",
            "quantity": 3,
            "is_equipped": False,
            "slot": None,
            "durability": None,
            "max_durability": None,
            "origin_session_id": session(1),
            "opening_quantity": 0,
            "reserved_session_id": None,
            "properties": None,
        }
    ]
    assert start.items[1000].quantity == 3


def test_a_stack_emptied_in_the_same_combat_is_not_loots_home() -> None:
    made = plan(
        solo(
            items_consumed=[{"inventory_id": 4, "qty": 5}],
            items_gained=gained(HIDE, 2),
        ),
        world([item(4, HIDE)]),
    )

    assert made.removed == {4}
    assert [(row.id, row.quantity) for row in made.inserted.values()] == [(1000, 2)]


def test_unstackable_loot_is_one_row_a_piece_with_its_durability() -> None:
    made = plan(solo(items_gained=gained(SWORD, 3)), world([item(4, SWORD)]))

    assert [
        (row.id, row.quantity, row.durability, row.max_durability)
        for row in made.inserted.values()
    ] == [(1000, 1, 80, 80), (1001, 1, 80, 80), (1002, 1, 80, 80)]
    assert [(m["inventory_id"], m["delta"]) for m in made.ledger[0].items] == [
        (1000, 1),
        (1001, 1),
        (1002, 1),
    ]


def test_unstackable_loot_of_too_many_pieces_is_out_of_range() -> None:
    assert len(plan(solo(items_gained=gained(RING, 100)), world()).inserted) == 100

    made = plan(solo(items_gained=gained(RING, 101)), world())

    assert [failure.code for failure in made.failures.values()] == ["out_of_range"]


def test_entries_of_one_template_share_one_new_row() -> None:
    loot = [*gained(HIDE, 2), *gained(RING, 1), *gained(HIDE, 3)]

    made = plan(solo(items_gained=loot), world())

    assert {row.item_template_id: row.quantity for row in made.inserted.values()} == {
        "wolf_hide": 5,
        "ring_bone": 1,
    }
    assert [(m["delta"], m["after"]) for m in made.ledger[0].items] == [
        (2, 2),
        (1, 1),
        (3, 5),
    ]


def test_entries_of_two_templates_make_a_row_each() -> None:
    loot = [*gained(HIDE, 2), *gained(POTION, 3)]

    made = plan(solo(items_gained=loot), world())

    assert [(r.item_template_id, r.quantity) for r in made.inserted.values()] == [
        ("wolf_hide", 2),
        ("hp_pot_small", 3),
    ]


def test_two_combats_of_a_batch_stack_onto_the_same_new_row() -> None:
    fights = [solo(n, seconds=n, items_gained=gained(HIDE, n)) for n in (1, 2, 3)]

    made = plan(fights, world())

    assert {row.id: row.quantity for row in made.inserted.values()} == {1000: 6}
    assert (made.updated, made.inserted[1000].origin_session_id) == ({}, session(1))
    assert [line.items[0]["after"] for line in made.ledger] == [1, 3, 6]


def test_two_players_of_a_combat_get_a_row_each() -> None:
    parts: dict[int | str, Any] = {
        c: participant(items_gained=gained(HIDE, 1)) for c in (101, 102)
    }

    made = plan(combat(1, parts), world([], [character(101), character(102)]))

    assert [(row.character_id, row.quantity) for row in made.inserted.values()] == [
        (101, 1),
        (102, 1),
    ]


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "Шкура волка"},
        {"name": "Wolf hide"},
        {"item_template_id": "wolf_hide"},
        {"item_template_id": "wolf_hide", "name": "Кольцо"},
        {"item_template_id": None, "name": "Шкура волка"},
    ],
)
def test_shown_loot_is_found_by_its_id_else_by_either_name(
    entry: dict[str, Any],
) -> None:
    made = plan(solo(loot_obtained=[{**entry, "qty": 2}]), world())

    assert [(r.item_template_id, r.quantity) for r in made.inserted.values()] == [
        ("wolf_hide", 2)
    ]


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"name": "Шкура дракона"}, "'Шкура дракона'"),
        ({"name": "wolf_hide"}, "'wolf_hide'"),
        ({"name": "шкура волка"}, "'шкура волка'"),
        ({"item_template_id": "dragon_hide"}, "'dragon_hide'"),
        ({"item_template_id": "dragon_hide", "name": "Шкура волка"}, "'dragon_hide'"),
    ],
)
def test_unknown_loot_fails_the_combat_and_is_named(
    entry: dict[str, Any], named: str
) -> None:
    fight = solo(xp_gained=5, loot_obtained=[{**entry, "qty": 1}])
    start = world()

    made = plan(fight, start)

    failure = made.failures[fight.session_id]
    assert (failure.session_id, failure.code) == (str(session(1)), "unknown_item")
    assert f"{named} of character 101" in failure.detail
    assert start.characters[101] == character()


def test_an_item_without_english_name_is_not_found_by_an_empty_one() -> None:
    catalogue = Catalogue([RING])

    assert "" not in catalogue.by_name


def test_the_item_a_name_means_does_not_depend_on_the_order_of_rows() -> None:
    first = Template("a", "Лук", "Bow", True, None)
    second = Template("b", "Bow", "Long bow", True, None)
    loot = validate(sample_with(LOOT, [{"name": "Bow"}])).players()[101].loot()[0]

    one, other = Catalogue([first, second]), Catalogue([second, first])

    assert one.find(loot) == other.find(loot)


def test_a_stack_beyond_its_column_is_out_of_range() -> None:
    rows = [item(4, HIDE, quantity=MAX_INT - 3)]

    full = plan(solo(items_gained=gained(HIDE, 3)), world(rows))
    over = plan(solo(items_gained=gained(HIDE, 4)), world(rows))

    assert full.updated[4].quantity == MAX_INT
    (failure,) = over.failures.values()
    assert (failure.code, "wolf_hide" in failure.detail) == ("out_of_range", True)
    assert over.updated == {}
