"""Replay: an operator puts failed combats back into the inbox.

The only way out of `failed` but voiding. A replay settles nothing: it opens the row
again (failed -> pending) and lets the workers find it, like everything else.

The old failure code and detail stay on the pending row, as the reason why it waits; the
settlement overwrites them, and `settlement_failures` keeps each failure for ever.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

import redis
from django.db import Error, transaction
from django.db.models import F, Func, JSONField
from django.db.models.functions import Now

from combat_history.actions import audit
from combat_history.actions.audit import Act, Outcome
from combat_history.models import CombatHistory, ReplayRequest, Status
from persistence.contract import redis_keys
from persistence.contract.payload import PLAYER_KEY
from persistence.worker import inbox, rings

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)

PERMISSION = "combat_history.replay_combat"
VERB, TARGET = "replay", "combat"
MAX_COMBATS = 500
"""How many one replay is about: their rows are locked together, and a person answers
for each."""


class SkipReason(StrEnum):
    PENDING = "pending"
    PROCESSED = "processed"
    VOIDED = "voided"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Stake:
    """A combat that a replay would reopen, and the rewards that wait in it."""

    session_id: UUID
    finished_at: datetime
    failure_code: str
    participant_ids: Sequence[int]
    xp: int
    gold: int


@dataclass(frozen=True, slots=True)
class Preview:
    stakes: list[Stake]
    skipped: dict[UUID, SkipReason]


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """The result of a replay. `announced`: the inbox has the entries; else the sweep
    brings them."""

    replayed: list[UUID]
    skipped: dict[UUID, SkipReason]
    announced: bool


class _Numbers(Func):
    """Numbers under one key of every player's `changes`; none where there are none."""

    template = (
        "jsonb_path_query_array(%(expressions)s, '$.participants.keyvalue() "
        f'? (@.key like_regex "^{PLAYER_KEY.pattern}$").value.changes.%(key)s '
        "? (@.type() == \"number\")', '{}', true)"
    )
    output_field = JSONField()


def preview(session_ids: Sequence[UUID]) -> Preview:
    """The combats that `replay` would reopen now, or would skip. Reads only."""
    rows = (
        CombatHistory.objects.filter(pk__in=session_ids)
        .order_by("finished_at", "session_id")
        .annotate(
            xp=_Numbers(F("result_payload"), key="xp_gained"),
            gold=_Numbers(F("result_payload"), key="gold_gained"),
        )
        .values_list(
            "session_id",
            "settlement_status",
            "finished_at",
            "failure_code",
            "participant_ids",
            "xp",
            "gold",
        )
    )
    found = list(rows)
    stakes = [
        Stake(row[0], row[2], row[3] or "", row[4], _total(row[5]), _total(row[6]))
        for row in found
        if row[1] == Status.FAILED
    ]
    return Preview(stakes, _skipped(session_ids, {row[0]: row[1] for row in found}))


@dataclass(frozen=True, slots=True)
class Terms:
    """The conditions that a person has set for a replay.

    `shortages`: record or fail, None as the setting says. `fingerprints`: of the state
    that was previewed; a combat whose state has moved is refused. `batch_id`: of the
    batch it belongs to.
    """

    shortages: str | None = None
    fingerprints: Mapping[UUID, str] = field(default_factory=dict)
    batch_id: UUID | None = None


AS_USUAL = Terms()


def replay(
    session_ids: Sequence[UUID], *, actor: User, reason: str, terms: Terms = AS_USUAL
) -> ReplayResult:
    """Open failed combats again and put them into the inbox.

    One transaction moves the rows, writes a replay request with the terms, which the
    settlement obeys and answers, and an audit entry for all sessions that fared alike;
    what is not failed is skipped with its reason, so that a second call changes
    nothing. The inbox learns of it after the commit: if Redis is away, or this process
    dies in between, the sweep finds the pending rows and puts them there.

    Raises PermissionDenied, audited; ValueError for a reason or a number of combats out
    of bounds; the database's own error, audited where it still can be, with nothing
    changed.
    """
    session_ids = sorted(set(session_ids))
    if len(session_ids) > MAX_COMBATS:
        raise ValueError(f"{len(session_ids)} combats; at most {MAX_COMBATS} at a time")
    if not actor.has_perm(PERMISSION):
        audit.deny(actor, VERB, TARGET, map(str, session_ids), reason)
    reason = audit.checked_reason(reason)
    try:
        with transaction.atomic(durable=True):
            replayed, skipped = reopen(session_ids, actor, reason, terms)
    except Error as error:
        ids = map(str, session_ids)
        audit.record_failure(actor, VERB, TARGET, ids, reason, error)
        raise
    return ReplayResult(replayed, skipped, announced=announce(replayed))


