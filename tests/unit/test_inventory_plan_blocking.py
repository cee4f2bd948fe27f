"""What a parked operation holds up, what it does not, and how it comes free."""

from __future__ import annotations

import json
from typing import Any

import pytest

from persistence.savers.combat.rows import Template
from tests.support.documents import op
from tests.unit.builders import FIRST_NEW_ID, HIDE, POTION, SWORD
from tests.unit.inventories import (
    Inventory,
    inventory,
    row,
)

SCALE = Template("scale", "Чешуя", "", True, None)
DROP = op("drop", "remove", inventory_id=1, qty=1)
GROW = op("grow", "add", item_template_id="scale", qty=5)


def learn(found: Inventory) -> None:
    """What makes GROW possible."""
    found.templates = {**found.templates, SCALE.id: SCALE}


def stock() -> Inventory:
    return inventory(row(1, POTION), row(2, POTION), row(3, SWORD, quantity=1))


TOO_MANY = op("bad", "remove", inventory_id=1, qty=6)


@pytest.mark.parametrize(
    ("bad", "later", "is_held"),
    [
        (TOO_MANY, DROP, True),
        (TOO_MANY, op("x", "merge", inventory_id=2, into=1), True),
        (TOO_MANY, op("x", "remove", inventory_id=2, qty=1), False),
        (TOO_MANY, op("x", "remove", item_template_id=POTION.id, qty=1), False),
        (TOO_MANY, op("x", "add", item_template_id=POTION.id, qty=1), False),
        (op("bad", "merge", inventory_id=3, into=1), DROP, True),
        (GROW, op("x", "split", inventory_id="op:grow", qty=1), True),
        (GROW, op("x", "remove", item_template_id="scale", qty=1), True),
        (GROW, op("x", "remove", item_template_id=POTION.id, qty=1), False),
        (
            op("bad", "remove", item_template_id=POTION.id, qty=99),
            op("x", "remove", item_template_id=POTION.id, qty=1),
            False,
        ),
        (op("bad", "burn", inventory_id=1), DROP, True),
        (op("bad", "burn", inventory_id="op:made"), DROP, False),
        (
            op("bad", "add", item_template_id="scale", qty="five"),
            op("x", "remove", item_template_id="scale", qty=1),
            True,
        ),
        ({"op_id": 7, "op": "burn", "inventory_id": 1}, DROP, True),
        (b'{"op_id": "bad", "op": "burn", "inventory_id": 1', DROP, False),
        (op("bad", "burn", inventory_id=True), DROP, False),
        (b"null", DROP, False),
    ],
)
@pytest.mark.parametrize("saves", [1, 2])
def test_only_those_that_need_it_wait(
    bad: Any, later: dict[str, Any], is_held: bool, saves: int
) -> None:
    found = stock()
    if saves == 1:
        found.save(bad, later)
    else:
        found.save(bad)
        found.save(later)
    culprit = next(iter(found.codes()))
    waiting = found.parked.get(later["op_id"])
    if is_held:
        assert waiting is not None
        assert (waiting.code, waiting.blocked_by) == ("blocked", culprit)
    else:
        assert waiting is None
        assert later["op_id"] in found.applied


def test_pieces_that_are_there_are_taken_whatever_is_parked() -> None:
    huge = 2**31 - 3
    found = inventory(row(1, HIDE, quantity=huge))
    found.save(
        op("more", "add", item_template_id=HIDE.id, qty=9),
        op("take", "remove", item_template_id=HIDE.id, qty=9),
    )
    assert found.codes() == {"more": "out_of_range"}
    assert found.pieces() == {HIDE.id: huge - 9}


