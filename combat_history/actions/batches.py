"""Replays of hundreds of combats at once: a snapshot, replayed chunk by chunk.

A batch is what had failed when it was made. Whoever advances, pauses or cancels it
holds its row, so no two do at once; and it never has more than some replays queued, so
that live fights do not wait behind it. A chunk is reopened as `replay` does it, in the
transaction that takes it off the batch: a process that dies loses and doubles nothing.
What it has learnt of its canary, and of failures in a row, is what the answers of its
replays say, read anew for each chunk.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

from django.contrib.auth.models import User
from django.core.exceptions import EmptyResultSet
from django.db import Error, connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from combat_history.actions import audit
from combat_history.actions.audit import Act, Outcome
from combat_history.actions.replay import (
    PERMISSION,
    SkipReason,
    Terms,
    announce,
    reopen,
)
from combat_history.models import (
    AuditEntry,
    CombatHistory,
    ReplayBatch,
    ReplayBatchItem,
    ReplayRequest,
    Status,
)
from persistence.worker import rings
from persistence.worker.transience import transience

if TYPE_CHECKING:
    Items = QuerySet[ReplayBatchItem]

logger = logging.getLogger(__name__)

TARGET = "replay batch"
MAX_ITEMS = 100_000
"""Combats of one batch, the oldest first; the others are for the next one."""

CHUNK = 100
"""Combats that are reopened in one transaction, and locked until it ends."""

MAX_QUEUED = 200
"""Replays of a batch that wait for a worker; beyond, no further chunk is reopened."""

NOT_PERMITTED = "no permission any more"
EQUAL_FAILURES = "equal failures"
"""Begins the detail of a batch that they stopped; code and subject follow."""

State = ReplayBatch.State


@dataclass(frozen=True, slots=True)
class Caution:
    """How much a batch risks; 0 is no bound.

    `canary`: so many are answered before another one is reopened. `stop_after`: so many
    failures in a row, of one cause and subject, stop it.
    """

    canary: int = 0
    stop_after: int = 0


NO_CAUTION = Caution()


class Verb(StrEnum):
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"


AFTER = {
    Verb.PAUSE: State.PAUSED,
    Verb.RESUME: State.RUNNING,
    Verb.CANCEL: State.CANCELLED,
}
ALLOWED = {
    Verb.PAUSE: (State.RUNNING,),
    Verb.RESUME: (State.PAUSED,),
    Verb.CANCEL: (State.RUNNING, State.PAUSED),
}
"""States that a decision is taken in; in any other it changes nothing."""


def create(
    rows: QuerySet[CombatHistory],
    selection: Mapping[str, str],
    *,
    batch_id: UUID,
    actor: User,
    reason: str,
    shortages: str | None = None,
    caution: Caution = NO_CAUTION,
) -> int:
    """Make a batch of those of `rows` that have failed; how many they are.

    Without any there is no batch. What waits in another batch is left to that one. The
    same `batch_id` again changes nothing. Raises PermissionDenied, audited; ValueError
    for a reason that says too little; the database's own error, audited where it still
    can be, with nothing changed.
    """
    if not actor.has_perm(PERMISSION):
        audit.deny(actor, "replay", TARGET, [str(batch_id)], reason)
    batch = ReplayBatch(
        pk=batch_id,
        selection=dict(selection),
        shortages=shortages,
        canary=caution.canary,
        stop_after=caution.stop_after,
        actor_id=actor.pk,
        actor_name=actor.get_username(),
        reason=audit.checked_reason(reason),
    )
    try:
        with transaction.atomic(durable=True):
            total, act = _create(batch, rows)
            audit.record(actor, "replay", TARGET, [act], batch.reason)
    except Error as error:
        audit.record_failure(
            actor, "replay", TARGET, [str(batch_id)], batch.reason, error
        )
        raise
    if total:
        rings.ring_for_batches()
    return total


def running() -> list[UUID]:
    """Batches that can be advanced, the oldest first."""
    rows = ReplayBatch.objects.filter(state=State.RUNNING)
    return list(rows.order_by("created_at").values_list("pk", flat=True))


def advance(batch_id: UUID) -> bool:
    """Reopen the next chunk, or end the batch where nothing is left to do.

    False where it has to wait: another process is at it, or its replays are. It stops,
    audited, when its actor may not replay any more. Raises the database's error where
    another try may help; any other stops the batch.
    """
    try:
        with transaction.atomic(durable=True):
            moved, reopened = _advance(batch_id)
    except Error as error:
        if transience(error):
            raise
        logger.exception("replay batch", extra={"batch": batch_id})
        with transaction.atomic(durable=True):
            batch = ReplayBatch.objects.select_for_update(no_key=True).get(pk=batch_id)
            _stop(batch, Outcome.FAILED, f"{type(error).__name__}: {error}".strip())
        return True
    announce(reopened)
    return moved


def decide(batch_id: UUID, verb: Verb, *, actor: User, reason: str) -> bool:
    """Pause, resume or cancel it; False where its state does not allow that.

    Waits for the chunk at work. What is queued by then is replayed all the same. Raises
    as `create` does, and ReplayBatch.DoesNotExist.
    """
    ids = [str(batch_id)]
    if not actor.has_perm(PERMISSION):
        audit.deny(actor, verb, TARGET, ids, reason)
    reason = audit.checked_reason(reason)
    try:
        with transaction.atomic(durable=True):
            act = _decide(batch_id, verb)
            audit.record(actor, verb, TARGET, [act], reason)
    except Error as error:
        audit.record_failure(actor, verb, TARGET, ids, reason, error)
        raise
    if verb is Verb.RESUME:
        rings.ring_for_batches()
    return act.outcome is Outcome.DONE


def _create(batch: ReplayBatch, rows: QuerySet[CombatHistory]) -> tuple[int, Act]:
    """The number of its combats, and what the audit says of it."""
    target = str(batch.pk)
    # A second click waits here for the first one.
    if not _insert(batch):
        total = ReplayBatch.objects.values_list("total", flat=True).get(pk=batch.pk)
        return total, Act(target, Outcome.SKIPPED, "is made already")
    total = _snapshot(batch, rows)
    if not total:
        ReplayBatch.objects.filter(pk=batch.pk).delete()
        return 0, Act(target, Outcome.SKIPPED, "nothing that failed is chosen")
    ReplayBatch.objects.filter(pk=batch.pk).update(total=total)
    after = {"selection": batch.selection, "combats": total}
    return total, Act(target, Outcome.DONE, f"{total} combats", after=after)


_DECIDED = (
    "selection",
    "shortages",
    "canary",
    "stop_after",
    "actor_id",
    "actor_name",
    "reason",
)


def _insert(batch: ReplayBatch) -> bool:
    values = {name: getattr(batch, name) for name in _DECIDED}
    return ReplayBatch.objects.get_or_create(pk=batch.pk, defaults=values)[1]


_SNAPSHOT = """
INSERT INTO replay_batch_items (batch_id, position, session_id)
SELECT %s, row_number() OVER (ORDER BY finished_at, session_id), session_id
FROM ({chosen}) AS chosen
-- One order everywhere: two snapshots at once wait for each other, never in a circle.
ORDER BY finished_at, session_id
ON CONFLICT (session_id) WHERE state = 'waiting' DO NOTHING
"""


def _snapshot(batch: ReplayBatch, rows: QuerySet[CombatHistory]) -> int:
    failed = rows.filter(settlement_status=Status.FAILED)
    oldest = failed.order_by("finished_at", "session_id")[:MAX_ITEMS]
    try:
        chosen, parameters = oldest.values(
            "finished_at", "session_id"
        ).query.sql_with_params()
    except EmptyResultSet:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(_SNAPSHOT.format(chosen=chosen), [batch.pk, *parameters])
        number: int = cursor.rowcount
    return number


def _advance(batch_id: UUID) -> tuple[bool, Sequence[UUID]]:
    """Whether anything changed, and what was reopened."""
    # Another worker that holds it does this very work: nobody waits for that.
    held = ReplayBatch.objects.select_for_update(no_key=True, skip_locked=True)
    batch = held.filter(pk=batch_id, state=State.RUNNING).first()
    if batch is None:
        return False, []
    # Asked for each chunk: a batch runs for hours, and may outlive the permission.
    actor = User.objects.filter(pk=batch.actor_id).first()
    if actor is None or not actor.has_perm(PERMISSION):
        _stop(batch, Outcome.DENIED, NOT_PERMITTED)
        return True, []
    requests = ReplayRequest.objects.filter(batch_id=batch_id)
    queued = requests.filter(state=ReplayRequest.State.QUEUED).count()
    begun = requests[: batch.canary + 1].count()
    waiting = _waiting(batch).order_by("position").values_list("session_id", flat=True)
    chunk = list(waiting[: _room(batch.canary, begun, queued)])
    if chunk and (cause := _equal_failures(batch)):
        _stop(batch, Outcome.FAILED, f"{EQUAL_FAILURES}: {cause}")
        return True, []
    if chunk:
        terms = Terms(batch.shortages, batch_id=batch.pk)
        reopened, skipped = reopen(sorted(chunk), actor, batch.reason, terms)
        _take_off(batch, reopened, skipped)
        return True, reopened
    if queued:
        return False, []
    _end(batch, State.FINISHED)
    return True, []


def _room(canary: int, begun: int, queued: int) -> int:
    """How many may be reopened now; `begun`: counted to one beyond the canary."""
    if begun < canary:
        return min(canary - begun, CHUNK)
    is_canary_out = begun == canary and queued > 0
    return 0 if is_canary_out or queued >= MAX_QUEUED else CHUNK


# By the index of a batch's answers, which tells the last ones of each state.
_LAST_ANSWERS = """
SELECT min(h.failure_code), min(h.failure_subject)
FROM (
    SELECT answer.session_id, answer.state
    FROM unnest(ARRAY['processed', 'refused', 'failed']) AS of (state)
    CROSS JOIN LATERAL (
        SELECT id, session_id, state FROM replay_requests
        WHERE batch_id = %(batch)s AND state = of.state
        ORDER BY id DESC LIMIT %(number)s
    ) AS answer
    ORDER BY answer.id DESC
    LIMIT %(number)s
) AS last
LEFT JOIN combat_history h
    ON h.session_id = last.session_id
    AND h.settlement_status = 'failed' AND last.state = 'failed'
