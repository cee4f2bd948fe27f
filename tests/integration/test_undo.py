"""Undoing a settled combat: everything is as it was, once, and written down."""

from __future__ import annotations

import random

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied

from combat_history.actions.undo import (
    SkipReason,
    preview_undo,
    undo_combat,
)
from combat_history.models import (
    AuditEntry,
    Character,
    CombatHistory,
    InventoryItem,
    ItemTemplate,
    LedgerLine,
    SettlementDiscrepancy,
)
from persistence.contract.document import Document
from persistence.contract.errors import DomainFailure
from tests.conftest import Settle
from tests.support.documents import (
    HERO,
    PELT,
    POTION,
    SAMPLE_END,
    SWORD,
    hero_fight,
    make_document,
    make_participant,
    sample_document,
)
from tests.support.factories import add_character, add_item, add_template
from tests.support.ids import new_session_id
from tests.support.lookups import id_of
from tests.support.reconciling import found, loot, used
from tests.support.undoing import (
    REASON,
    entries,
    everything,
    lose_character,
    permitted,
    undo,
    world_now,
)


@pytest.fixture
def admin(db: None) -> User:
    return permitted()


def test_the_sample_is_undone(settle_here: Settle, admin: User) -> None:
    before = world_now()
    document = sample_document()
    settle_here(document)
    settled = LedgerLine.objects.get(session_id=id_of(document))

    done = undo(id_of(document), admin)

    assert (done.skipped, done.announced) == (None, True)
    assert world_now() == before
    combat = CombatHistory.objects.get()
    assert combat.settlement_status == "processed"
    assert combat.compensated_at is not None
    counter = LedgerLine.objects.get(kind="compensation")
    assert counter.pk > settled.pk
    assert (counter.session_id, counter.revision) == (combat.pk, 1)
    assert (counter.xp_delta, counter.gold_delta) == (-1250, -100)
    assert (counter.xp_after, counter.gold_after) == (0, 0)
    assert [(m["kind"], m["delta"]) for m in counter.items] == [
        ("taken_back", -1),
        ("repaired", 0),
        ("returned", 2),
    ]
    assert counter.items[0]["image"]["item_template_id"] == PELT
    assert not SettlementDiscrepancy.objects.exists()
    assert found() == {}


def test_vitals_are_left_alone(settle_here: Settle, admin: User) -> None:
    document = sample_document()
    settle_here(document)
    columns = ("hp", "energy", "location", "vitals_at", "vitals_session_id")
    vitals = Character.objects.values_list(*columns).get()

    undo(id_of(document), admin)

    assert Character.objects.values_list(*columns).get() == vitals


def test_a_row_that_was_used_up_returns_under_its_id(
    settle_here: Settle, admin: User
) -> None:
    before = world_now()
    document = hero_fight(
        items_consumed=[used(POTION, 5)], durability_loss={f"inventory:{SWORD}": 130}
    )
    settle_here(document)
    assert not InventoryItem.objects.filter(pk=POTION).exists()

    undo(id_of(document), admin)

    assert world_now() == before
    row = InventoryItem.objects.get(pk=POTION)
    assert row.origin_operation == f"compensation:{id_of(document)}"
    assert found() == {}


def test_loot_of_a_fight_that_a_later_one_used_up_comes_back_in_between(
    settle_here: Settle, admin: User
) -> None:
    """The row that the first fight made never met the table of the second."""
    before = world_now()
    gains = hero_fight(items_gained=[loot(PELT, 3)])
    settle_here(gains)
    (pelts,) = InventoryItem.objects.filter(item_template_id=PELT)
    uses = hero_fight(end_timestamp=SAMPLE_END + 1, items_consumed=[used(pelts.pk, 3)])
    settle_here(uses)

    undo(id_of(uses), admin)
    again = InventoryItem.objects.get(pk=pelts.pk)
    assert (again.quantity, again.origin_session_id) == (3, id_of(gains))
    undo(id_of(gains), admin)

    assert world_now() == before
    assert found() == {}


def test_a_second_time_is_skipped_and_changes_nothing(
    settle_here: Settle, admin: User
) -> None:
    document = sample_document()
    settle_here(document)
    undo(id_of(document), admin)
    after = everything()

    again = undo(id_of(document), admin)

    assert (again.undo, again.skipped) == (None, SkipReason.UNDONE)
    assert everything() == after
    assert entries(id_of(document)) == [("done", ""), ("skipped", "compensated")]


def test_only_processed_combats_are_undone(settle_here: Settle, admin: User) -> None:
    failed = hero_fight(items_gained=[loot("unheard_of")])
    pending, voided, unknown = (new_session_id() for _ in range(3))
    settle_here(failed)
    for id_, status in ((pending, "pending"), (voided, "voided")):
        CombatHistory.objects.create(
            session_id=id_,
            participant_ids=[HERO],
            result_payload={},
            settlement_status=status,
        )
    before = everything()

    for id_, why in (
        (id_of(failed), SkipReason.FAILED),
        (pending, SkipReason.PENDING),
        (voided, SkipReason.VOIDED),
        (unknown, SkipReason.UNKNOWN),
    ):
        assert preview_undo(id_, "refuse").skipped is why
        assert undo(id_, admin).skipped is why
        assert entries(id_) == [("skipped", str(why))]
    assert everything() == before


