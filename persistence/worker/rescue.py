"""Hands off results that were found in `cs:`; unusable ones become rows for people."""

from __future__ import annotations

import logging
from uuid import UUID

from django.conf import settings

from combat_history.models import CombatHistory
from persistence.contract import redis_keys
from persistence.contract.document import digest
from persistence.contract.errors import FailureCode, PayloadInvalid
from persistence.contract.signing import SIGNATURE_FIELD, as_signature
from persistence.engine.handoff import unchecked
from persistence.protocols import Delivery
from persistence.worker import inbox, rejected
from persistence.worker.transactions import open_cursor

logger = logging.getLogger(__name__)


def hand_off(session_id: UUID, raw: bytes) -> bool:
    """Hand an unsent result off; what is not usable is kept as a row instead."""
    if CombatHistory.objects.filter(pk=session_id).exists():
        return False
    try:
        handoff = unchecked(raw, settings.SETTLEMENT_MAX_DOCUMENT_BYTES)
        if handoff.session_id != session_id:
            raise PayloadInvalid.single(
                FailureCode.BAD_SESSION_ID, "session_id", f"is not {session_id}"
            )
    except PayloadInvalid as error:
        logger.error(
            "unsent result is not usable",
            extra={"session_id": session_id, "code": error.code},
        )
        reject(session_id, raw, error)
        # Kept by now: left there, it would be found by every sweep.
        inbox.client().hdel(redis_keys.session(session_id), "result")
        return False
    # Beside the result, by whoever left it there.
    signature = inbox.client().hget(redis_keys.session(session_id), SIGNATURE_FIELD)
    text = signature.decode("ascii", "replace") if signature else ""  # type: ignore[union-attr]
    inbox.record(handoff.signed(as_signature(text)))
    return True


def reject(session_id: UUID, raw: bytes, error: PayloadInvalid) -> None:
    """Keep, as a row that people see, what no history row can be made of."""
    with open_cursor() as cursor:
        rejected.reject(cursor, Delivery(session_id, raw, digest(raw)), error)
