"""Returns pending rows to the inbox that are past due and not in it."""

from __future__ import annotations

import logging
from datetime import timedelta

import redis
from billiard.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db.models.functions import Now

from combat_history.models import CombatHistory, Status
from persistence.contract import redis_keys
from persistence.contract.errors import PayloadInvalid
from persistence.engine.handoff import Handoff, unchecked
from persistence.worker import inbox
from persistence.worker.transience import transience

logger = logging.getLogger(__name__)

LIMIT = 1000
"""Rows put back by one sweep: the next one takes the next."""

PENDING_GRACE = timedelta(seconds=5)
"""A receipt just committed may be on its way into the inbox."""


def return_pending() -> int:
    """Pending rows that the inbox has forgotten, back into it."""
    stuck = CombatHistory.objects.filter(
        # By the clock that wrote it.
        settlement_status=Status.PENDING,
        due_at__lt=Now() - PENDING_GRACE,
    ).order_by("due_at")
    return sum(map(_return_if_sound, stuck[:LIMIT]))


def _return_if_sound(row: CombatHistory) -> int:
    """A row that cannot be returned keeps none behind it from that."""
    try:
        return _return(row)
    except (redis.ConnectionError, redis.TimeoutError, SoftTimeLimitExceeded):
        raise
    except Exception as error:
        if transience(error):
            raise
        logger.exception("pending row", extra={"session_id": row.session_id})
        return 0


def _return(row: CombatHistory) -> int:
    client = inbox.client()
    if client.zscore(redis_keys.INBOX, str(row.session_id)) is not None:
        return 0
    if not inbox.is_handed_off(row.session_id):
        # Redis was away when it was received, or emptied since: the hand-off is still
        # owed, with all it does for cs: and ac:.
        handoff = _handoff_of(row)
        if handoff is not None:
            inbox.record(handoff)
            return 1
    # The settlement takes the document from the row.
    return inbox.put(
        [row.session_id], players={row.session_id: len(row.participant_ids)}
    )


def _handoff_of(row: CombatHistory) -> Handoff | None:
    """The hand-off of a row; None where its document cannot pass the door again.

    One that somebody wrote by hand may hold no object at all.
    """
    if row.raw_payload is not None or not isinstance(row.result_payload, dict):
        return None
    try:
        handoff = unchecked(row.document(), settings.SETTLEMENT_MAX_DOCUMENT_BYTES)
    except PayloadInvalid:
        return None
    return handoff if handoff.session_id == row.session_id else None
