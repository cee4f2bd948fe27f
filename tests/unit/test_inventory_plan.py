"""What each operation does to the rows, and why it may not."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from persistence.savers.combat.rows import MAX_INT
from tests.support.documents import op
from tests.unit.builders import FIRST_NEW_ID, HIDE, POTION, RING, SWORD
from tests.unit.inventories import (
    OTHER,
    Inventory,
    inventory,
    row,
    summary,
)

NEW = FIRST_NEW_ID
FIGHT = UUID(int=7)
BELT = {"is_equipped": True, "slot": "belt_1"}
HAND = {"is_equipped": True, "slot": "main_hand"}


def world() -> Inventory:
    """Five potions on the belt, a stack in the bag, a worn sword, a spare one."""
    return inventory(
        row(1, POTION, **BELT),
        row(2, POTION, quantity=9),
        row(3, SWORD, quantity=1, durability=40, **HAND),
        row(4, SWORD, quantity=1),
        row(5, POTION, quantity=3, character_id=OTHER),
        row(6, HIDE, quantity=2, reserved_session_id=FIGHT),
        row(7, POTION, quantity=2),
        row(8, RING, quantity=1),
    )


def seen(found: Inventory) -> dict[int, tuple[Any, ...]]:
    return {line[0]: line[2:] for line in summary(found.rows.values())}


@pytest.mark.parametrize(
    ("document", "changed"),
    [
        pytest.param(
            op("a", "add", item_template_id="hp_pot_small", qty=4),
            {2: (13, None, None)},
            id="add joins the unequipped stack of the lowest id",
        ),
        pytest.param(
            op("a", "add", item_template_id="sword_epic", qty=2),
            {NEW: (1, None, 80), NEW + 1: (1, None, 80)},
            id="add of what does not stack makes a row a piece",
        ),
        pytest.param(
            op("a", "add", item_template_id="sword_epic", qty=1, durability=7),
            {NEW: (1, None, 7)},
            id="add of a worn piece",
        ),
        pytest.param(
            op("a", "add", item_template_id="wolf_hide", qty=1),
            {6: (3, None, None)},
            id="add may join what a fight holds",
        ),
        pytest.param(
            op("a", "remove", inventory_id=1, qty=2),
            {1: (3, "belt_1", None)},
            id="remove from one row",
        ),
        pytest.param(
            op("a", "remove", inventory_id=1, qty=5), {1: None}, id="remove all of it"
        ),
        pytest.param(
            op("a", "remove", item_template_id="hp_pot_small", qty=10),
            {2: None, 7: (1, None, None)},
            id="remove by template takes from the bag first",
        ),
        pytest.param(
            op("a", "remove", item_template_id="hp_pot_small", qty=12),
            {2: None, 7: None, 1: (4, "belt_1", None)},
            id="remove by template takes from the belt last",
        ),
        pytest.param(
            op("a", "equip", inventory_id=8, slot="finger"),
            {8: (1, "finger", None)},
            id="equip",
        ),
        pytest.param(
            op("a", "equip", inventory_id=1, slot="belt_1"), {}, id="equip: it is there"
        ),
        pytest.param(
            op("a", "unequip", inventory_id=3), {3: (1, None, 40)}, id="unequip"
        ),
        pytest.param(op("a", "unequip", inventory_id=4), {}, id="unequip: it is not"),
        pytest.param(
            op("a", "move", inventory_id=1, slot="belt_2"),
            {1: (5, "belt_2", None)},
            id="move",
        ),
        pytest.param(op("a", "move", inventory_id=1, slot="belt_1"), {}, id="move: no"),
        pytest.param(
            op("a", "split", inventory_id=1, qty=2),
            {1: (3, "belt_1", None), NEW: (2, None, None)},
            id="split makes an unequipped row",
        ),
        pytest.param(
            op("a", "merge", inventory_id=2, into=1),
            {1: (14, "belt_1", None), 2: None},
            id="merge",
        ),
        pytest.param(
            op("a", "set_durability", inventory_id=3, durability=80),
            {3: (1, "main_hand", 80)},
            id="set_durability",
        ),
        pytest.param(
            op("a", "set_durability", inventory_id=3, durability=40), {}, id="as it was"
        ),
    ],
)
def test_an_operation_changes_exactly_this(
    document: dict[str, Any], changed: dict[int, tuple[Any, ...] | None]
) -> None:
    found = world()
    expected = {**seen(found), **changed}

    plan = found.save(document)

    assert seen(found) == {k: v for k, v in expected.items() if v is not None}
    assert found.codes() == {}
    assert plan.counts == {"applied": 1}
    assert {m["op_id"] for m in found.movements} == ({"a"} if changed else set())


def test_a_merge_may_join_what_a_fight_holds() -> None:
    held = row(6, HIDE, quantity=2, reserved_session_id=FIGHT)
    found = inventory(held, row(9, HIDE, quantity=3))

    found.save(op("a", "merge", inventory_id=9, into=6))

    assert seen(found) == {6: (5, None, None)}


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (op("a", "add", item_template_id="dragon", qty=1), "unknown_item"),
        (op("a", "remove", item_template_id="dragon", qty=1), "unknown_item"),
        (op("a", "remove", inventory_id=99, qty=1), "item_gone"),
        (op("a", "unequip", inventory_id="op:never"), "item_gone"),
        (op("a", "remove", inventory_id=5, qty=1), "item_not_owned"),
        (op("a", "merge", inventory_id=2, into=5), "item_not_owned"),
        (op("a", "set_durability", inventory_id=5, durability=1), "item_not_owned"),
        (op("a", "remove", inventory_id=1, qty=6), "item_shortage"),
        (
            op("a", "remove", item_template_id="hp_pot_small", qty=17),
            "item_shortage",
        ),
        (op("a", "split", inventory_id=1, qty=6), "item_shortage"),
        (op("a", "remove", inventory_id=6, qty=1), "item_reserved"),
        (op("a", "remove", item_template_id="wolf_hide", qty=1), "item_reserved"),
        (op("a", "remove", item_template_id="wolf_hide", qty=3), "item_shortage"),
        (op("a", "equip", inventory_id=6, slot="cloak"), "item_reserved"),
        (op("a", "unequip", inventory_id=6), "item_reserved"),
        (op("a", "move", inventory_id=6, slot="cloak"), "item_reserved"),
        (op("a", "split", inventory_id=6, qty=1), "item_reserved"),
        (op("a", "merge", inventory_id=6, into=2), "item_reserved"),
        (op("a", "equip", inventory_id=4, slot="main_hand"), "slot_taken"),
        (op("a", "move", inventory_id=1, slot="main_hand"), "slot_taken"),
        (op("a", "equip", inventory_id=1, slot="belt_2"), "not_allowed"),
        (op("a", "move", inventory_id=2, slot="belt_2"), "not_allowed"),
        (op("a", "split", inventory_id=1, qty=5), "not_allowed"),
        (op("a", "merge", inventory_id=2, into=8), "not_allowed"),
        (op("a", "merge", inventory_id=2, into=2), "not_allowed"),
        (op("a", "merge", inventory_id=3, into=4), "not_allowed"),
        (op("a", "set_durability", inventory_id=1, durability=1), "not_allowed"),
        (
            op("a", "add", item_template_id="hp_pot_small", qty=1, durability=1),
            "not_allowed",
        ),
        (op("a", "set_durability", inventory_id=3, durability=81), "out_of_range"),
        (
            op("a", "add", item_template_id="sword_epic", qty=1, durability=81),
            "out_of_range",
        ),
        (op("a", "add", item_template_id="sword_epic", qty=101), "out_of_range"),
        (op("a", "unequip", inventory_id="55"), "invalid_operation"),
    ],
)
def test_what_cannot_be_done_is_parked_and_changes_nothing(
    document: dict[str, Any], code: str
) -> None:
    found = world()
    before = seen(found)

    plan = found.save(document)

    assert found.codes() == {"a": code}
    assert found.parked["a"].operation == document
    assert found.parked["a"].detail
    assert (seen(found), found.movements, found.applied) == (before, [], {})
    assert plan.counts == {"parked": 1}


@pytest.mark.parametrize(
    "document",
    [
        op("a", "add", item_template_id="hp_pot_small", qty=2),
        op("a", "merge", inventory_id=2, into=1),
    ],
)
def test_a_stack_never_outgrows_its_column(document: dict[str, Any]) -> None:
    found = inventory(row(1, quantity=MAX_INT - 1), row(2, quantity=MAX_INT - 1))
    found.save(document)
    assert found.codes() == {"a": "out_of_range"}
    assert found.pieces() == {POTION.id: 2 * (MAX_INT - 1)}


def test_stacks_of_different_durability_stay_apart() -> None:
    stackable = type(SWORD)("dart", "Дротик", "Dart", True, 10)
    found = inventory(
        row(1, stackable, durability=4),
        row(2, stackable, durability=9),
        templates={"dart": stackable},
    )
    found.save(
        op("a", "add", item_template_id="dart", qty=1, durability=9),
        op("b", "add", item_template_id="dart", qty=1, durability=5),
        op("c", "merge", inventory_id=1, into=2),
        op("d", "add", item_template_id="dart", qty=1),
    )
    assert seen(found) == {1: (6, None, 4), 2: (6, None, 9), NEW: (1, None, 5)}
    assert found.codes() == {"c": "not_allowed"}


def test_operations_see_what_those_before_them_did() -> None:
    found = world()
    found.save(
        op("new", "add", item_template_id="ring_bone", qty=1),
        op("off", "unequip", inventory_id=3),
        op("on", "equip", inventory_id=4, slot="main_hand"),
        op("put", "equip", inventory_id="op:new", slot="finger"),
        op("part", "split", inventory_id=2, qty=4),
        op("back", "merge", inventory_id="op:part", into=7),
    )
    assert found.codes() == {}
    rows = seen(found)
    assert rows[NEW] == (1, "finger", None)
    assert (rows[3], rows[4]) == ((1, None, 40), (1, "main_hand", 80))
    assert (rows[2], rows[7]) == ((5, None, None), (6, None, None))
    assert NEW + 1 not in rows


def test_a_row_is_named_by_its_operation_across_saves() -> None:
    found = world()
    found.save(op("joined", "add", item_template_id="hp_pot_small", qty=1))
    found.save(op("two", "add", item_template_id="ring_bone", qty=2))
    found.save(
        op("a", "remove", inventory_id="op:joined", qty=10),
        op("b", "equip", inventory_id="op:two", slot="finger"),
        op("c", "unequip", inventory_id="op:a"),
    )
    rows = seen(found)
    assert 2 not in rows
    assert (rows[NEW], rows[NEW + 1]) == ((1, "finger", None), (1, None, None))
    assert found.codes() == {"c": "item_gone"}


def test_movements_tell_all_that_an_undo_would_need() -> None:
    found = world()
    found.save(
        op("a", "remove", inventory_id=1, qty=5),
        op("b", "move", inventory_id=3, slot="off_hand"),
        op("c", "set_durability", inventory_id=3, durability=10),
        op("d", "unequip", inventory_id=3),
    )
    removed, moved, worn, taken_off = found.movements
    assert removed["kind"] == "removed"
    assert (removed["delta"], removed["after"]) == (-5, 0)
    assert (removed["image"]["quantity"], removed["image"]["slot"]) == (5, "belt_1")
    assert (moved["kind"], moved["delta"], moved["slot"]) == ("moved", 0, "off_hand")
    assert (worn["durability_delta"], worn["durability_after"]) == (-30, 10)
    assert (taken_off["kind"], taken_off["slot"]) == ("unequipped", "off_hand")


@pytest.mark.parametrize(
    ("document", "kind", "moved"),
    [
        (op("a", "merge", inventory_id=2, into=1), "merged", [(2, -9, 0), (1, 9, 14)]),
        (op("a", "split", inventory_id=2, qty=4), "split", [(2, -4, 5), (NEW, 4, 4)]),
    ],
)
def test_pieces_that_change_rows_are_in_the_movements_of_both(
    document: dict[str, Any], kind: str, moved: list[tuple[int, int, int]]
) -> None:
    found = world()
    found.save(document)
    assert {m["kind"] for m in found.movements} == {kind}
    told = [(m["inventory_id"], m["delta"], m["after"]) for m in found.movements]
    assert told == moved


def test_without_a_character_everything_is_parked() -> None:
    found = Inventory(is_known=False)
    found.save(op("a", "add", item_template_id="hp_pot_small", qty=1))
    found.save(op("b", "unequip", inventory_id="op:a"), b"{")
    codes = list(found.codes().values())
    assert codes == ["unknown_character", "unknown_character", "invalid_operation"]
