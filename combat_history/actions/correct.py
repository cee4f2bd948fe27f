"""Correct and replay: a new revision of a failed combat's document.

The original stays as it was received. The revision carries its author, the reason and
the difference, and is what the settlement reads from then on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import Error, connection, transaction

from combat_history.actions import audit
from combat_history.actions.audit import Act, Outcome
from combat_history.models import (
    CombatHistory,
    CombatParticipant,
    CombatRevision,
    Status,
)
from persistence.contract.document import Document, canonical_json, unstorable
from persistence.contract.errors import FailureCode, PayloadInvalid
from persistence.contract.events import EventKind
from persistence.contract.identity import identity
from persistence.contract.payload import player_ids, session_id_of, validate
from persistence.worker import events, rings, sql
from persistence.worker.events import NewEvent

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PERMISSION = "combat_history.correct_combat"
VERB, TARGET = "correct", "combat"
MAX_REVISION = 1000
ABSENT = object()


class NotCorrectable(Exception):
    """The combat is not failed (any more), or there is none."""

    def __init__(self, session_id: str, status: str) -> None:
        super().__init__(session_id, status)
        self.session_id = session_id
        self.status = status

    def __str__(self) -> str:
        return f"combat {self.session_id} is {self.status or 'not in the history'}"


class NothingToCorrect(ValueError):
    """The document says what the one that stands says."""


def standing_document(session_id: UUID) -> Document:
    """The document that would be settled now, without the fight log.

    Raises NotCorrectable.
    """
    combat = CombatHistory.objects.filter(pk=session_id).first()
    if combat is None:
        raise NotCorrectable(str(session_id), "")
    return _standing(combat)


def check(session_id: UUID, document: Document) -> list[dict[str, Any]]:
    """The difference to what stands.

    Raises PayloadInvalid with every fault; NothingToCorrect where there is none.
    A correction keeps the session and the moment of the fight, which order all others,
    and leaves the fight log to the original.
    """
    standing = standing_document(session_id)
    found = list(difference(standing, document))
    canonical = canonical_json(document)
    if not found or canonical == canonical_json(standing):
        raise NothingToCorrect("nothing to correct")
    why = unstorable(canonical, document)
    if why:
        raise PayloadInvalid.single(FailureCode.INVALID_PAYLOAD, "", why)
    validate(document)
    faults = [
        {"path": path, "message": "a correction keeps it as it is"}
        for path, before, after in (
            ("session_id", session_id, session_id_of(document)),
            ("meta.end_timestamp", _moment(standing), _moment(document)),
        )
        if before != after
    ]
    if "replay_log" in document:
        faults.append({"path": "replay_log", "message": "is kept from the original"})
    if faults:
        raise PayloadInvalid(str(FailureCode.INVALID_PAYLOAD), faults)
    return found


def correct(
    session_id: UUID, document: Document, *, actor: User, reason: str
) -> CombatRevision:
    """Write the next revision of a failed combat. It settles nothing: replay it then.

    One transaction: locks the row, writes revision and audit entry, and moves the row
    to that revision. Raises PermissionDenied, audited; ValueError for a reason;
    PayloadInvalid; NothingToCorrect; NotCorrectable; the database's own error, audited.
    """
    if not actor.has_perm(PERMISSION):
        audit.deny(actor, VERB, TARGET, [str(session_id)], reason)
    reason = audit.checked_reason(reason)
    try:
        with transaction.atomic(durable=True):
            revision = _correct(session_id, document, actor, reason)
    except Error as error:
        ids = [str(session_id)]
        audit.record_failure(actor, VERB, TARGET, ids, reason, error)
        raise
    rings.ring_for_events()
    return revision


def _correct(
    session_id: UUID, document: Document, actor: User, reason: str
) -> CombatRevision:
    combat = (
        CombatHistory.objects.filter(pk=session_id)
        .select_for_update(no_key=True)
        .first()
    )
    status = combat.settlement_status if combat is not None else ""
    if combat is None or status != Status.FAILED or combat.revision >= MAX_REVISION:
        raise NotCorrectable(str(session_id), status)
    diff = check(session_id, document)
    revision = CombatRevision.objects.create(
        session_id=session_id,
        revision=combat.revision + 1,
        document=document,
        payload_sha256=identity(document),
        diff=diff,
        author_name=actor.get_username(),
        reason=reason,
    )
    # Of the original, for duplicates of it still come; a three-column INSERT has none.
    sha256 = combat.payload_sha256 or identity(combat.document())
    players = player_ids(document)
    CombatHistory.objects.filter(pk=session_id).update(
        revision=revision.revision, participant_ids=players, payload_sha256=sha256
    )
    CombatParticipant.objects.filter(
        session_id=session_id,
        finished_at=combat.finished_at,
        character_id__in=set(combat.participant_ids) - set(players),
    ).delete()
    CombatParticipant.objects.bulk_create(
        [
            CombatParticipant(
                character_id=char_id,
                finished_at=combat.finished_at,
                session_id=session_id,
            )
            for char_id in players
        ],
        ignore_conflicts=True,
    )
    act = Act(
        str(session_id),
        Outcome.DONE,
        f"revision {revision.revision}",
        before={"revision": combat.revision},
        after={"revision": revision.revision, "diff": diff},
    )
    audit.record(actor, VERB, TARGET, [act], reason)
    _tell(revision, players)
    return revision


def _tell(revision: CombatRevision, character_ids: list[int]) -> None:
    body = {"revision": revision.revision}
    event = NewEvent(EventKind.CORRECTED, revision.session_id, character_ids, body)
    sql.run(connection.connection, [events.record([event])])


def difference(
    before: object, after: object, path: str = ""
) -> Iterator[dict[str, Any]]:
    """Leaf by leaf: {path, before, after}, without the side on which nothing is.

    Equal JSON values do not differ: 10 is 10.0, and true is not 1.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(k for k in after if k not in before)]:
            inner = f"{path}.{key}" if path else str(key)
            yield from difference(
                before.get(key, ABSENT), after.get(key, ABSENT), inner
            )
    elif isinstance(before, list) and isinstance(after, list):
        pairs = zip_longest(before, after, fillvalue=ABSENT)
        for index, (old, new) in enumerate(pairs):
            yield from difference(old, new, f"{path}[{index}]")
    elif before != after or isinstance(before, bool) != isinstance(after, bool):
        sides = {"before": before, "after": after}
        told = {side: value for side, value in sides.items() if value is not ABSENT}
        yield {"path": path, **told}


def _standing(combat: CombatHistory) -> Document:
    revision = CombatRevision.objects.filter(
        session_id=combat.session_id, revision=combat.revision
    ).first()
    document: Document = revision.document if revision else combat.result_payload
    return document


def _moment(document: Mapping[str, Any]) -> object:
    meta = document.get("meta")
    return meta.get("end_timestamp") if isinstance(meta, dict) else None
