"""Operations from the Redis list into the tables: once, in order, and provably."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from combat_history.models import (
    AppliedOperation,
    Character,
    InventoryItem,
    LedgerLine,
    ParkedOperation,
)
from persistence.contract import redis_keys
from persistence.contract.document import canonical_json, digest
from persistence.savers.inventory_saver import BATCH
from persistence.tasks import settle_combat
from persistence.worker import inbox
from tests.support.documents import (
    HERO,
    PELT,
    POTION,
    SWORD,
    make_document,
    make_participant,
    op,
)
from tests.support.factories import add_character, add_item, add_template
from tests.support.operations import (
    parked,
    pieces,
    queue,
    queued,
    rows,
    save,
    save_unconfirmed,
    tables,
    text,
)
from tests.support.reconciling import found
from tests.support.trace import statements_in, traced

pytestmark = pytest.mark.usefixtures("world")

FIGHT = UUID("0192f3a4-5b6c-7d8e-9f01-0000000000aa")

GROW = op("grow", "add", item_template_id=PELT, qty=3)
DRINK = op("drink", "remove", inventory_id=POTION, qty=2)


def test_every_operation_ends_in_the_tables_and_reconciles() -> None:
    queue(
        op("pelts", "add", item_template_id=PELT, qty=3),
        op("more", "add", item_template_id=PELT, qty=2),
        op("sword", "add", item_template_id="sword_epic", qty=1, durability=60),
        op("off", "unequip", inventory_id=SWORD),
        op("on", "equip", inventory_id="op:sword", slot="main_hand"),
        op("belt", "move", inventory_id=POTION, slot="belt_2"),
        op("part", "split", inventory_id=POTION, qty=2),
        op("mend", "set_durability", inventory_id=SWORD, durability=77),
        op("gone", "remove", item_template_id=PELT, qty=5),
        op("sip", "remove", inventory_id="op:part", qty=1),
        op("back", "merge", inventory_id="op:part", into=POTION),
    )
    saved = save()

    assert parked() == {}
    assert queued() == []
    assert saved.counts == {"applied": 11}
    assert not saved.again
    (new,) = rows().keys() - {POTION, SWORD}
    assert rows() == {
        POTION: ("hp_pot_small", 4, "belt_2"),
        SWORD: ("sword_epic", 1, None),
        new: ("sword_epic", 1, "main_hand"),
    }
    made = InventoryItem.objects.get(pk=new)
    assert made.origin_operation == f"inventory:{HERO}:sword"
    assert (made.opening_quantity, made.is_equipped) == (0, True)
    assert (made.durability, made.max_durability) == (60, 100)
    assert InventoryItem.objects.get(pk=SWORD).durability == 77
    assert found() == {}


def test_one_line_tells_what_a_save_moved_and_the_balances_as_they_are() -> None:
    Character.objects.filter(pk=HERO).update(xp=0)
    queue(DRINK, op("off", "unequip", inventory_id=SWORD))
    save()
    line = LedgerLine.objects.get(kind="operation")
    assert (line.session_id, line.character_id) == (None, HERO)
    assert (line.xp_delta, line.gold_delta, line.xp_after, line.gold_after) == (0,) * 4
    assert line.items == [
        {
            "inventory_id": POTION,
            "item_template_id": "hp_pot_small",
            "kind": "removed",
            "delta": -2,
            "after": 3,
            "op_id": "drink",
        },
        {
            "inventory_id": SWORD,
            "item_template_id": "sword_epic",
            "kind": "unequipped",
            "delta": 0,
            "after": 1,
            "op_id": "off",
            "slot": "main_hand",
        },
    ]


def test_a_save_that_moves_nothing_writes_no_line() -> None:
    queue(op("a", "remove", inventory_id=9, qty=1), op("b", "unequip", inventory_id=9))
    save()
    queue(op("c", "equip", inventory_id=SWORD, slot="main_hand"))
    save()
    assert not LedgerLine.objects.filter(kind="operation").exists()
    assert parked() == {"a": "item_gone", "b": "blocked"}
    assert ParkedOperation.objects.get(op_id="b").blocked_by == "a"


def test_an_emptied_row_is_deleted_with_its_image_in_the_ledger() -> None:
    queue(op("all", "remove", inventory_id=POTION, qty=5))
    save()
    assert POTION not in rows()
    (movement,) = LedgerLine.objects.get(kind="operation").items
    assert movement["image"]["opening_quantity"] == 5
    assert movement["image"]["slot"] == "belt_1"
    assert found() == {}


def test_the_key_remembers_what_was_applied_and_what_it_made() -> None:
    queue(GROW, DRINK)
    save()
    keys = AppliedOperation.objects.in_bulk()
    grown = keys[f"inventory:{HERO}:grow"]
    assert (grown.scope, grown.sha256) == ("inventory", digest(canonical_json(GROW)))
    assert rows()[grown.inventory_id or 0] == (PELT, 3, None)
    assert keys[f"inventory:{HERO}:drink"].inventory_id is None


def test_delivered_again_after_a_trim_that_was_lost() -> None:
    queue(GROW, DRINK, op("bad", "unequip", inventory_id=9), b"no operation")
    save_unconfirmed()
    before = tables()
    assert len(queued()) == 4

    again = save()

    assert again.counts == {"seen": 4}
    assert (tables(), queued()) == (before, [])


def test_the_same_name_for_another_operation_is_parked_beside() -> None:
    queue(GROW)
    save()
    queue({**GROW, "qty": 9})
    save()
    ((key, code),) = parked().items()
    assert code == "op_id_reused"
    assert key == f"grow#{digest(canonical_json({**GROW, 'qty': 9}))[:12]}"
    assert pieces(PELT) == 3


def test_two_players_may_use_the_same_names() -> None:
    add_character(102)
    queue(GROW)
    queue(GROW, char_id=102)
    save()
    save(102)
    assert pieces(PELT) == pieces(PELT, 102) == 3


def test_anothers_row_is_never_touched() -> None:
    add_character(102)
    add_item(102, PELT, 70, quantity=4)
    queue(
        op("steal", "remove", inventory_id=70, qty=1),
        op("join", "merge", inventory_id=POTION, into=70),
        op("wear", "equip", inventory_id=70, slot="cloak"),
    )
    save()
    assert parked()["steal"] == "item_not_owned"
    assert rows(102) == {70: (PELT, 4, None)}


def test_what_a_fight_holds_stays_until_it_is_released() -> None:
    InventoryItem.objects.filter(pk=POTION).update(reserved_session_id=FIGHT)
    queue(DRINK, GROW)
    save()
    assert parked() == {"drink": "item_reserved"}
    InventoryItem.objects.filter(pk=POTION).update(reserved_session_id=None)
    ParkedOperation.objects.update(retry_requested_at="2026-01-01T00:00Z")

    assert save().counts == {"applied": 1, "retried": 1}

    assert parked() == {}
    assert rows()[POTION][1] == 3
    assert ParkedOperation.objects.get().resolution == "applied"


def test_what_was_discarded_is_not_done_when_it_is_delivered_again() -> None:
    bad = op("bad", "remove", inventory_id=POTION, qty=6)
    queue(bad)
    save_unconfirmed()
    ParkedOperation.objects.update(
        resolved_at="2026-01-01T00:00Z", resolution="discarded"
    )
    InventoryItem.objects.filter(pk=POTION).update(quantity=60)
    assert save().counts == {"seen": 1}
    assert (rows()[POTION][1], parked()) == (60, {})


def test_without_a_character_all_of_it_waits() -> None:
    queue(GROW, op("b", "remove", inventory_id="op:grow", qty=1), char_id=999)
    save(999)
    save(999)
    assert set(parked(999).values()) == {"unknown_character"}
    assert queued(999) == []

    add_character(999)
    ParkedOperation.objects.update(retry_requested_at="2026-01-01T00:00Z")
    save(999)
    assert parked(999) == {}
    assert pieces(PELT, 999) == 2


@pytest.mark.parametrize(
    "element",
    [
        b"",
        b"\x00\xff",
        b'{"op_id": "a", "op": "burn"}',
        b'{"op_id": "a", "op": "add", "item_template_id": "\\u0000", "qty": 1}',
        b'{"op_id": "\\ud800", "op": "unequip", "inventory_id": 1}',
        b'{"op_id": "a", "qty": 1e999}',
        b'{"op_id": "a", "qty": ' + b"9" * 40 + b"}",
    ],
)
def test_what_is_no_operation_is_kept_and_holds_nothing_up(element: bytes) -> None:
    queue(element, DRINK)
    save()
    queue(element)
    save()
    assert list(parked().values()) == ["invalid_operation"]
    assert rows()[POTION][1] == 3
    row = ParkedOperation.objects.get()
    assert row.detail
    assert row.times_seen == 1
    kept = row.operation
    if isinstance(kept, dict):
        assert kept == json.loads(element)


def test_a_long_list_is_taken_in_batches() -> None:
    steps = [op(f"s{n}", "add", item_template_id=PELT, qty=1) for n in range(BATCH + 1)]
    queue(*steps)
    first = save()
    assert first.again
    assert (pieces(PELT), len(queued())) == (BATCH, 1)
    assert not save().again
    assert (pieces(PELT), queued()) == (BATCH + 1, [])


def everything(batch: str, times: int) -> list[dict[str, Any]]:
    """Rows inserted, updated, removed; keys; parked ones; so many times over."""
    steps: list[dict[str, Any]] = []
    for n in range(times):
        name = f"{batch}{n}"
        steps += [
            op(f"{name}+", "add", item_template_id="sword_epic", qty=2),
            op(f"{name}-", "remove", inventory_id=POTION, qty=1),
            op(f"{name}!", "unequip", inventory_id=9),
        ]
    return [*steps, op(f"{batch}x", "remove", inventory_id=8 + len(batch), qty=1)]


def test_statements_do_not_grow_with_the_operations(tmp_path: Path) -> None:
    InventoryItem.objects.filter(pk=POTION).update(quantity=5000)

    def statements(batch: str, times: int) -> Counter[str]:
        add_item(HERO, PELT, 8 + len(batch))
        queue(*everything(batch, times))
        with traced(tmp_path / "trace"):
            save()
        return statements_in(tmp_path / "trace")

    # The first batches of a connection also prepare: not what is counted here.
    for length in range(2, 10):
        statements("w" * length, 1)
    few, many = statements("a" * 10, 1), statements("b" * 11, 100)
    assert sum(few.values()) > 8, "the trace shows the save"
    assert few == many


def test_operations_and_fights_of_one_player_leave_a_clean_ledger() -> None:
    add_template("axe", stackable=False, max_durability=10)
    for number in range(3):
        queue(
            op(f"{number}-axe", "add", item_template_id="axe", qty=1),
            op(f"{number}-pelt", "add", item_template_id=PELT, qty=2),
            op(f"{number}-use", "remove", item_template_id=PELT, qty=1),
        )
        save()
        part = make_participant(
            gold_gained=5,
            items_consumed=[{"inventory_id": POTION, "qty": 1}],
            items_gained=[{"item_template_id": PELT, "qty": 1}],
        )
        settle_combat(make_document({str(HERO): part}))
    assert (pieces(PELT), pieces("axe"), pieces("hp_pot_small")) == (6, 3, 2)
    assert found() == {}


class TestTrim:
    """The list loses what was handled and nothing else, whenever it is told."""

    def test_what_came_meanwhile_stays(self) -> None:
        queue(GROW)
        saved = save_unconfirmed()
        queue(DRINK)
        saved.confirm()
        assert queued() == [text(DRINK)]

    def test_twice_takes_nothing_more(self) -> None:
        queue(GROW)
        saved = save_unconfirmed()
        saved.confirm()
        queue(DRINK)
        saved.confirm()
        assert queued() == [text(DRINK)]

    def test_late_and_out_of_order(self) -> None:
        queue(GROW)
        early = save_unconfirmed()
        queue(DRINK)
        late = save_unconfirmed()
        queue(op("last", "unequip", inventory_id=SWORD))
        late.confirm()
        early.confirm()
        assert len(queued()) == 1
        assert save().counts == {"applied": 1}

    def test_in_order_both_are_taken(self) -> None:
        queue(GROW)
        early = save_unconfirmed()
        queue(DRINK)
        late = save_unconfirmed()
        early.confirm()
        late.confirm()
        assert queued() == []

    def test_a_list_that_redis_forgot_is_no_trouble(self) -> None:
        queue(GROW)
        saved = save_unconfirmed()
        inbox.client().delete(redis_keys.inventory_delta(HERO))
        saved.confirm()
        assert queued() == []
