"""Which document of a session an engine has signed, and how it takes its place.

Nobody else can sign one. What is not signed is recorded as failed and never applied; it
must not keep the signed one out either, whichever of them came first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from persistence.contract.document import digest
from persistence.contract.errors import DomainFailure, FailureCode
from persistence.contract.signing import EngineKeys
from persistence.protocols import Delivery
from persistence.savers.combat import conflicts, statements
from persistence.savers.combat.cases import Case, conflict, read_delivery
from persistence.worker import rejected, sql

if TYPE_CHECKING:
    from psycopg import Cursor

SIGNED_REVISION = 2
"""A person who has corrected an unsigned document has decided about the combat."""


def signed(delivery: Delivery, keys: EngineKeys) -> Delivery | None:
    """The delivery with the document that an engine has signed in the first place.

    None where there is none. Without keys every document counts as signed, and what
    only a row holds was judged when it was written.
    """
    raw = delivery.raw
    if raw is None and not delivery.conflicts:
        return delivery
    if raw is not None and keys.verify(raw, delivery.signature):
        return delivery
    for name, body in delivery.conflicts.items():
        sha256, _, signature = name.partition(":")
        if keys and keys.verify(body, signature):
            others = {k: v for k, v in delivery.conflicts.items() if k != name}
            if raw is not None:
                others[digest(raw)] = raw
            return replace(
                delivery,
                raw=body,
                sha256=sha256,
                signature=signature,
                conflicts=others,
                read=None,
            )
    return None if raw is not None and keys else delivery


def unsigned(case: Case) -> Case:
    """The case as it is recorded, failed and with nothing to apply."""
    case.payload = None
    case.failure = DomainFailure(
        str(case.session_id),
        str(FailureCode.BAD_SIGNATURE),
        "no engine's key has signed these bytes",
    )
    return case


def is_unsigned(row: Sequence[Any]) -> bool:
    """Of a row of LOCK_HISTORY: whether it failed for want of a signature."""
    status, revision, code = row[1], row[4], row[9]
    is_failed = (status, code) == ("failed", FailureCode.BAD_SIGNATURE)
    return is_failed and bool(revision < SIGNED_REVISION)


def reopen(cursor: Cursor[sql.Row], delivery: Delivery, row: Sequence[Any]) -> None:
    """Let the signed document of a delivery be settled in a row that failed unsigned.

    One that breaks the contract stays beside the row, for people to see.
    """
    others = conflicts.beside_row(cursor, replace(delivery, conflicts={}), row[2] or "")
    if not others:
        cursor.execute(statements.REOPEN, [None, None, delivery.session_id])
        return
    case = read_delivery(delivery, row[10])
    if isinstance(case, Case) and case.payload is not None:
        case.finished_at = row[6]
        _revise(cursor, delivery, case)


def _revise(cursor: Cursor[sql.Row], delivery: Delivery, case: Case) -> None:
    session_id, players = case.session_id, sql.array(case.participants)
    key_id = (delivery.signature or "").partition(":")[0]
    author = f"engine key {key_id}"
    cursor.execute(
        statements.INSERT_REVISION,
        [session_id, SIGNED_REVISION, case.text, case.sha256, author],
    )
    cursor.execute(statements.REOPEN, [SIGNED_REVISION, players, session_id])
    cursor.execute(
        statements.DELETE_PARTICIPANTS, [session_id, case.finished_at, players]
    )
    if case.fight_log is not None:
        # That of the row belongs to the first document, and both are immutable.
        words = f"settled as revision {SIGNED_REVISION}; its fight log is here alone"
        kept = conflict(session_id, case.sha256, delivery.raw)
        rejected.keep(cursor, replace(kept, errors=[{"path": "", "message": words}]))
