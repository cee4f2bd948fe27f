"""What may be forgotten is; what people or the books still need is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command

from combat_history.models import (
    AuditEntry,
    CombatHistory,
    CombatReplay,
    EventPublication,
    MinuteCount,
    SettlementEvent,
    Status,
)
from combat_history.reconcile import reconcile
from tests.conftest import Settle
from tests.support.admin import add_combat
from tests.support.documents import sample_document
from tests.support.worker import database_url

pytestmark = pytest.mark.usefixtures("world")

NOW = datetime.now(UTC)


def run(command: str, *arguments: str) -> str:
    out = StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue().strip()


def add_fight(days: float, status: Status = Status.PROCESSED) -> CombatHistory:
    finished_at = NOW - timedelta(days=days)
    combat = add_combat(
        finished_at=finished_at,
        settlement_status=status,
        settled_at=NOW if status is Status.PROCESSED else None,
        failure_code="poison" if status is Status.FAILED else None,
    )
    CombatReplay.objects.create(session_id=combat.pk, data=b"x" * 100)
    return combat


def with_replay() -> set[Any]:
    return set(CombatReplay.objects.values_list("session_id", flat=True))


@pytest.mark.parametrize("batch", ["1", "2", "1000"])
def test_fight_logs_of_old_settled_combats_go(batch: str) -> None:
    add_fight(100)
    add_fight(40)
    add_fight(35, Status.VOIDED)
    # Of one moment: a page may end between them.
    for _ in range(3):
        add_fight(50)
    kept = [
        add_fight(29),
        add_fight(100, Status.FAILED),
        add_fight(100, Status.PENDING),
    ]
    add_combat(finished_at=NOW - timedelta(days=60))

    dry = run("prune_fight_logs", "--older-than", "30", "--dry-run", "--batch", batch)
    assert dry == "6 fight logs, 600 bytes, would be deleted"
    assert len(with_replay()) == 9
    assert not AuditEntry.objects.exists()

    done = run("prune_fight_logs", "--older-than", "30", "--batch", batch)
    assert done == "6 fight logs, 600 bytes, deleted"
    assert with_replay() == {row.pk for row in kept}
    assert CombatHistory.objects.count() == 10
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.detail) == ("prune_replays", "6 rows, 600 bytes")

    assert run("prune_fight_logs", "--older-than", "30").startswith("0 fight logs")


def test_what_went_before_a_failure_is_in_the_audit() -> None:
    add_fight(100)
    held = add_fight(50)
    with psycopg.connect(database_url()) as other:
        other.execute(
            "SELECT FROM combat_replay WHERE session_id = %s FOR UPDATE", [held.pk]
        )
        with pytest.raises(CommandError, match="ended early"):
            run("prune_fight_logs", "--older-than", "30", "--batch", "1")

    assert with_replay() == {held.pk}
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.detail) == ("prune_replays", "1 rows, 100 bytes")


def test_the_books_stay_clean_without_fight_logs(settle_here: Settle) -> None:
    document = sample_document()
    settle_here(document)
    assert CombatReplay.objects.count() == 1
    run("prune_fight_logs", "--older-than", "30")
    assert CombatReplay.objects.count() == 0
    assert reconcile().count == 0
    assert "replay_log" not in CombatHistory.objects.get().document()


@pytest.mark.parametrize("batch", ["1", "2", "1000"])
def test_counts_go_by_their_minute(batch: str) -> None:
    for days in (40, 31, 31, 29, 0):
        MinuteCount.objects.create(
            minute=NOW - timedelta(days=days),
            name="combat.processed",
            process=f"p{MinuteCount.objects.count()}",
            count=1,
        )
    arguments = ["--older-than", "30", "--batch", batch]

    assert run("prune_counts", *arguments, "--dry-run") == "3 counts would be deleted"
    assert MinuteCount.objects.count() == 5
    assert run("prune_counts", *arguments) == "3 counts deleted"
    assert MinuteCount.objects.count() == 2
    assert AuditEntry.objects.get().detail == "3 rows, 0 bytes"


@pytest.mark.parametrize("batch", ["1", "2", "1000"])
def test_old_events_go_once_they_are_published(batch: str) -> None:
    for days in (40, 31, 31, 29, 0, 40):
        SettlementEvent.objects.create(
            kind="operation.applied",
            op_id="op",
            character_ids=[],
            body={},
            created_at=NOW - timedelta(days=days),
        )
    *_, now, unpublished = SettlementEvent.objects.order_by("pk")
    arguments = ["--older-than", "30", "--batch", batch]
    assert run("prune_events", *arguments) == "0 events deleted"
    EventPublication.objects.create(channel="stream", published=now.pk)

    assert run("prune_events", *arguments, "--dry-run") == "3 events would be deleted"
    assert run("prune_events", *arguments) == "3 events deleted"
    left = SettlementEvent.objects.order_by("-pk").values_list("pk", flat=True)
    assert [unpublished.pk, now.pk] == list(left)[:2]
    assert len(left) == 3


@pytest.mark.parametrize("command", ["prune_fight_logs", "prune_counts"])
@pytest.mark.parametrize("days", ["0", "-1", "x", "1.5", "40000", "²"])
def test_an_age_that_is_none_is_refused(command: str, days: str) -> None:
    add_fight(100)
    with pytest.raises(CommandError):
        run(command, "--older-than", days)
    with pytest.raises(CommandError):
        run(command)
    assert CombatReplay.objects.count() == 1
