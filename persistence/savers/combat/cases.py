"""Reads deliveries into cases: what a row would hold, and what is to be settled.

Pure: a document is judged from its bytes alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic_core import PydanticSerializationError, to_json

from persistence.contract.document import (
    Document,
    canonical_json,
    digest,
    parse_document,
    refused_keys,
    repeated_keys,
    unstorable,
)
from persistence.contract.errors import DomainFailure, FailureCode, PayloadInvalid
from persistence.contract.fight_log import compress, write
from persistence.contract.identity import identity
from persistence.contract.meta import MAX_FUTURE_SECONDS
from persistence.contract.payload import (
    CombatResultPayload,
    player_ids,
    session_id_of,
    validate,
)
from persistence.engine.handoff import in_the_future
from persistence.protocols import Delivery
from persistence.worker.rejected import Rejected

_OF_ONE = re.compile(r"(?<=^participants\.)[^.]+|(?<=\.)\d+(?=\.|$)")
"""What tells one player, or one entry of a list, from another in a fault's path."""


@dataclass(slots=True)
class Case:
    """One document on its way into a row. Exactly one of payload, failure is set."""

    session_id: UUID
    document: Document
    sha256: str
    text: str
    """The document without replay_log, as JSON that jsonb accepts."""
    raw: bytes | None
    """The exact bytes, only where jsonb refuses them or would keep half of them."""
    fight_log: bytes | None
    participants: list[int]
    finished_at: datetime
    received_at: datetime
    payload: CombatResultPayload | None
    failure: DomainFailure | None
    revision: int = 1
    fail_on_shortage: bool | None = None
    fingerprint: str | None = None
    is_approved: bool = False
    roster: bytes | None = None


def read_delivery(delivery: Delivery, now: datetime) -> Case | Rejected:
    """A delivery whose session has no row yet.

    `now` stands in for an unknown time of the receipt; no clock of a worker is one.
    """
    if delivery.raw is None:
        return lost(delivery.session_id)
    try:
        read = delivery.read
        document = read.document if read else parse_document(delivery.raw)
        if not _names(document, delivery.session_id):
            raise PayloadInvalid.single(
                FailureCode.BAD_SESSION_ID,
                "session_id",
                f"is not {delivery.session_id}",
            )
    except PayloadInvalid as error:
        return Rejected(
            delivery.session_id,
            delivery.sha256 or digest(delivery.raw),
            error.code,
            error.errors,
            delivery.raw,
        )
    return read_document(
        document,
        delivery.raw,
        session_id=delivery.session_id,
        sha256=delivery.sha256,
        received_at=delivery.accepted_at or now,
        payload=read.payload if read else None,
    )


def _names(document: Document, session_id: UUID) -> bool:
    # Nearly always in canonical form, which need not be read.
    is_canonical = document.get("session_id") == str(session_id)
    return is_canonical or session_id_of(document) == session_id


def read_document(
    document: Document,
    raw: bytes,
    *,
    session_id: UUID,
    sha256: str | None,
    received_at: datetime,
    payload: CombatResultPayload | None = None,
) -> Case:
    """`raw` is what the document was parsed from, `payload` what it was validated as.

    A fight that ends long after `received_at` fails. That is a time of the door, so
    that whoever judges says the same, whenever it is.
    """
    stored = {key: value for key, value in document.items() if key != "replay_log"}
    text, fight_log, reason = _texts(document, stored, raw)
    payload, failure = _judge(document, payload, session_id, reason, received_at)
    if reason is not None:
        text = to_json({"session_id": str(session_id), "unstorable": reason})
    return Case(
        session_id=session_id,
        document=document,
        sha256=sha256 or identity(document),
        text=text.decode(),
        raw=raw if reason is not None else None,
        fight_log=compress(fight_log)
        if fight_log is not None and reason is None
        else None,
        participants=player_ids(document),
        finished_at=payload.finished_at
        if payload
        else _finished_at(document, received_at),
        received_at=received_at,
        payload=payload,
        failure=failure,
    )