HAVING count(h.session_id) = %(number)s
   AND min(h.failure_code) = max(h.failure_code)
   AND min(h.failure_subject) = max(h.failure_subject)
"""


def _equal_failures(batch: ReplayBatch) -> str:
    """What the last answers have all failed for, as code and subject."""
    if not batch.stop_after:
        return ""
    with connection.cursor() as cursor:
        cursor.execute(_LAST_ANSWERS, {"batch": batch.pk, "number": batch.stop_after})
        found = cursor.fetchone()
    return ": ".join(found) if found else ""


def _take_off(
    batch: ReplayBatch, reopened: Sequence[UUID], skipped: Mapping[UUID, SkipReason]
) -> None:
    waiting = _waiting(batch)
    states = ReplayBatchItem.State
    waiting.filter(session_id__in=reopened).update(state=states.REOPENED)
    by_reason: defaultdict[SkipReason, list[UUID]] = defaultdict(list)
    for session_id, why in skipped.items():
        by_reason[why].append(session_id)
    for why, session_ids in by_reason.items():
        waiting.filter(session_id__in=session_ids).update(
            state=states.SKIPPED, why=str(why)
        )


def _decide(batch_id: UUID, verb: Verb) -> Act:
    batch = ReplayBatch.objects.select_for_update(no_key=True).get(pk=batch_id)
    before, after = {"state": batch.state}, {"state": AFTER[verb]}
    target = str(batch_id)
    if batch.state not in ALLOWED[verb]:
        return Act(target, Outcome.SKIPPED, f"is {batch.state}")
    if verb is Verb.CANCEL:
        _end(batch, AFTER[verb])
    else:
        ReplayBatch.objects.filter(pk=batch_id).update(state=AFTER[verb])
    return Act(target, Outcome.DONE, before=before, after=after)


def _stop(batch: ReplayBatch, outcome: Outcome, detail: str) -> None:
    """Stop a batch in the name of its actor: it is their action that ends here."""
    _end(batch, State.STOPPED, detail)
    AuditEntry.objects.create(
        actor_id=batch.actor_id,
        actor_name=batch.actor_name,
        verb="replay",
        target_type=TARGET,
        target_id=str(batch.pk),
        reason=batch.reason,
        before={"state": batch.state},
        after={"state": State.STOPPED},
        outcome=outcome,
        detail=detail,
    )


def _end(batch: ReplayBatch, state: State, detail: str = "") -> None:
    """End a batch and let go what waits still, or no other batch could ever take it."""
    _waiting(batch).update(state=ReplayBatchItem.State.SKIPPED, why=str(state))
    ReplayBatch.objects.filter(pk=batch.pk).update(
        state=state, detail=detail, finished_at=Now()
    )
    logger.info("replay batch", extra={"batch": batch.pk, "state": state})


def _waiting(batch: ReplayBatch) -> Items:
    return ReplayBatchItem.objects.filter(
        batch=batch, state=ReplayBatchItem.State.WAITING
    )