@pytest.mark.parametrize("saves", [1, 3])
def test_a_row_is_held_by_whichever_of_its_names(saves: int) -> None:
    by_name = op("bad", "remove", inventory_id="op:new", qty=9)
    steps = [
        op("new", "split", inventory_id=2, qty=3),
        by_name,
        op("by_id", "unequip", inventory_id=FIRST_NEW_ID),
    ]
    early = inventory(row(2, POTION))
    for some in [steps] if saves == 1 else [[step] for step in steps]:
        early.save(*some)
    assert early.codes() == {"bad": "item_shortage", "by_id": "blocked"}

    late = inventory(row(2, POTION))
    late.save(op("new", "split", inventory_id=2, qty=3))
    late.save(op("bad", "remove", inventory_id=FIRST_NEW_ID, qty=9))
    late.save(op("by_name", "unequip", inventory_id="op:new"))
    assert late.codes() == {"bad": "item_shortage", "by_name": "blocked"}


def test_what_named_a_row_before_it_was_made_holds_it_once_it_is() -> None:
    found = inventory(row(2, POTION))
    found.save(
        op("early", "unequip", inventory_id="op:new"),
        op("new", "split", inventory_id=2, qty=3),
        op("by_id", "unequip", inventory_id=FIRST_NEW_ID),
    )
    assert found.codes() == {"early": "item_gone", "by_id": "blocked"}


def test_a_chain_waits_for_its_first_link_and_follows_its_replay() -> None:
    found = stock()
    found.save(
        GROW,
        op("part", "split", inventory_id="op:grow", qty=2),
        op("use", "remove", inventory_id="op:part", qty=1),
        op("free", "remove", inventory_id=1, qty=1),
    )
    assert found.codes() == {
        "grow": "unknown_item",
        "part": "blocked",
        "use": "blocked",
    }
    assert found.parked["use"].blocked_by == "part"

    learn(found)
    found.request("grow")
    plan = found.save()

    assert found.codes() == {}
    assert plan.counts == {"applied": 3, "retried": 3}
    assert found.pieces()["scale"] == 4


def test_a_replay_that_fails_again_keeps_the_newest_reason() -> None:
    found = stock()
    found.save(
        op("a", "remove", inventory_id=9, qty=1), op("b", "unequip", inventory_id=9)
    )
    found.rows[9] = row(9, POTION, quantity=1, character_id=102)
    found.request("a")
    found.save()
    assert found.codes() == {"a": "item_not_owned", "b": "blocked"}
    assert not found.parked["a"].is_requested


def test_a_replay_goes_before_the_list_and_what_it_frees_is_used_by_it() -> None:
    found = stock()
    found.save(op("a", "remove", inventory_id=9, qty=1))
    found.rows[9] = row(9, POTION, quantity=1)
    found.request("a")
    found.save(op("b", "unequip", inventory_id=9))
    assert found.codes() == {"b": "item_gone"}
    assert 9 not in found.rows


def test_of_those_that_one_held_up_the_first_may_hold_up_the_next() -> None:
    found = stock()
    found.save(
        TOO_MANY,
        op("b", "move", inventory_id=1, slot="belt_1"),
        op("c", "remove", inventory_id=1, qty=1),
    )
    assert {p.blocked_by for p in found.parked.values()} == {None, "bad"}
    found.rows[1].quantity = 7
    found.request("bad")
    found.save()
    assert found.codes() == {"b": "not_allowed", "c": "blocked"}
    assert found.parked["c"].blocked_by == "b"


def test_what_is_asked_for_out_of_order_still_waits() -> None:
    found = stock()
    found.save(TOO_MANY, DROP)
    found.request("drop")
    found.save()
    assert found.codes() == {"bad": "item_shortage", "drop": "blocked"}
    assert not found.parked["drop"].is_requested


def test_discarding_frees_the_way_but_what_waited_is_not_done_unasked() -> None:
    found = stock()
    found.save(TOO_MANY, DROP)
    found.discard("bad")

    found.save(op("x", "remove", inventory_id=1, qty=1))
    assert found.codes() == {"drop": "blocked", "x": "blocked"}
    assert found.parked["x"].blocked_by == "drop"

    found.request("drop")
    found.save()
    assert found.codes() == {}
    assert found.rows[1].quantity == 3