def _texts(
    document: Document, stored: Document, raw: bytes
) -> tuple[bytes, bytes | None, str | None]:
    """JSON of the stored part and of the fight log; why no row can hold the whole."""
    fight_log = write(document["replay_log"]) if "replay_log" in document else None
    try:
        text = to_json(stored)
        reason = unstorable(text, stored)
    except PydanticSerializationError:
        # A lone surrogate: Python writes it, so that the reason can be told.
        text = canonical_json(stored)
        reason = unstorable(text, stored)
    # Of a key that stands twice jsonb would keep the last value: half a document.
    if reason is None:
        written = text if fight_log is None else b'%b"replay_log"%b' % (text, fight_log)
        if repeated := repeated_keys(raw, written):
            reason = _detail(refused_keys(repeated))
    return text, fight_log, reason


def read_row(row: Sequence[Any]) -> Case:
    """A pending row of LOCK_HISTORY: the row's document is the truth.

    What PostgreSQL's clock has left behind since it was received is no future any more.
    """
    session_id, _, sha256, raw, revision, text, finished_at, *_, code, judged_at = row
    source = raw if raw is not None else text.encode()
    try:
        document, fault = parse_document(source), None
    except PayloadInvalid as error:
        document, source, fault = {}, b"{}", error
    case = read_document(
        document, source, session_id=session_id, sha256=sha256, received_at=judged_at
    )
    if fault is not None and fault.code == FailureCode.INVALID_PAYLOAD:
        case.failure = _failure(session_id, fault)
    case.revision = revision
    # A pending row keeps why it failed: nobody but a person has it settled again.
    case.is_approved = code == FailureCode.HELD_FOR_REVIEW
    # Not written again: combat_replay has it, or the row's own document.
    case.fight_log = None
    # The row's time is part of its identity, and orders the combats.
    case.finished_at = finished_at
    return case


def object_in(source: bytes) -> Document:
    """An empty one of a row that somebody wrote by hand, and that holds none."""
    try:
        return parse_document(source)
    except PayloadInvalid:
        return {}


def is_early(document: Document, received_at: datetime) -> bool:
    """Whether the fight ends long after it was received, by the clock of the door."""
    ended = _finished_at(document, received_at)
    return (ended - received_at).total_seconds() > MAX_FUTURE_SECONDS


def lost(session_id: UUID) -> Rejected:
    return Rejected(
        session_id,
        None,
        str(FailureCode.PAYLOAD_LOST),
        [{"path": "", "message": "an inbox entry had neither a document nor a row"}],
        None,
    )


def conflict(session_id: UUID, sha256: str | None, raw: bytes | None) -> Rejected:
    return Rejected(
        session_id,
        sha256,
        str(FailureCode.PAYLOAD_CONFLICT),
        [{"path": "", "message": "another document was accepted for this session"}],
        raw,
    )


def _judge(
    document: Document,
    payload: CombatResultPayload | None,
    session_id: UUID,
    reason: str | None,
    received_at: datetime,
) -> tuple[CombatResultPayload | None, DomainFailure | None]:
    if reason is not None:
        code = str(FailureCode.INVALID_PAYLOAD)
        return None, DomainFailure(str(session_id), code, reason)
    try:
        payload = payload or validate(document)
        if payload.session_id != session_id:
            raise PayloadInvalid.single(
                FailureCode.BAD_SESSION_ID, "session_id", f"is not {session_id}"
            )
        if is_early(document, received_at):
            raise in_the_future()
    except PayloadInvalid as error:
        return None, _failure(session_id, error)
    return payload, None


def _failure(session_id: UUID, error: PayloadInvalid) -> DomainFailure:
    """Its subject is the place of the first fault, whoever of the players has it."""
    place = _OF_ONE.sub("*", error.errors[0]["path"])
    return DomainFailure(str(session_id), error.code, _detail(error), place)


def _detail(error: PayloadInvalid) -> str:
    return "\n".join(f"{e['path']}: {e['message']}" for e in error.errors)


def _finished_at(document: Document, fallback: datetime) -> datetime:
    """The time an invalid document claims, where it is usable."""
    meta = document.get("meta")
    stamp = meta.get("end_timestamp") if isinstance(meta, dict) else None
    if not isinstance(stamp, int) or isinstance(stamp, bool):
        return fallback
    try:
        claimed = datetime.fromtimestamp(stamp, UTC)
    except (OverflowError, ValueError, OSError):
        return fallback
    return claimed if claimed.timestamp() > 0 else fallback
