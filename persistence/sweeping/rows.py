"""Pending rows past their due time that the inbox does not hold."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from combat_history.models import CombatHistory, Status
from persistence import inbox, redis_keys
from persistence.errors import PayloadInvalid
from persistence.handoff import Handoff, unchecked

LIMIT = 1000
"""Rows put back by one sweep: the next one takes the next."""

PENDING_GRACE = timedelta(seconds=5)
"""A receipt just committed may be on its way into the inbox."""


def return_pending() -> int:
    stuck = CombatHistory.objects.filter(
        settlement_status=Status.PENDING, due_at__lt=timezone.now() - PENDING_GRACE
    ).order_by("due_at")
    return sum(map(_return, stuck[:LIMIT]))


def _return(row: CombatHistory) -> int:
    client = inbox.client()
    if client.zscore(redis_keys.INBOX, str(row.session_id)) is not None:
        return 0
    if not client.hexists(redis_keys.result(row.session_id), "sha256"):
        # Redis was away when it was received, or emptied since: the hand-off is still
        # owed, with all it does for cs: and ac:.
        handoff = _handoff_of(row)
        if handoff is not None:
            inbox.record(handoff)
            return 1
    return inbox.put([row.session_id])


def _handoff_of(row: CombatHistory) -> Handoff | None:
    """None for a row whose document cannot pass the door again."""
    if row.raw_payload is not None:
        return None
    try:
        handoff = unchecked(row.document(), settings.SETTLEMENT_MAX_DOCUMENT_BYTES)
    except PayloadInvalid:
        return None
    return handoff if handoff.session_id == row.session_id else None
