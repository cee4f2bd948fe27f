"""What is an inventory operation, and how an engine learns that something is none."""

from __future__ import annotations

from typing import Any

import pytest

from persistence.contract.changes import MAX_BIGINT
from persistence.contract.errors import OperationInvalid
from persistence.contract.operations import named_rows, parse_operation, reservable_rows
from tests.support.documents import op
from tests.unit.test_engine_side_imports import import_without

VALID = [
    op("1", "add", item_template_id="hp_pot_small", qty=3),
    op("1", "add", item_template_id="sword_epic", qty=1, durability=70),
    op("1", "remove", inventory_id=55, qty=2),
    op("1", "remove", inventory_id="op:0", qty=2),
    op("1", "remove", item_template_id="hp_pot_small", qty=1_000_000),
    op("1", "equip", inventory_id=MAX_BIGINT, slot="belt_1"),
    op("1", "unequip", inventory_id=1),
    op("1", "move", inventory_id="op:op:0", slot="с" * 40),
    op("1", "split", inventory_id=1, qty=1),
    op("1", "merge", inventory_id=1, into="op:" + "x" * 100),
    op("x" * 100, "set_durability", inventory_id=1, durability=0),
]

NAME = "expected an inventory id or the text op:<op_id>"


@pytest.mark.parametrize("document", VALID, ids=lambda d: d["op"])
def test_an_operation_is_read_as_it_was_written(document: dict[str, Any]) -> None:
    operation = parse_operation(101, document)
    assert operation.model_dump(exclude_unset=True) == document


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (op("", "unequip", inventory_id=1), "op_id"),
        (op("x" * 101, "unequip", inventory_id=1), "op_id"),
        (op("\x00", "unequip", inventory_id=1), "op_id"),
        ({"op": "unequip", "inventory_id": 1, "op_id": 7}, "op_id"),
        ({"op": "unequip", "inventory_id": 1}, "op_id"),
        (op("1", "unequip"), "inventory_id"),
        (op("1", "unequip", inventory_id=0), "inventory_id"),
        (op("1", "unequip", inventory_id=True), "inventory_id"),
        (op("1", "unequip", inventory_id=1.0), "inventory_id"),
        (op("1", "unequip", inventory_id="55"), "inventory_id"),
        (op("1", "unequip", inventory_id="op:"), "inventory_id"),
        (op("1", "unequip", inventory_id="op:\ud800"), "inventory_id"),
        (op("1", "unequip", inventory_id=MAX_BIGINT + 1), "inventory_id"),
        (op("1", "unequip", inventory_id=1, slot="belt_1"), "slot"),
        (op("1", "equip", inventory_id=1, slot=""), "slot"),
        (op("1", "equip", inventory_id=1, slot="x" * 41), "slot"),
        (op("1", "add", item_template_id="potion", qty=0), "qty"),
        (op("1", "add", item_template_id="potion", qty="3"), "qty"),
        (op("1", "add", item_template_id="potion", qty=1_000_001), "qty"),
        (op("1", "add", item_template_id="", qty=1), "item_template_id"),
        (op("1", "add", item_template_id="p", qty=1, durability=-1), "durability"),
        (op("1", "remove", qty=1), ""),
        (op("1", "remove", inventory_id=1, item_template_id="p", qty=1), ""),
        (op("1", "merge", inventory_id=1), "into"),
        (op("1", "set_durability", inventory_id=1), "durability"),
        (op("1", "steal", inventory_id=1), ""),
        ({"op_id": "1"}, ""),
        ([], ""),
        (None, ""),
    ],
)
def test_what_breaks_the_contract_is_refused_where_it_breaks(
    document: Any, path: str
) -> None:
    with pytest.raises(OperationInvalid) as caught:
        parse_operation(101, document)
    assert [fault["path"] for fault in caught.value.errors] == [path]
    assert caught.value.char_id == 101


def test_every_fault_is_told_at_once_and_in_plain_words() -> None:
    document = op("", "unequip", inventory_id="55", qty=1)
    with pytest.raises(OperationInvalid) as caught:
        parse_operation(101, document)
    faults = {fault["path"]: fault["message"] for fault in caught.value.errors}
    assert faults.keys() == {"op_id", "inventory_id", "qty"}
    assert faults["inventory_id"] == NAME
    assert "character 101" in str(caught.value)


def test_an_operation_tells_which_rows_it_names_and_which_a_fight_may_hold() -> None:
    merge = parse_operation(101, op("1", "merge", inventory_id=1, into="op:0"))
    assert named_rows(merge) == [1, "op:0"]
    assert reservable_rows(merge) == [1]
    wear = op("1", "set_durability", inventory_id=1, durability=5)
    assert named_rows(parse_operation(101, wear)) == [1]
    assert reservable_rows(parse_operation(101, wear)) == []
    add = parse_operation(101, op("1", "add", item_template_id="p", qty=1))
    assert named_rows(add) == reservable_rows(add) == []
    remove = parse_operation(101, op("1", "remove", item_template_id="p", qty=1))
    assert named_rows(remove) == reservable_rows(remove) == []


def test_the_operations_import_without_django() -> None:
    blocked = ("django", "celery", "kombu", "psycopg", "redis")
    done = import_without("persistence.contract.operations", *blocked)
    assert (done.returncode, done.stderr) == (0, "")
