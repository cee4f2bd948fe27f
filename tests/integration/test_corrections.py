"""Corrected documents: revisions beside the original."""

from __future__ import annotations

from uuid import UUID

import pytest
import redis
from django.contrib.auth.models import User
from django.db import IntegrityError

from combat_history.actions import correct
from combat_history.actions.dry_run import dry_run_of
from combat_history.actions.replay import replay
from combat_history.models import (
    Character,
    CombatHistory,
    CombatParticipant,
    CombatRevision,
    LedgerLine,
)
from combat_history.reading.lookup import find_result
from combat_history.reconcile.run import reconcile
from persistence.contract.document import Document
from persistence.contract.errors import PayloadInvalid
from persistence.tasks import settle_combat, settle_inbox
from tests.support.actions import REASON, corrected, fail, request_of, status
from tests.support.admin import audit, unknown_loot
from tests.support.documents import HERO, PELT, make_document, make_participant
from tests.support.factories import add_character

pytestmark = pytest.mark.usefixtures("world")


def test_a_correction_is_a_revision_beside_the_original(admin: User) -> None:
    document = unknown_loot()
    session_id = fail(document)
    better = corrected(document)

    revision = correct.correct(session_id, better, actor=admin, reason=REASON)

    assert (revision.revision, revision.author_name) == (2, "anna")
    assert revision.diff == [
        {
            "path": "participants.101.changes.items_gained[0].item_template_id",
            "before": "dragon_scale",
            "after": PELT,
        }
    ]
    combat = CombatHistory.objects.get(pk=session_id)
    assert (combat.revision, combat.settlement_status) == (2, "failed")
    assert combat.document() == document
    assert audit(session_id) == [f"correct done: revision 2; reason: {REASON}"]


def test_a_correction_may_spell_the_session_in_another_way(admin: User) -> None:
    document = unknown_loot()
    session_id = UUID(document["session_id"])
    fail({**document, "session_id": session_id.hex})

    correct.correct(session_id, corrected(document), actor=admin, reason=REASON)

    assert CombatHistory.objects.get(pk=session_id).revision == 2


def test_a_corrected_combat_is_settled_as_corrected(
    admin: User, redis_client: redis.Redis
) -> None:
    document = unknown_loot()
    session_id = fail(document)
    correct.correct(session_id, corrected(document), actor=admin, reason=REASON)

    replay([session_id], actor=admin, reason=REASON)
    settle_inbox()

    assert status(session_id) == "processed"
    line = LedgerLine.objects.get(session_id=session_id)
    assert (line.revision, line.items[0]["item_template_id"]) == (2, PELT)
    assert request_of(session_id).revision == 2
    assert reconcile().findings == []
    settle_combat(document)
    assert Character.objects.get(pk=HERO).xp == 10
    # The engine's own document is still the one that counts as the same.
    assert not CombatRevision.objects.exclude(revision=2).exists()


def test_a_correction_may_name_another_player(admin: User) -> None:
    document = make_document({"999": make_participant(xp_gained=3)})
    session_id = fail(document)
    better = {**document, "participants": {"102": make_participant(xp_gained=3)}}
    add_character(102)

    correct.correct(session_id, better, actor=admin, reason=REASON)
    replay([session_id], actor=admin, reason=REASON)
    settle_inbox()

    assert Character.objects.get(pk=102).xp == 3
    assert CombatHistory.objects.get(pk=session_id).participant_ids == [102]
    assert CombatParticipant.objects.filter(character_id=102).exists()
    assert reconcile().findings == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"session_id": "0192f3a4-5b6c-7d8e-9f01-555666777888"}, "session_id"),
        ({"meta": {"end_timestamp": 5, "finish_reason": "draw"}}, "meta.end_timestamp"),
        ({"replay_log": []}, "replay_log"),
        ({"participants": {}}, "participants"),
    ],
)
def test_a_correction_keeps_the_contract_and_the_fights_identity(
    admin: User, change: Document, path: str
) -> None:
    document = unknown_loot()
    session_id = fail(document)

    with pytest.raises(PayloadInvalid) as refused:
        correct.correct(session_id, {**document, **change}, actor=admin, reason=REASON)

    assert path in {error["path"] for error in refused.value.errors}
    assert CombatHistory.objects.get(pk=session_id).revision == 1


def test_a_correction_can_be_tried_before_it_is_written() -> None:
    document = unknown_loot()
    session_id = fail(document)

    seen = dry_run_of(session_id, corrected(document), fail_on_shortage=False)

    assert (seen.failure, seen.revision) == (None, 2)
    assert CombatHistory.objects.get(pk=session_id).revision == 1


def test_only_failed_combats_are_corrected(admin: User) -> None:
    document = make_document()
    settle_combat(document)

    with pytest.raises(correct.NotCorrectable, match="processed"):
        correct.correct(
            UUID(document["session_id"]), document, actor=admin, reason=REASON
        )


def test_a_revision_never_changes(admin: User) -> None:
    document = unknown_loot()
    session_id = fail(document)
    correct.correct(session_id, corrected(document), actor=admin, reason=REASON)

    for change in (
        lambda: CombatRevision.objects.update(reason="another"),
        lambda: CombatRevision.objects.all().delete(),
    ):
        with pytest.raises(IntegrityError, match="append-only"):
            change()


def test_a_player_is_told_what_the_correction_gave(
    admin: User, redis_client: redis.Redis
) -> None:
    document = unknown_loot()
    session_id = fail(document)
    better = corrected(document)
    better["participants"]["101"]["changes"]["gold_gained"] = 8
    correct.correct(session_id, better, actor=admin, reason=REASON)
    replay([session_id], actor=admin, reason=REASON)
    settle_inbox()

    for _ in range(2):
        told = find_result(session_id, HERO)
        assert told.outcome is not None
        assert told.outcome.gold == 8
        # The second time PostgreSQL is asked.
        redis_client.flushdb()
