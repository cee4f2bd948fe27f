"""An operation of the game is undone by counter-lines, on both sides."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied

from combat_history.actions.operate import operate
from combat_history.actions.undo import SkipReason, UndoRefused, undo_operation
from combat_history.models import (
    AuditEntry,
    Character,
    LedgerLine,
    Operation,
    SettlementDiscrepancy,
)
from combat_history.reconcile import reconcile
from persistence.contract.operate import Operation as Asked
from tests.support.documents import HERO, PELT, POTION, SWORD
from tests.support.factories import add_character, add_item
from tests.support.operating import operation
from tests.support.undoing import REASON, permitted, world_now

MERCHANT, PELTS = 102, 900

TRADE = operation(
    "trade-1",
    "Trade",
    c101={
        "xp_gained": 5,
        "gold_gained": 30,
        "items_consumed": [{"inventory_id": POTION, "qty": 5}],
        "durability_loss": {f"inventory:{SWORD}": 7},
    },
    c102={
        "gold_gained": -30,
        "items_gained": [{"item_template_id": "hp_pot_small", "qty": 5}],
        "items_consumed": [{"inventory_id": PELTS, "qty": 1}],
    },
)


@pytest.fixture
def traded(world: None) -> None:
    add_character(MERCHANT, gold=100)
    add_item(MERCHANT, PELT, PELTS, quantity=10)
    operate(Asked.read(TRADE), "engine")


@pytest.fixture
def boss(world: None) -> User:
    return permitted()


def test_undone_it_is_as_before_and_stays_in_the_books(world: None, boss: User) -> None:
    add_character(MERCHANT, gold=100)
    add_item(MERCHANT, PELT, PELTS, quantity=10)
    before = world_now()
    told = operate(Asked.read(TRADE), "engine")

    done = undo_operation("trade-1", actor=boss, reason=REASON, on_shortage="refuse")

    assert done.undo is not None
    assert done.announced
    assert world_now() == before
    assert Operation.objects.get().undone_at is not None
    counter = LedgerLine.objects.filter(session_id=told.id, kind="compensation")
    assert list(counter.order_by("character_id").values_list("gold_delta")) == [
        (-30,),
        (30,),
    ]
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.target_type, entry.target_id, entry.outcome) == (
        "compensate",
        "operation",
        "trade-1",
        "done",
    )
    # It was applied, and it stays so under its name.
    assert operate(Asked.read(TRADE), "engine").duplicate
    assert reconcile().findings == []


def test_it_is_undone_once(traded: None, boss: User) -> None:
    undo_operation("trade-1", actor=boss, reason=REASON, on_shortage="refuse")
    before = world_now()

    again = undo_operation("trade-1", actor=boss, reason=REASON, on_shortage="refuse")
    none = undo_operation("nothing", actor=boss, reason=REASON, on_shortage="refuse")

    assert (again.skipped, none.skipped) == (SkipReason.UNDONE, SkipReason.UNKNOWN)
    assert world_now() == before


def test_what_is_spent_refuses_it_or_is_recorded(traded: None, boss: User) -> None:
    spend = operation("shop", "Shop", c101={"gold_gained": -20})
    operate(Asked.read(spend), "engine")
    before = world_now()

    with pytest.raises(UndoRefused, match="trade-1"):
        undo_operation("trade-1", actor=boss, reason=REASON, on_shortage="refuse")
    assert world_now() == before

    undo_operation("trade-1", actor=boss, reason=REASON, on_shortage="record")
    assert Character.objects.get(pk=HERO).gold == 0
    (short,) = SettlementDiscrepancy.objects.all()
    assert (short.code, short.wanted, short.applied) == ("undo_gold_short", 30, 10)
    assert reconcile().findings == []


def test_who_may_not_is_denied_and_written_down(traded: None) -> None:
    stranger = User.objects.create_user("mallory", is_staff=True)

    with pytest.raises(PermissionDenied):
        undo_operation("trade-1", actor=stranger, reason=REASON, on_shortage="refuse")

    assert AuditEntry.objects.get().outcome == "denied"
    assert Operation.objects.get().undone_at is None
