"""Undoing a combat whose gifts are gone: refused or recorded, and previewed."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.contrib.auth.models import User

from combat_history.actions.undo import (
    UndoRefused,
    preview_undo,
)
from combat_history.models import (
    AuditEntry,
    Character,
    InventoryItem,
    SettlementDiscrepancy,
)
from persistence.tasks import settle_combat
from tests.conftest import Settle
from tests.support.documents import PELT, POTION, SAMPLE_END, SWORD, hero_fight
from tests.support.ids import new_session_id
from tests.support.lookups import id_of
from tests.support.reconciling import found, loot, used
from tests.support.undoing import (
    entries,
    everything,
    permitted,
    undo,
)


@pytest.fixture
def admin(db: None) -> User:
    return permitted()


@pytest.fixture
def spent(settle_here: Settle) -> UUID:
    """A fight for 100 gold and two pelts; 70 of the gold and a pelt are gone."""
    document = hero_fight(gold_gained=100, items_gained=[loot(PELT, 2)])
    settle_here(
        document,
        hero_fight(end_timestamp=SAMPLE_END + 1, gold_gained=-70),
    )
    pelts = InventoryItem.objects.get(item_template_id=PELT)
    settle_combat(
        hero_fight(end_timestamp=SAMPLE_END + 2, items_consumed=[used(pelts.pk, 1)])
    )
    return id_of(document)


SHORT = [("undo_gold_short", 100, 30), ("undo_item_short", 2, 1)]


def test_a_shortage_is_refused_with_its_list(spent: UUID, admin: User) -> None:
    before = everything()

    with pytest.raises(UndoRefused) as refusal:
        undo(spent, admin)

    listed = [(s.code, s.wanted, s.applied) for s in refusal.value.shortages]
    assert listed == SHORT
    assert everything() == before
    (entry,) = entries(spent)
    assert entry[0] == "failed"
    assert "undo_gold_short of character 101: balance 30 of 100" in entry[1]
    assert "undo_item_short of character 101: wolf_pelt 1 of 2" in entry[1]


def test_a_shortage_is_recorded_where_that_is_chosen(spent: UUID, admin: User) -> None:
    undo(spent, admin, "record")

    lines = SettlementDiscrepancy.objects.order_by("pk")
    assert list(lines.values_list("code", "wanted", "applied")) == SHORT
    assert {(line.session_id, line.revision) for line in lines} == {(spent, 1)}
    assert Character.objects.get().gold == 0
    assert not InventoryItem.objects.filter(item_template_id=PELT).exists()
    assert found() == {}
    assert AuditEntry.objects.get().detail.count("short") == 2


def test_xp_and_wear_that_cannot_be_undone_are_recorded(
    settle_here: Settle, admin: User
) -> None:
    document = hero_fight(xp_gained=5, durability_loss={f"inventory:{SWORD}": 4})
    settle_here(document)
    # A game that takes XP, and sells a sword, outside of every record.
    Character.objects.update(xp=2)
    InventoryItem.objects.filter(pk=SWORD).delete()

    undo(id_of(document), admin, "record")

    lines = SettlementDiscrepancy.objects.order_by("pk")
    assert list(lines.values_list("code", "wanted", "applied")) == [
        ("undo_xp_short", 5, 2),
        ("undo_wear_short", 4, 0),
    ]
    kinds = {kind for kind in found() if kind.startswith("counter")}
    assert kinds == set()


def test_what_a_live_fight_has_reserved_is_not_taken(
    settle_here: Settle, admin: User
) -> None:
    document = hero_fight(items_gained=[loot(PELT, 2)])
    settle_here(document)
    InventoryItem.objects.filter(item_template_id=PELT).update(
        reserved_session_id=new_session_id()
    )

    with pytest.raises(UndoRefused):
        undo(id_of(document), admin)

    assert InventoryItem.objects.get(item_template_id=PELT).quantity == 2


def test_the_preview_is_what_happens(spent: UUID, admin: User) -> None:
    before = everything()
    refused = preview_undo(spent, "refuse")
    previewed = preview_undo(spent, "record")
    assert everything() == before
    assert not AuditEntry.objects.exists()
    assert (refused.is_refused, previewed.is_refused) == (True, False)

    done = undo(spent, admin, "record")

    assert previewed.undo == refused.undo == done.undo


def test_the_preview_names_new_rows_by_negative_ids(
    settle_here: Settle, admin: User
) -> None:
    document = hero_fight(items_consumed=[used(POTION, 2)])
    settle_here(document)
    InventoryItem.objects.filter(pk=POTION).delete()

    plan = preview_undo(id_of(document), "refuse").undo

    assert plan is not None
    assert [row.id for row in plan.inserted] == [-1]
    done = undo(id_of(document), admin).undo
    assert done is not None
    assert InventoryItem.objects.get(pk=done.inserted[0].id).quantity == 2
