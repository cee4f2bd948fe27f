"""Void: an admin decides that a combat will never be applied. Final."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import redis
from django.db import Error
from django.db.models.functions import Now

from combat_history.actions import audit
from combat_history.actions.audit import Act, Outcome
from combat_history.models import CombatHistory, ReplayRequest, Status
from persistence.belts.reservations import release
from persistence.contract import redis_keys
from persistence.contract.events import EventKind
from persistence.worker import events, inbox, rings, sql
from persistence.worker.events import NewEvent
from persistence.worker.transactions import open_cursor

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)

PERMISSION = "combat_history.void_combat"
VERB, TARGET = "void", "combat"
MAX_COMBATS = 500


@dataclass(frozen=True, slots=True)
class Voided:
    """The result. `skipped`: combats that stay, with their status ("" = no row)."""

    voided: list[UUID]
    skipped: dict[UUID, str]


def void(session_ids: Sequence[UUID], *, actor: User, reason: str) -> Voided:
    """Void pending and failed combats; others are skipped, each with an audit entry.

    One transaction: locks the rows by session id, moves them, refuses their queued
    replays and releases their belts. A worker that holds one of them finds it terminal.
    Raises PermissionDenied, audited; ValueError for a reason or a number out of bounds;
    the database's own error, audited, with nothing changed.
    """
    session_ids = sorted(set(session_ids))
    ids = [str(pk) for pk in session_ids]
    if len(session_ids) > MAX_COMBATS:
        raise ValueError(f"{len(session_ids)} combats; at most {MAX_COMBATS} at a time")
    if not actor.has_perm(PERMISSION):
        audit.deny(actor, VERB, TARGET, ids, reason)
    reason = audit.checked_reason(reason)
    try:
        voided = _void(session_ids, actor, reason)
    except Error as error:
        audit.record_failure(actor, VERB, TARGET, ids, reason, error)
        raise
    _forget(voided.voided)
    rings.ring_for_events()
    return voided


def _void(session_ids: Sequence[UUID], actor: User, reason: str) -> Voided:
    with open_cursor() as cursor:
        # In the order in which the workers lock them.
        rows = {
            row[0]: row[1:]
            for row in CombatHistory.objects.filter(pk__in=session_ids)
            .order_by("session_id")
            .select_for_update(no_key=True)
            .values_list(
                "session_id", "settlement_status", "failure_code", "participant_ids"
            )
        }
        open_ones = {
            pk: row
            for pk, row in rows.items()
            if row[0] in (Status.PENDING, Status.FAILED)
        }
        CombatHistory.objects.filter(pk__in=open_ones).update(
            settlement_status=Status.VOIDED
        )
        ReplayRequest.objects.filter(
            session_id__in=open_ones, state=ReplayRequest.State.QUEUED
        ).update(state=ReplayRequest.State.REFUSED, detail="voided", finished_at=Now())
        # Locks the owners of the belts: after the history rows, as everybody does.
        release(cursor, open_ones)
        skipped = {
            pk: rows[pk][0] if pk in rows else ""
            for pk in session_ids
            if pk not in open_ones
        }
        acts = [
            Act(
                str(pk),
                Outcome.DONE,
                f"was {status} ({code})" if code else f"was {status}",
                before={"settlement_status": status, "failure_code": code},
                after={"settlement_status": Status.VOIDED},
            )
            for pk, (status, code, _) in open_ones.items()
        ]
        acts += [
            Act(str(pk), Outcome.SKIPPED, status or "unknown")
            for pk, status in skipped.items()
        ]
        sql.run(cursor.connection, [events.record(_events(open_ones))])
        audit.record(actor, VERB, TARGET, acts, reason)
    return Voided(list(open_ones), skipped)


def _events(combats: Mapping[UUID, Sequence[Any]]) -> Iterator[NewEvent]:
    for pk, (status, code, character_ids) in combats.items():
        body = {"was": status, "code": code}
        yield NewEvent(EventKind.VOIDED, pk, character_ids, body)


def _forget(session_ids: Sequence[UUID]) -> None:
    """Take from Redis what it would still tell; where this fails, it expires."""
    if not session_ids:
        return
    try:
        # A finished session whose document still waits reads as "being credited".
        inbox.client().delete(
            *map(redis_keys.tombstone, session_ids),
            *map(redis_keys.session, session_ids),
        )
    except redis.RedisError:
        logger.warning("what Redis tells of voided combats stays until it expires")
