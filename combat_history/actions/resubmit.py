"""Correct and resubmit: what was rejected is handed over again, as it should have been.

Through the door that every result comes through: the inbox judges, the workers settle.
The rejected payload stays as it was received.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis
from django.conf import settings
from django.db import Error, transaction

from combat_history import audit
from combat_history.audit import Act, Outcome
from combat_history.models import CombatHistory, RejectedPayload
from persistence import inbox
from persistence.handoff import Handoff, Receipt, checked
from persistence.tasks import send_ring

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PERMISSION = "combat_history.correct_combat"
VERB, TARGET = "resubmit", "rejected"


class NotResubmittable(Exception):
    """The session has a result: that one stands, whatever was sent beside it."""

    def __init__(self, session_id: str) -> None:
        super().__init__(session_id)
        self.session_id = session_id

    def __str__(self) -> str:
        return (
            f"combat {self.session_id} has a result, which stands; if that one failed, "
            "correct it on its own page"
        )


def check(text: str) -> Handoff:
    """The document as it would be handed over. Reads only.

    Raises PayloadInvalid with every fault; NotResubmittable.
    """
    raw = text.encode("utf-8", "surrogatepass")
    handoff = checked(raw, settings.SETTLEMENT_MAX_DOCUMENT_BYTES)
    if CombatHistory.objects.filter(pk=handoff.session_id).exists():
        raise NotResubmittable(str(handoff.session_id))
    return handoff


def resubmit(rejected_id: int, text: str, *, actor: User, reason: str) -> Receipt:
    """Hand a corrected document over; the answer is the inbox's.

    The audit entry and the hand-off stand or fall together, but for a commit that is
    lost after it: the inbox then has a document of which no entry tells, and the same
    call again is a duplicate, with an entry.

    Raises PermissionDenied, audited; ValueError for a reason; PayloadInvalid;
    NotResubmittable; RejectedPayload.DoesNotExist; the error of Redis or the database,
    audited where it still can be.
    """
    ids = [str(rejected_id)]
    if not actor.has_perm(PERMISSION):
        audit.deny(actor, VERB, TARGET, ids, reason)
    reason = audit.checked_reason(reason)
    try:
        with transaction.atomic(durable=True):
            receipt, to_ring = _resubmit(rejected_id, text, actor, reason)
    except (Error, redis.RedisError) as error:
        audit.record_failure(actor, VERB, TARGET, ids, reason, error)
        raise
    if to_ring:
        # The script has pressed the doorbell for whoever called it.
        send_ring()
    return receipt


def _resubmit(
    rejected_id: int, text: str, actor: User, reason: str
) -> tuple[Receipt, bool]:
    # One at a time: a double click is answered as the duplicate that it is.
    row = RejectedPayload.objects.select_for_update().get(pk=rejected_id)
    handoff = check(text)
    receipt, to_ring = inbox.record(handoff)
    done = receipt in (Receipt.ACCEPTED, Receipt.DUPLICATE)
    act = Act(
        str(rejected_id),
        Outcome.DONE if done else Outcome.SKIPPED,
        f"{receipt}: combat {handoff.session_id}",
        before={"sha256": row.payload_sha256},
        after={"sha256": handoff.sha256, "session_id": str(handoff.session_id)},
    )
    audit.record(actor, VERB, TARGET, [act], reason)
    return receipt, to_ring
