"""Every failure of a combat stays readable, whatever becomes of the combat."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from pytest_django import Settings

from combat_history.actions import correct, void
from combat_history.actions.replay import Terms, replay
from combat_history.models import CombatHistory, SettlementFailure
from persistence.engine.handoff import checked
from persistence.tasks import settle_combat, settle_inbox
from persistence.worker import inbox
from tests.support.actions import REASON, fail, status
from tests.support.admin import unknown_loot
from tests.support.documents import POTION, make_document, make_participant
from tests.support.factories import add_template

pytestmark = pytest.mark.usefixtures("world")


def kept(session_id: UUID) -> list[tuple[int, str]]:
    rows = SettlementFailure.objects.filter(session_id=session_id).order_by("id")
    return list(rows.values_list("revision", "code"))


def again(session_id: UUID, admin: User, terms: Terms | None = None) -> str:
    replay([session_id], actor=admin, reason=REASON, terms=terms or Terms())
    settle_inbox()
    return status(session_id)


def hungry() -> dict[str, Any]:
    document = unknown_loot()
    document["participants"]["101"]["changes"]["items_consumed"] = [
        {"inventory_id": POTION, "item_template_id": "hp_pot_small", "qty": 9}
    ]
    return document


def test_failures_stay_when_the_replay_fails_again_and_when_it_succeeds(
    admin: User,
) -> None:
    session_id = fail(hungry())
    first = SettlementFailure.objects.get()
    assert (first.code, first.traceback) == ("unknown_item", "")
    assert "dragon_scale" in first.detail
    assert abs(timezone.now() - first.failed_at) < timedelta(seconds=30)
    add_template("dragon_scale")

    assert again(session_id, admin, Terms("fail")) == "failed"
    assert kept(session_id) == [(1, "unknown_item"), (1, "shortage")]
    assert again(session_id, admin, Terms("record")) == "processed"

    assert kept(session_id) == [(1, "unknown_item"), (1, "shortage")]
    row = CombatHistory.objects.get(pk=session_id)
    assert row.failure_code is None
    assert row.failed_at == SettlementFailure.objects.latest("id").failed_at


def test_a_failure_of_a_correction_names_its_revision(admin: User) -> None:
    session_id = fail(hungry())
    document = correct.standing_document(session_id)
    gained = document["participants"]["101"]["changes"]["items_gained"]
    gained[0]["item_template_id"] = "moon_dust"
    correct.correct(session_id, document, actor=admin, reason=REASON)

    assert again(session_id, admin) == "failed"

    assert kept(session_id) == [(1, "unknown_item"), (2, "unknown_item")]
    details = SettlementFailure.objects.order_by("id").values_list("detail", flat=True)
    assert ["moon_dust" in detail for detail in details] == [False, True]


def test_an_unforeseen_error_keeps_its_traceback_after_the_replay(admin: User) -> None:
    document = make_document({"101": make_participant(gold_gained=5)})
    rule = "ALTER TABLE settlement_ledger {} CONSTRAINT no_gold {}"
    with connection.cursor() as cursor:
        cursor.execute(rule.format("ADD", "CHECK (gold_delta <> 5) NOT VALID"))
    try:
        settle_combat(document)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(rule.format("DROP", ""))
    session_id = UUID(document["session_id"])
    assert kept(session_id) == [(1, "unexpected")]

    assert again(session_id, admin) == "processed"

    failure = SettlementFailure.objects.get()
    assert "no_gold" in failure.detail
    assert failure.traceback.startswith("Traceback")


def test_poison_and_a_voided_failure_are_kept(admin: User, settings: Settings) -> None:
    settings.SETTLEMENT_MAX_ATTEMPTS = 2
    document = make_document()
    session_id = UUID(document["session_id"])
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO combat_history (session_id, participant_ids, result_payload,"
            " attempts) VALUES (%s, '{101}', %s, 2)",
            [session_id, json.dumps(document)],
        )
    inbox.put([session_id])
    inbox.claim(10)
    inbox.put([session_id], override=True)
    settle_inbox()

    void.void([session_id], actor=admin, reason=REASON)

    assert status(session_id) == "voided"
    assert kept(session_id) == [(1, "poison")]


def test_each_failure_of_a_batch_is_kept_and_nothing_of_the_others() -> None:
    failing, sound = [unknown_loot() for _ in range(3)], make_document()
    for document in (*failing, sound):
        inbox.record(checked(document))

    settle_inbox()

    rows = SettlementFailure.objects.values_list("session_id", flat=True)
    assert sorted(map(str, rows)) == sorted(d["session_id"] for d in failing)
    settled = CombatHistory.objects.get(pk=sound["session_id"])
    assert (settled.settlement_status, settled.failed_at) == ("processed", None)


def test_a_correction_and_a_second_delivery_are_no_failures(admin: User) -> None:
    document = unknown_loot()
    session_id = fail(document)
    better = correct.standing_document(session_id)
    better["meta"]["winner_team"] = "red"

    settle_combat(document)
    correct.correct(session_id, better, actor=admin, reason=REASON)

    assert kept(session_id) == [(1, "unknown_item")]


@pytest.mark.parametrize(
    "statement",
    ["UPDATE settlement_failures SET code = 'x'", "DELETE FROM settlement_failures"],
)
def test_a_kept_failure_never_changes(statement: str) -> None:
    fail(unknown_loot())

    with (
        pytest.raises(IntegrityError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
