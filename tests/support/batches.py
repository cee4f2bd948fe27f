"""Many failed combats, and batches that replay them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from django.contrib.auth.models import User
from django.db.models import QuerySet

from combat_history.actions import batches
from combat_history.actions.batch_tasks import replay_batches as advance_all
from combat_history.actions.batches import NO_CAUTION, Caution
from combat_history.insight import batch_progress
from combat_history.insight.failures import Cause, members
from combat_history.models import CombatHistory, ReplayBatch, Status
from tests.support.admin import unknown_loot
from tests.support.documents import HERO, SAMPLE_END
from tests.support.waiting import wait_until

REASON = "the catalogue was fixed"


def add_many_failed(number: int, loot: str = "dragon_scale") -> list[UUID]:
    """Fights for 10 XP and 5 gold whose loot was not in the catalogue, oldest first."""
    documents = [unknown_loot(end_timestamp=SAMPLE_END + n) for n in range(number)]
    for document in documents:
        changes = document["participants"][str(HERO)]["changes"]
        changes["items_gained"][0]["item_template_id"] = loot
    first = datetime.fromtimestamp(SAMPLE_END, UTC)
    rows = CombatHistory.objects.bulk_create(
        CombatHistory(
            session_id=document["session_id"],
            participant_ids=[HERO],
            finished_at=first + timedelta(seconds=n),
            result_payload=document,
            settlement_status=Status.FAILED,
            failure_code="unknown_item",
            failure_subject=loot,
        )
        for n, document in enumerate(documents)
    )
    return [UUID(str(row.pk)) for row in rows]


def make_batch(
    actor: User,
    rows: QuerySet[CombatHistory] | None = None,
    *,
    reason: str = REASON,
    caution: Caution = NO_CAUTION,
) -> ReplayBatch:
    batch_id = uuid4()
    batches.create(
        members(Cause("unknown_item")) if rows is None else rows,
        {"kind": "group", "code": "unknown_item"},
        batch_id=batch_id,
        actor=actor,
        reason=reason,
        caution=caution,
    )
    return ReplayBatch.objects.get(pk=batch_id)


def run(batch: ReplayBatch) -> ReplayBatch:
    """What beat does, until the batch is over."""

    def is_over() -> bool:
        advance_all()
        batch.refresh_from_db()
        return batch.is_over

    wait_until(is_over, "the batch is over")
    return batch


def numbers(batch: ReplayBatch) -> dict[str, int]:
    """Of results that there are."""
    return {str(k): n for k, n in batch_progress.counts(batch).items() if n}
