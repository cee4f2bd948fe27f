"""CleanupStateSaver: what was lost or stuck goes back through the same doors."""

from __future__ import annotations

import logging
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from combat_history.models import CombatHistory, Status
from persistence import drain, inbox, redis_keys
from persistence.document import digest
from persistence.errors import FailureCode, PayloadInvalid
from persistence.handoff import Handoff, unchecked
from persistence.protocols import Delivery

logger = logging.getLogger(__name__)

SWEEP_LIMIT = 1000
"""Rows put back by one sweep: the next one takes the next."""

PENDING_GRACE = timedelta(seconds=5)
"""A receipt just committed may be on its way into the inbox."""


class CleanupStateSaver:
    """Finds lost work; settles nothing itself. Harmless to run twice at once."""

    def sweep(self) -> dict[str, int]:
        """One pass; how many of each kind were put back."""
        return {
            "pending_returned": self._return_pending(),
            "results_handed_off": self._hand_off_unsent(),
        }

    def _return_pending(self) -> int:
        """Pending rows past their due time that the inbox does not hold."""
        stuck = CombatHistory.objects.filter(
            settlement_status=Status.PENDING, due_at__lt=timezone.now() - PENDING_GRACE
        ).order_by("due_at")
        return sum(map(self._return, stuck[:SWEEP_LIMIT]))

    def _return(self, row: CombatHistory) -> int:
        client = inbox.client()
        if client.zscore(redis_keys.INBOX, str(row.session_id)) is not None:
            return 0
        if not client.hexists(redis_keys.result(row.session_id), "sha256"):
            # Redis was away when it was received, or emptied since: the hand-off is
            # still owed, with all it does for cs: and ac:.
            handoff = self._handoff_of(row)
            if handoff is not None:
                inbox.record(handoff)
                return 1
        return inbox.put([row.session_id])

    def _handoff_of(self, row: CombatHistory) -> Handoff | None:
        """None for a row whose document cannot pass the door again."""
        if row.raw_payload is not None:
            return None
        try:
            handoff = unchecked(row.document(), settings.SETTLEMENT_MAX_DOCUMENT_BYTES)
        except PayloadInvalid:
            return None
        return handoff if handoff.session_id == row.session_id else None

    def _hand_off_unsent(self) -> int:
        """Finished sessions whose `result` net was never handed off."""
        client = inbox.client()
        handed = 0
        for key in client.scan_iter(
            match=f"{redis_keys.SESSION_PREFIX}*", count=1000, _type="hash"
        ):
            status, raw = client.hmget(key, ["status", "result"])
            session_id = _session_of(key)
            if session_id and status == b"finished" and isinstance(raw, bytes):
                handed += self._hand_off(session_id, raw)
        return handed

    def _hand_off(self, session_id: UUID, raw: bytes) -> int:
        if (
            inbox.client().hexists(redis_keys.result(session_id), "sha256")
            or CombatHistory.objects.filter(pk=session_id).exists()
        ):
            return 0
        try:
            handoff = unchecked(raw, settings.SETTLEMENT_MAX_DOCUMENT_BYTES)
            if handoff.session_id != session_id:
                raise PayloadInvalid.of(
                    FailureCode.BAD_SESSION_ID, "session_id", f"is not {session_id}"
                )
        except PayloadInvalid as error:
            self._reject(session_id, raw, error)
            return 0
        inbox.record(handoff)
        return 1

    def _reject(self, session_id: UUID, raw: bytes, error: PayloadInvalid) -> None:
        """Keep the bytes as a row, then take them out of the next sweep's way."""
        logger.error(
            "unsent result is not usable",
            extra={"session_id": session_id, "code": error.code},
        )
        with drain.open_saver() as (saver, _):
            saver.reject(Delivery(session_id, raw, digest(raw)), error)
        inbox.client().hdel(redis_keys.session(session_id), "result")


def _session_of(key: bytes) -> UUID | None:
    """None for a foreign key that only begins like a session's."""
    try:
        return UUID(key.decode().removeprefix(redis_keys.SESSION_PREFIX))
    except ValueError:
        return None