def test_without_the_permission_it_is_denied_and_audited(
    settle_here: Settle, django_user_model: type[User]
) -> None:
    document = sample_document()
    settle_here(document)
    before = everything()
    stranger = django_user_model.objects.create_user("stranger", is_staff=True)

    with pytest.raises(PermissionDenied):
        undo(id_of(document), stranger)

    assert everything() == before
    (entry,) = AuditEntry.objects.all()
    assert (entry.outcome, entry.actor_name) == ("denied", "stranger")
    assert (entry.verb, entry.target_type) == ("compensate", "combat")
    assert (entry.target_id, entry.reason) == (document["session_id"], REASON)


@pytest.mark.parametrize("reason", ["", "too short", " " * 20, "x" * 1001])
def test_it_needs_a_reason(settle_here: Settle, admin: User, reason: str) -> None:
    document = sample_document()
    settle_here(document)

    with pytest.raises(ValueError, match="10 to 1000"):
        undo_combat(id_of(document), actor=admin, reason=reason, on_shortage="refuse")
    assert CombatHistory.objects.get().compensated_at is None


def test_the_audit_tells_what_each_player_had(settle_here: Settle, admin: User) -> None:
    document = hero_fight(gold_gained=7, items_consumed=[used(POTION, 5)])
    settle_here(document)

    undo(id_of(document), admin)

    (entry,) = AuditEntry.objects.all()
    potions = {"item_template_id": "hp_pot_small", "quantity": 5, "durability": None}
    hero = str(HERO)
    assert entry.before == {hero: {"xp": 0, "gold": 7, "items": {str(POTION): None}}}
    assert entry.after == {hero: {"xp": 0, "gold": 0, "items": {str(POTION): potions}}}


def test_a_player_who_is_no_more_is_a_failure_that_changes_nothing(
    settle_here: Settle, admin: User
) -> None:
    add_character(102)
    document = make_document({"102": make_participant(gold_gained=5)})
    settle_here(document)
    lose_character(102)

    with pytest.raises(DomainFailure, match="no such character: 102"):
        undo(id_of(document), admin)

    assert CombatHistory.objects.get().compensated_at is None
    assert entries(id_of(document))[0][0] == "failed"


def test_an_item_that_left_the_catalogue_is_named_and_nothing_is_changed(
    settle_here: Settle, admin: User
) -> None:
    document = hero_fight(items_consumed=[{"inventory_id": POTION, "qty": 5}])
    settle_here(document)
    ItemTemplate.objects.filter(pk="hp_pot_small").delete()

    with pytest.raises(DomainFailure, match="no such item template: hp_pot_small"):
        undo(id_of(document), admin)

    assert CombatHistory.objects.get().compensated_at is None
    add_template("hp_pot_small")
    undo(id_of(document), admin)
    assert InventoryItem.objects.get(pk=POTION).quantity == 5


def test_every_combat_of_a_batch_undone_leaves_the_opening_balances(
    settle_here: Settle, admin: User
) -> None:
    documents = evening(random.Random(20250101))
    before = world_now()
    settle_here(*documents)
    assert SettlementDiscrepancy.objects.exists()
    order = LedgerLine.objects.filter(kind="settlement").order_by("-pk")
    session_ids = list(dict.fromkeys(order.values_list("session_id", flat=True)))
    assert len(session_ids) == len(documents)

    for session_id in session_ids:
        assert session_id is not None
        undo(session_id, admin)

    assert world_now() == before
    openings = LedgerLine.objects.filter(kind="opening").order_by("character_id")
    owned = openings.values_list("character_id", "xp_after", "gold_after")
    assert list(owned) == before[0]
    assert found() == {}


def evening(chance: random.Random) -> list[Document]:
    """Thirty fights of three players over what they have, and more than that."""
    add_template("axe", stackable=False, max_durability=10)
    players = [HERO, 102, 103]
    for char_id in players[1:]:
        add_character(char_id, gold=chance.randrange(50))
    rows = {char_id: [POTION] if char_id == HERO else [] for char_id in players}
    for char_id in players:
        for slot in range(3):
            item = add_item(
                char_id,
                chance.choice(["hp_pot_small", PELT]),
                quantity=chance.randrange(1, 6),
                slot=f"belt_{5 + slot}",
                is_equipped=True,
            )
            rows[char_id].append(item.pk)

    def part(char_id: int) -> Document:
        return make_participant(
            xp_gained=chance.randrange(100),
            gold_gained=chance.randrange(-40, 60),
            items_consumed=[used(chance.choice(rows[char_id]), chance.randrange(1, 3))],
            durability_loss={"item:axe": 3, f"inventory:{SWORD}": 2},
            items_gained=[loot("axe"), loot(PELT, chance.randrange(1, 4))],
        )

    return [
        make_document(
            {str(char_id): part(char_id) for char_id in chance.sample(players, 2)},
            end_timestamp=1_735_460_000 + number,
        )
        for number in range(30)
    ]
