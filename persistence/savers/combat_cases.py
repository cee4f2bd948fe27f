"""Read deliveries into cases: what a row would hold, and what is to be applied.

Pure: a document is judged from its bytes alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic_core import PydanticSerializationError, to_json

from persistence.document import (
    Document,
    canonical_json,
    digest,
    parse_document,
    unstorable,
)
from persistence.errors import DomainFailure, FailureCode, PayloadInvalid
from persistence.payload import (
    CombatResultPayload,
    player_ids,
    session_id_of,
    validate,
)
from persistence.protocols import Delivery
from persistence.replay_log import pack


@dataclass(slots=True)
class Case:
    """One document on its way into a row. Exactly one of payload, failure is set."""

    session_id: UUID
    document: Document
    sha256: str
    text: str
    """The document without replay_log, as JSON that jsonb accepts."""
    raw: bytes | None
    """The exact bytes, only where jsonb refuses them."""
    replay: bytes | None
    participants: list[int]
    finished_at: datetime
    received_at: datetime
    payload: CombatResultPayload | None
    failure: DomainFailure | None
    revision: int = 1
    fail_on_shortage: bool | None = None
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """What cannot become a history row."""

    session_id: UUID | None
    sha256: str | None
    code: str
    errors: list[dict[str, str]]
    raw: bytes | None


def read_delivery(delivery: Delivery, now: datetime) -> Case | Rejected:
    """A delivery whose session has no row yet. `now` stands in for unknown times."""
    if delivery.raw is None:
        return lost(delivery.session_id)
    try:
        document = parse_document(delivery.raw)
        if session_id_of(document) != delivery.session_id:
            raise PayloadInvalid.of(
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
    )


def read_document(
    document: Document,
    raw: bytes,
    *,
    session_id: UUID,
    sha256: str | None,
    received_at: datetime,
) -> Case:
    stored = {key: value for key, value in document.items() if key != "replay_log"}
    try:
        text = to_json(stored)
        reason = unstorable(text, stored)
    except PydanticSerializationError:
        lone = unstorable(canonical_json(stored), stored)
        reason = lone or "it is nested too deeply"
    payload, failure = _judge(document, session_id, reason)
    if reason is not None:
        text = to_json({"session_id": str(session_id), "unstorable": reason})
    return Case(
        session_id=session_id,
        document=document,
        sha256=sha256 or digest(canonical_json(document)),
        text=text.decode(),
        raw=raw if reason is not None else None,
        replay=_replay(document) if reason is None else None,
        participants=player_ids(document),
        finished_at=payload.finished_at
        if payload
        else _finished_at(document, received_at),
        received_at=received_at,
        payload=payload,
        failure=failure,
    )


def read_row(row: Sequence[Any], now: datetime) -> Case:
    """A pending row of LOCK_HISTORY: the row's document is the truth."""
    session_id, _, sha256, raw, revision, text, finished_at, *_ = row
    source = raw if raw is not None else text.encode()
    case = read_document(
        object_in(source),
        source,
        session_id=session_id,
        sha256=sha256,
        received_at=now,
    )
    case.revision = revision
    case.replay = None
    # The row's time is part of its identity, and orders the combats.
    case.finished_at = finished_at
    return case


def object_in(source: bytes) -> Document:
    """An empty one of a row that somebody wrote by hand, and that holds none."""
    try:
        return parse_document(source)
    except PayloadInvalid:
        return {}


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
    document: Document, session_id: UUID, reason: str | None
) -> tuple[CombatResultPayload | None, DomainFailure | None]:
    if reason is not None:
        code = str(FailureCode.INVALID_PAYLOAD)
        return None, DomainFailure(str(session_id), code, reason)
    try:
        payload = validate(document)
        if payload.session_id != session_id:
            raise PayloadInvalid.of(
                FailureCode.BAD_SESSION_ID, "session_id", f"is not {session_id}"
            )
    except PayloadInvalid as error:
        detail = "\n".join(f"{e['path']}: {e['message']}" for e in error.errors)
        return None, DomainFailure(str(session_id), error.code, detail)
    return payload, None


def _replay(document: Document) -> bytes | None:
    return pack(document["replay_log"]) if "replay_log" in document else None


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