def reopen(
    session_ids: Sequence[UUID], actor: User, reason: str, terms: Terms
) -> tuple[list[UUID], dict[UUID, SkipReason]]:
    """The transaction of `replay`, as a part of the caller's.

    For a caller that has checked permission and reason, and that announces what was
    reopened once it has committed.
    """
    # In the order in which the workers lock them.
    rows = list(
        CombatHistory.objects.filter(pk__in=session_ids)
        .order_by("session_id")
        .select_for_update(no_key=True)
        .values_list("session_id", "settlement_status", "failure_code", "revision")
    )
    codes = {row[0]: row[2] for row in rows if row[1] == Status.FAILED}
    # Tries are counted anew, or what was poison once would fail at once for ever.
    moved = CombatHistory.objects.filter(
        pk__in=list(codes), settlement_status=Status.FAILED
    ).update(settlement_status=Status.PENDING, attempts=0, due_at=Now())
    if moved != len(codes):
        raise RuntimeError(f"reopened {moved} of {len(codes)} locked combats")
    revisions = {row[0]: row[3] for row in rows if row[0] in codes}
    _request(revisions, actor, reason, terms)
    skipped = _skipped(session_ids, {row[0]: row[1] for row in rows})
    # A batch is one decision, audited where it was made; its items are the members.
    if terms.batch_id is None:
        audit.record(actor, VERB, TARGET, _acts(codes, skipped), reason)
    return list(codes), skipped


def _acts(
    codes: Mapping[UUID, str | None], skipped: Mapping[UUID, SkipReason]
) -> list[Act]:
    done = [
        Act(
            str(pk),
            Outcome.DONE,
            f"was failed ({code})",
            before={"settlement_status": Status.FAILED, "failure_code": code},
            after={"settlement_status": Status.PENDING},
        )
        for pk, code in codes.items()
    ]
    return done + [Act(str(pk), Outcome.SKIPPED, why) for pk, why in skipped.items()]


def _request(
    revisions: Mapping[UUID, int], actor: User, reason: str, terms: Terms
) -> None:
    queued = ReplayRequest.State.QUEUED
    # Of a run that never answered: its combat has failed, whatever became of it.
    ReplayRequest.objects.filter(session_id__in=revisions, state=queued).update(
        state=ReplayRequest.State.FAILED, detail="superseded", finished_at=Now()
    )
    ReplayRequest.objects.bulk_create(
        ReplayRequest(
            session_id=session_id,
            revision=revision,
            shortages=terms.shortages,
            fingerprint=terms.fingerprints.get(session_id),
            batch_id=terms.batch_id,
            actor_name=actor.get_username(),
            reason=reason,
        )
        for session_id, revision in revisions.items()
    )


def announce(session_ids: Sequence[UUID]) -> bool:
    """Tell the inbox of reopened combats; False leaves them to the sweep."""
    if not session_ids:
        return True
    try:
        inbox.client().delete(*map(redis_keys.tombstone, session_ids))
        players = CombatHistory.objects.filter(pk__in=session_ids).values_list(
            "pk", "participant_ids__len"
        )
        # Override: an entry may still be leased from before, and would wait that long.
        inbox.put(session_ids, override=True, players=dict(players))
    except (redis.RedisError, Error):
        logger.warning(
            "replayed combats wait for the sweep",
            extra={"combats": len(session_ids)},
            exc_info=True,
        )
        return False
    rings.ring()
    return True


def _skipped(
    session_ids: Iterable[UUID], statuses: Mapping[UUID, str]
) -> dict[UUID, SkipReason]:
    found = {pk: statuses.get(pk, SkipReason.UNKNOWN) for pk in session_ids}
    return {
        pk: SkipReason(status)
        for pk, status in found.items()
        if status != Status.FAILED
    }


def _total(numbers: list[object]) -> int:
    """The sum of amounts, of which one may be malformed: perhaps the document failed
    for that."""
    return sum(number for number in numbers if isinstance(number, int))
