"""What the hand-off script is given, for every door: engine, task, HTTP.

Imports without Django. A hand-off is idempotent: the same document may be recorded
again at any time, by anyone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic_core import PydanticSerializationError, to_json

from persistence import redis_keys
from persistence.document import (
    MAX_DOCUMENT_BYTES,
    Document,
    canonical_json,
    digest,
    parse_document,
    unstorable,
)
from persistence.errors import FailureCode, PayloadInvalid
from persistence.payload import (
    CombatResultPayload,
    session_id_of,
    validate,
)

_SAFE_DEPTH = 200
"""pydantic's JSON writer goes a little deeper."""


class Receipt(StrEnum):
    """The arbiter's answer."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    """Accepted before with the same document; harmless."""
    CONFLICT = "conflict"
    REFUSED = "refused"
    """Of a forced save: the combat runs after all, or its real result is known."""


@dataclass(frozen=True, slots=True)
class Handoff:
    """One document and everything the script needs to record it."""

    session_id: UUID
    raw: bytes
    sha256: str
    keys: list[str]
    args: list[Any]


@dataclass(frozen=True, slots=True)
class _Document:
    """A document in the three forms that a hand-off needs."""

    parsed: Document
    raw: bytes
    canonical: bytes


def _read(
    payload: CombatResultPayload | Document | str | bytes | None, max_bytes: int
) -> _Document:
    """A payload in any form an engine may hold; PayloadInvalid where it is none."""
    if isinstance(payload, CombatResultPayload):
        payload = payload.document()
    if isinstance(payload, dict):
        canonical = canonical_json(payload)
        _refuse_too_large(canonical, max_bytes)
        return _Document(payload, canonical, canonical)
    if isinstance(payload, str):
        payload = payload.encode("utf-8", "surrogatepass")
    if isinstance(payload, bytes):
        _refuse_too_large(payload, max_bytes)
        document = parse_document(payload)
        return _Document(document, payload, canonical_json(document))
    raise PayloadInvalid.of(
        FailureCode.NOT_AN_OBJECT,
        "",
        f"expected a JSON object or its text, got {type(payload).__name__}",
    )


def checked(
    payload: CombatResultPayload | Document | str | bytes,
    max_bytes: int = MAX_DOCUMENT_BYTES,
) -> Handoff:
    """A hand-off of a document that keeps the contract.

    Raises PayloadInvalid with every fault; nothing is recorded then.
    """
    return _validated(_read(payload, max_bytes))


def unchecked(
    payload: Document | str | bytes | None, max_bytes: int = MAX_DOCUMENT_BYTES
) -> Handoff:
    """A hand-off of a document that may break the contract: its row will say so.

    Raises PayloadInvalid only where no row can be: no object, no session id, too large.
    """
    document = _read(payload, max_bytes)
    session_id = session_id_of(document.parsed)
    try:
        return _validated(document)
    except PayloadInvalid:
        return _handoff(document, session_id, int(time.time()), {})


def forced(document: Document, silent_since_ms: int) -> Handoff:
    """A hand-off that counts only if the combat has been silent since then.

    Raises PayloadInvalid like `checked`.
    """
    raw = canonical_json(document)
    return _validated(_Document(document, raw, raw), silent_since_ms)


def _refuse_too_large(raw: bytes, max_bytes: int) -> None:
    if len(raw) > max_bytes:
        raise PayloadInvalid.of(
            FailureCode.TOO_LARGE, "", f"{len(raw)} bytes; at most {max_bytes}"
        )


def _validated(document: _Document, silent_since_ms: int | None = None) -> Handoff:
    model = validate(document.parsed)
    reason = unstorable(document.canonical, document.parsed)
    if reason is None and not _serializable(document):
        reason = "it is nested too deeply"
    if reason is not None:
        raise PayloadInvalid.of(FailureCode.INVALID_PAYLOAD, "", reason)
    snapshots = {
        char_id: result.state_snapshot for char_id, result in model.players().items()
    }
    return _handoff(
        document,
        model.session_id,
        model.meta.end_timestamp,
        {
            char_id: (snapshot.hp, snapshot.energy) if snapshot else ("", "")
            for char_id, snapshot in snapshots.items()
        },
        silent_since_ms,
    )


def _serializable(document: _Document) -> bool:
    """Whether the worker could write it as JSON: its writer is bounded in depth."""
    # No deeper than it has brackets: nearly every document has fewer than the bound.
    if document.canonical.count(b"{") + document.canonical.count(b"[") < _SAFE_DEPTH:
        return True
    try:
        to_json(document.parsed)
    except PydanticSerializationError:
        return False
    return True


def _handoff(
    document: _Document,
    session_id: UUID,
    finished_at: int,
    snapshots: dict[int, tuple[int | str, int | str]],
    silent_since_ms: int | None = None,
) -> Handoff:
    sha256 = digest(document.canonical)
    return Handoff(
        session_id=session_id,
        raw=document.raw,
        sha256=sha256,
        keys=[
            redis_keys.result(session_id),
            redis_keys.INBOX,
            redis_keys.session(session_id),
            redis_keys.ACTIVE,
            redis_keys.DOORBELL,
            *(redis_keys.account(char_id) for char_id in snapshots),
        ],
        args=[
            str(session_id),
            document.raw,
            sha256,
            finished_at,
            redis_keys.FINISHED_SESSION_TTL_SECONDS,
            redis_keys.DOORBELL_TTL_MS,
            redis_keys.MAX_CONFLICTS_HELD,
            "" if silent_since_ms is None else silent_since_ms,
            *(value for pair in snapshots.values() for value in pair),
        ],
    )


def answer(reply: Sequence[Any]) -> tuple[Receipt, bool]:
    """The script's reply as (receipt, whether the caller is to ring)."""
    word = reply[0]
    return Receipt(word.decode() if isinstance(word, bytes) else word), bool(reply[1])
