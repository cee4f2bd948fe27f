"""Resubmits rejected payloads: corrected by a person, they are handed over again.

Through the door that every result comes through: the inbox judges, the workers settle.
The rejected payload stays as it was received.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis
from django.conf import settings
from django.db import Error, connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

from combat_history.actions import audit
from combat_history.actions.audit import Act, Outcome
from combat_history.models import CombatHistory, RejectedPayload
from persistence.contract.document import parse_document
from persistence.contract.identity import identity
from persistence.engine.handoff import Handoff, Receipt, checked, in_the_future
from persistence.worker import inbox, rings

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PERMISSION = "combat_history.correct_combat"
VERB, TARGET = "resubmit", "rejected"
MARK = ("handed_over_at", "handed_over_by", "handed_over_as", "handed_over_sha256")


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


class AlreadyHandedOver(Exception):
    """The fight would be settled, and paid, a second time under another session."""

    def __init__(self, before: list[RejectedPayload]) -> None:
        super().__init__(before)
        self.before = before

    def __str__(self) -> str:
        sessions = ", ".join(str(row.handed_over_as) for row in self.before)
        return f"handed over as combat {sessions} before"


def check(text: str) -> Handoff:
    """The document as it would be handed over. Reads only.

    Raises PayloadInvalid with every fault; NotResubmittable.
    """
    raw = text.encode("utf-8", "surrogatepass")
    handoff = checked(raw, settings.SETTLEMENT_MAX_DOCUMENT_BYTES)
    if CombatHistory.objects.filter(pk=handoff.session_id).exists():
        raise NotResubmittable(str(handoff.session_id))
    return handoff


def handed_over_before(rejected_id: int, handoff: Handoff) -> list[RejectedPayload]:
    """This payload, and others of the same fight, handed over as another session."""
    same = Q(pk=rejected_id) | Q(handed_over_sha256=_fight(handoff))
    rows = RejectedPayload.objects.filter(same, handed_over_at__isnull=False)
    others = rows.exclude(handed_over_as=handoff.session_id).order_by("handed_over_at")
    return list(others.defer("raw", "errors"))


def resubmit(
    rejected_id: int, text: str, *, actor: User, reason: str, again: bool = False
) -> Receipt:
    """Hand a corrected document over; the answer is the inbox's.

    The row is marked first: whatever becomes of the hand-off, nobody hands the fight
    over as another session without being asked; `again` says that somebody was. A mark
    of what the inbox did not want is taken back, one of an answer that was lost stays.

    Raises PermissionDenied, audited; ValueError for a reason; PayloadInvalid;
    NotResubmittable; AlreadyHandedOver; RejectedPayload.DoesNotExist; the error of
    Redis or the database, audited where it still can be.
    """
    ids = [str(rejected_id)]
    if not actor.has_perm(PERMISSION):
        audit.deny(actor, VERB, TARGET, ids, reason)
    reason = audit.checked_reason(reason)
    handoff = check(text)
    try:
        row, before = _mark(rejected_id, handoff, actor, again=again)
        receipt, to_ring = inbox.record(
            # A person's word is proven to the workers as an engine's is.
            handoff.signed(settings.SETTLEMENT_ENGINE_KEYS.sign(handoff.raw)),
            replicas=settings.SETTLEMENT_SUBMIT_REPLICAS,
        )
        _write_down(row, before, handoff, receipt, actor, reason)
        if receipt is Receipt.FUTURE:
            raise in_the_future()
    except (Error, redis.RedisError) as error:
        audit.record_failure(actor, VERB, TARGET, ids, reason, error)
        raise
    if to_ring:
        # The script has pressed the doorbell for whoever called it.
        rings.send_ring()
    return receipt


@transaction.atomic(durable=True)
def _mark(
    rejected_id: int, handoff: Handoff, actor: User, *, again: bool
) -> tuple[RejectedPayload, list[RejectedPayload]]:
    """The row as it was, and what was handed over before."""
    row = RejectedPayload.objects.select_for_update(no_key=True).get(pk=rejected_id)
    fight = _fight(handoff)
    with connection.cursor() as cursor:
        # Rows of one fight are marked one at a time, too.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [fight])
    before = handed_over_before(rejected_id, handoff)
    if before and not again:
        raise AlreadyHandedOver(before)
    RejectedPayload.objects.filter(pk=rejected_id).update(
        handed_over_at=Now(),
        handed_over_by=actor.get_username(),
        handed_over_as=handoff.session_id,
        handed_over_sha256=fight,
    )
    return row, before


@transaction.atomic(durable=True)
def _write_down(
    row: RejectedPayload,
    before: list[RejectedPayload],
    handoff: Handoff,
    receipt: Receipt,
    actor: User,
    reason: str,
) -> None:
    done = receipt in (Receipt.ACCEPTED, Receipt.DUPLICATE)
    if not done:
        marked = RejectedPayload.objects.filter(
            pk=row.pk, handed_over_as=handoff.session_id
        )
        marked.update(**{name: getattr(row, name) for name in MARK})
    again = "".join(
        f"; again, handed over as combat {other.handed_over_as} before"
        for other in before
    )
    act = Act(
        str(row.pk),
        Outcome.DONE if done else Outcome.SKIPPED,
        f"{receipt}: combat {handoff.session_id}{again}",
        before={"sha256": row.payload_sha256},
        after={"sha256": handoff.sha256, "session_id": str(handoff.session_id)},
    )
    audit.record(actor, VERB, TARGET, [act], reason)


def _fight(handoff: Handoff) -> str:
    """The identity of a document whatever session id it is given."""
    document = parse_document(handoff.raw)
    del document["session_id"]
    return identity(document)
