"""Each kind of event comes through its own door, in the transaction of its cause."""

from __future__ import annotations

import time

import pytest
from django.contrib.auth.models import Permission, User
from pytest_django import Settings

from combat_history.actions import correct, void
from combat_history.actions.replay import replay
from combat_history.actions.undo import undo_operation
from combat_history.models import CombatHistory, ReviewRule
from persistence.contract.events import EventKind
from persistence.contract.signing import EngineKeys
from persistence.savers.registry import combat_saver
from persistence.tasks import settle_combat, settle_inbox
from persistence.worker import drain
from tests.support.actions import REASON, corrected, fail
from tests.support.admin import unknown_loot
from tests.support.documents import HERO, hero_fight, make_document, sample_document
from tests.support.draining import UNFORESEEN, refused, submitted
from tests.support.factories import add_balance
from tests.support.happenings import all_events, kinds, only
from tests.support.lookups import id_of
from tests.support.operating import operate, operation
from tests.support.undoing import undo

pytestmark = pytest.mark.usefixtures("world", "api")


@pytest.fixture
def admin(world: None) -> User:
    user = User.objects.create_user("anna", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(
            codename__in=[
                *("replay_combat", "correct_combat"),
                *("void_combat", "compensate_combat"),
            ]
        )
    )
    return User.objects.get(pk=user.pk)


def test_settled_tells_what_everybody_gained() -> None:
    add_balance("dust")
    document = hero_fight(xp_gained=7, gold_gained=3, balances={"dust": 2})

    settle_combat(document)

    event = only()
    assert (event.kind, event.session_id) == (EventKind.SETTLED, id_of(document))
    assert (event.op_id, event.character_ids) == (None, [HERO])
    gained = {"xp": 7, "gold": 3, "balances": {"dust": 2}}
    assert event.body == {"revision": 1, "characters": {str(HERO): gained}}


def test_a_combat_that_comes_again_is_told_once() -> None:
    document = sample_document()
    for _ in range(3):
        settle_combat(document)
    assert kinds() == ["combat.settled"]


def test_a_shortage_is_told_beside_what_was_settled() -> None:
    document = hero_fight(gold_gained=-5)

    settle_combat(document)

    settled, short = all_events()
    assert settled.kind == EventKind.SETTLED
    assert (short.kind, short.character_ids) == (EventKind.DISCREPANCY, [HERO])
    assert short.session_id == id_of(document)
    told = {"code": "gold_shortage", "wanted": 5, "applied": 0}
    assert short.body.items() >= told.items()


def test_failed_corrected_settled_and_undone(admin: User) -> None:
    document = unknown_loot()
    session_id = fail(document)
    assert only().body == {"revision": 1, "code": "unknown_item"}

    correct.correct(session_id, corrected(document), actor=admin, reason=REASON)
    replay([session_id], actor=admin, reason=REASON)
    settle_inbox()
    undo(session_id, admin)
    undo(session_id, admin)

    assert kinds() == [
        "combat.failed",
        "combat.corrected",
        "combat.settled",
        "combat.undone",
    ]
    assert [event.body["revision"] for event in all_events()] == [1, 2, 2, 2]
    assert {event.session_id for event in all_events()} == {session_id}
    settled, undone = [event.body["characters"] for event in all_events()[2:]]
    assert undone[str(HERO)]["xp"] == -settled[str(HERO)]["xp"]


def test_voided_tells_what_it_was(admin: User) -> None:
    session_id = fail(unknown_loot())

    void.void([session_id], actor=admin, reason=REASON)
    void.void([session_id], actor=admin, reason=REASON)

    assert kinds() == ["combat.failed", "combat.voided"]
    assert all_events()[1].body == {"was": "failed", "code": "unknown_item"}


def test_held_is_not_failed() -> None:
    ReviewRule.objects.create(amount="xp", limit=5, span="fight", is_on=True)

    settle_combat(hero_fight(xp_gained=6))

    assert only().kind == EventKind.HELD
    assert only().body == {"revision": 1, "code": "held_for_review"}


def test_unsigned_is_failed_by_whatever_way(settings: Settings) -> None:
    settings.SETTLEMENT_ENGINE_KEYS = EngineKeys({"a": b"a secret that is long enough"})

    settle_combat(make_document())

    assert only().body["code"] == "bad_signature"


def test_what_nobody_foresaw_is_failed() -> None:
    (entry,) = submitted(claims=1)
    with refused(("settlement_ledger", "INSERT"), UNFORESEEN):
        drain.settle_entries([entry], time.monotonic(), combat_saver)
    assert only().body == {"revision": 1, "code": "unexpected"}


def test_what_is_rolled_back_is_not_told() -> None:
    (entry,) = submitted()
    with refused(("settlement_events", "INSERT"), "08006"):
        drain.settle_entries([entry], time.monotonic(), combat_saver)
    assert not CombatHistory.objects.exists()
    assert all_events() == []


def test_an_operation_is_told_once_and_so_is_its_undo(admin: User) -> None:
    document = operation("quest-1", "Quest", c101={"gold_gained": 5})
    answer = operate(document)
    operate(document)
    undo_operation("quest-1", actor=admin, reason=REASON, on_shortage="refuse")

    applied, undone = all_events()
    assert (applied.kind, applied.op_id) == (EventKind.APPLIED, "quest-1")
    assert (applied.session_id, applied.character_ids) == (None, [HERO])
    gained = {str(HERO): {"xp": 0, "gold": 5}}
    assert applied.body == {"id": str(answer.id), "characters": gained}
    assert (undone.kind, undone.op_id) == (EventKind.TAKEN_BACK, "quest-1")
    assert undone.body["characters"] == {str(HERO): {"xp": 0, "gold": -5}}


def test_shortages_of_an_undo_are_told(admin: User) -> None:
    operate(operation("quest-1", "Quest", c101={"gold_gained": 5}))
    operate(operation("shop-1", "Shop", c101={"gold_gained": -4}))

    undo_operation("quest-1", actor=admin, reason=REASON, on_shortage="record")

    undone, short = all_events()[2:]
    assert undone.body["characters"][str(HERO)]["gold"] == -1
    assert (short.kind, short.op_id) == (EventKind.DISCREPANCY, "quest-1")
    assert (short.body["wanted"], short.body["applied"]) == (5, 1)