def test_what_was_parked_or_discarded_is_not_tried_when_delivered_again() -> None:
    found = stock()
    found.save(TOO_MANY, DROP, b"not json")
    found.rows[1].quantity = 99
    before = found.codes()

    plan = found.save(TOO_MANY, DROP, b"not json")
    assert plan.counts == {"seen": 3}
    found.discard("bad")
    assert found.save(TOO_MANY).counts == {"seen": 1}

    assert found.rows[1].quantity == 99
    assert found.codes() == {k: v for k, v in before.items() if k != "bad"}


def test_the_same_operation_in_another_notation_is_the_same() -> None:
    found = stock()
    found.save(DROP)
    spaced = json.dumps(dict(reversed(DROP.items())), indent=2).encode()
    assert found.save(spaced).counts == {"seen": 1}
    assert found.rows[1].quantity == 4


@pytest.mark.parametrize("first", [DROP, TOO_MANY | {"op_id": "drop"}])
def test_another_operation_of_a_known_name_is_parked_beside_it(
    first: dict[str, Any],
) -> None:
    found = stock()
    found.save(first)
    before = (found.rows[1].quantity, dict(found.parked))
    other = op("drop", "remove", inventory_id=2, qty=2)

    found.save(other)
    found.save(other)

    ((key, again),) = set(found.codes().items()) - {("drop", "item_shortage")}
    assert again == "op_id_reused"
    assert key.startswith("drop#")
    assert found.parked[key].operation == other
    assert (found.rows[1].quantity, found.rows[2].quantity) == (before[0], 5)
    assert found.parked.items() >= before[1].items()


def test_a_reused_name_comes_free_when_its_first_owner_is_discarded() -> None:
    found = stock()
    found.save(TOO_MANY, op("bad", "remove", inventory_id=2, qty=2))
    (_, second) = found.codes()
    found.request(second)
    found.save()
    assert found.codes()[second] == "op_id_reused"

    found.discard("bad")
    found.request(second)
    found.save()

    assert found.codes() == {}
    assert found.rows[2].quantity == 3
    assert found.save(TOO_MANY).counts == {"seen": 1}


def test_long_names_leave_room_for_the_second_key() -> None:
    name = "x" * 100
    found = stock()
    found.save(DROP | {"op_id": name}, TOO_MANY | {"op_id": name})
    (key,) = found.codes()
    assert len(key) == 100


@pytest.mark.parametrize(
    "element",
    [
        b"",
        b"\xff\x00",
        b"[]",
        b'"text"',
        b'{"op_id": "\\u0000"}',
        b'{"op_id": 5, "op": "unequip", "inventory_id": 1}',
        b'{"op": "unequip", "inventory_id": 1}',
        b'{"op_id": "' + b"x" * 101 + b'"}',
        b"[" * 300,
        b" " * (64 * 1024 + 1),
    ],
)
def test_what_has_no_usable_name_is_kept_under_its_bytes(element: bytes) -> None:
    found = stock()
    assert found.save(element, element).counts == {"parked": 1, "seen": 1}
    ((key, code),) = found.codes().items()
    assert key.startswith("raw:")
    assert len(key) == 20
    assert code == "invalid_operation"
    json.dumps(found.parked[key].operation)
    found.request(key)
    found.save()
    assert found.codes() == {key: "invalid_operation"}


@pytest.mark.parametrize("value", [b"1.5", b"1e400", b"NaN", b'"\\u0000"', b"1" * 30])
def test_what_the_table_would_alter_or_refuse_is_kept_as_text(value: bytes) -> None:
    element = b'{"op_id": "a", "op": "add", "item_template_id": "p", "qty": %b}' % value
    found = stock()
    found.save(element)
    assert found.parked["a"].operation == element.decode()
    assert found.save(element).counts == {"seen": 1}
    found.request("a")
    found.save()
    assert found.codes() == {"a": "invalid_operation"}
    assert "qty" in found.parked["a"].detail
