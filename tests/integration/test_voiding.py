"""Voided combats, and what every action of an admin has in common."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
import redis
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError

from combat_history.actions import correct, void
from combat_history.actions.replay import replay
from combat_history.models import (
    AuditEntry,
    Character,
    InventoryItem,
)
from combat_history.reading.lookup import Credit, find_result
from persistence.contract import redis_keys
from persistence.tasks import settle_combat, settle_inbox
from tests.support.actions import REASON, corrected, fail, request_of, status
from tests.support.admin import audit, unknown_loot
from tests.support.api import accepted, post
from tests.support.documents import HERO, POTION, make_document
from tests.support.factories import add_template
from tests.support.lookups import id_of, start

pytestmark = pytest.mark.usefixtures("world")


def test_a_voided_combat_is_never_applied(
    admin: User, redis_client: redis.Redis
) -> None:
    document = unknown_loot()
    session_id = fail(document)
    InventoryItem.objects.filter(pk=POTION).update(reserved_session_id=session_id)

    result = void.void([session_id], actor=admin, reason=REASON)

    assert (result.voided, result.skipped) == ([session_id], {})
    assert status(session_id) == "voided"
    assert InventoryItem.objects.get(pk=POTION).reserved_session_id is None
    add_template("dragon_scale")
    settle_combat(document)
    replay([session_id], actor=admin, reason=REASON)
    settle_inbox()
    assert status(session_id) == "voided"
    assert not redis_client.exists(redis_keys.tombstone(session_id))
    assert Character.objects.get(pk=HERO).xp == 0
    assert audit(session_id)[0] == (
        f"void done: was failed (unknown_item); reason: {REASON}"
    )


def test_a_queued_replay_is_voided_before_a_worker_takes_it(admin: User) -> None:
    session_id = fail(unknown_loot())
    add_template("dragon_scale")
    replay([session_id], actor=admin, reason=REASON)

    void.void([session_id], actor=admin, reason=REASON)
    settle_inbox()

    assert status(session_id) == "voided"
    refused = request_of(session_id)
    assert (refused.state, refused.finished_at is not None) == ("refused", True)


def test_players_are_told_of_a_voided_combat_that_no_worker_has_looked_at(
    admin: User, api: None, redis_client: redis.Redis
) -> None:
    document = make_document()
    start(redis_client, document)
    accepted(post(document))
    assert find_result(id_of(document), HERO).credit is Credit.PENDING

    void.void([id_of(document)], actor=admin, reason=REASON)

    assert find_result(id_of(document), HERO).credit is Credit.CANCELLED


def test_what_is_settled_is_not_voided(admin: User) -> None:
    document = make_document()
    settle_combat(document)
    session_id = UUID(document["session_id"])

    result = void.void([session_id], actor=admin, reason=REASON)

    assert result.skipped == {session_id: "processed"}
    assert audit(session_id) == [f"void skipped: processed; reason: {REASON}"]


@pytest.mark.parametrize("verb", ["void", "correct", "replay"])
def test_without_its_permission_nothing_happens_and_that_is_written(
    stranger: User, verb: str
) -> None:
    document = unknown_loot()
    session_id = fail(document)
    act: dict[str, Callable[[], object]] = {
        "void": lambda: void.void([session_id], actor=stranger, reason=REASON),
        "correct": lambda: correct.correct(
            session_id, corrected(document), actor=stranger, reason=REASON
        ),
        "replay": lambda: replay([session_id], actor=stranger, reason=REASON),
    }

    with pytest.raises(PermissionDenied):
        act[verb]()

    assert status(session_id) == "failed"
    assert audit(session_id) == [f"{verb} denied: no permission; reason: {REASON}"]


@pytest.mark.parametrize("reason", ["", "too short", "x" * 1001])
def test_an_action_without_a_proper_reason_does_nothing(
    admin: User, reason: str
) -> None:
    session_id = fail(unknown_loot())

    with pytest.raises(ValueError, match="reason"):
        void.void([session_id], actor=admin, reason=reason)

    assert status(session_id) == "failed"


def test_the_audit_never_changes(admin: User) -> None:
    void.void([fail(unknown_loot())], actor=admin, reason=REASON)

    for change in (
        lambda: AuditEntry.objects.update(reason="another"),
        lambda: AuditEntry.objects.all().delete(),
    ):
        with pytest.raises(IntegrityError, match="append-only"):
            change()
