"""The arguments of the hand-off script, for every door: engine, task, HTTP.

Imports without Django. A hand-off is idempotent: the same document may be recorded
again at any time, by anyone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

from persistence.contract import redis_keys
from persistence.contract.document import (
    MAX_DOCUMENT_BYTES,
    Document,
    canonical_json,
    digest,
    holds_floats,
    parse_as_spelt,
    refused_keys,
    repeated_keys,
    unstorable,
    with_integers,
    write_document,
    write_plainly,
)
from persistence.contract.errors import FailureCode, PayloadInvalid
from persistence.contract.identity import identified
from persistence.contract.meta import MAX_FUTURE_SECONDS
from persistence.contract.payload import (
    CombatResultPayload,
    Read,
    session_id_of,
    validate,
)

_JUDGED_ARG, _SIGNATURE_ARG, _SEEN_ARG, _OUTCOME_ARG = 8, 10, 11, 12
"""Which arguments of the script say that a clock judges the end of the fight, who has
signed the document, and what it was made of."""


class Receipt(StrEnum):
    """The arbiter's answer."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    """Accepted before with the same document; harmless."""
    CONFLICT = "conflict"
    REFUSED = "refused"
    """A forced save came too late: the combat runs, or its real result is known."""
    FUTURE = "future"
    """By the clock of Redis the fight has not ended yet; nothing was recorded."""
    MOVED = "moved"
    """The fight went on since the document was made of it; nothing was recorded."""


@dataclass(frozen=True, slots=True)
class Handoff:
    """One document and everything the script needs to record it.

    `former_sha256`: what identified it to versions before this one. `read`: of one that
    keeps the contract.
    """

    session_id: UUID
    raw: bytes
    sha256: str
    former_sha256: str
    keys: list[str]
    args: list[Any]
    read: Read | None = None

    def once_accepted(self) -> Handoff:
        """The same, of a document that is accepted already: no clock refuses it."""
        return replace(self, args=unjudged(self.args))

    def signed(self, signature: str) -> Handoff:
        """The same with what an engine has signed it by; "" for nothing."""
        args = [*self.args]
        args[_SIGNATURE_ARG] = signature
        return replace(self, args=args)

    def made_of(self, seen: str, outcome: str) -> Handoff:
        """The same of a document that was made of a live session with that digest ('':
        no matter which) and of the outcome with that mark."""
        args = [*self.args]
        args[_SEEN_ARG], args[_OUTCOME_ARG] = seen, outcome
        return replace(self, args=args)

    @property
    def signature(self) -> str:
        return str(self.args[_SIGNATURE_ARG])


def unjudged(args: list[Any]) -> list[Any]:
    """Arguments of the script that refuse nothing for a clock or a fight that moved."""
    args = [*args]
    args[_JUDGED_ARG] = args[_SEEN_ARG] = ""
    return args


def in_the_future() -> PayloadInvalid:
    """The answer to a fight that ends later than the clock of the door says."""
    return PayloadInvalid.single(
        FailureCode.INVALID_PAYLOAD,
        "meta.end_timestamp",
        f"is more than {MAX_FUTURE_SECONDS // 60} minutes in the future",
    )


@dataclass(frozen=True, slots=True)
class _Document:
    """A document in the forms that a hand-off needs. `repeated`: keys that stand twice.

    With one of these it equals no other document than its own bytes. `is_plain`: it is
    known to hold no float.
    """

    parsed: Document
    raw: bytes
    canonical: bytes
    repeated: list[str]
    is_plain: bool = False

    def hashes(self, session_id: UUID) -> tuple[str, str]:
        """Its identity, and the one that versions before this one gave it."""
        # Which of two equal keys counts differs by reader: only its bytes are certain.
        if self.repeated:
            return (digest(self.raw),) * 2
        former = digest(self.canonical)
        text = identified(
            self.parsed, self.canonical, session_id, is_plain=self.is_plain
        )
        return (former if text == self.canonical else digest(text)), former


def _read(
    payload: CombatResultPayload | Document | str | bytes | None, max_bytes: int
) -> _Document:
    """A payload in any form an engine may hold; PayloadInvalid where it is none."""
    if isinstance(payload, CombatResultPayload):
        payload = payload.document()
    if isinstance(payload, dict):
        return _read_dict(payload, max_bytes)
    if isinstance(payload, str):
        payload = payload.encode("utf-8", "surrogatepass")
    if isinstance(payload, bytes):
        _refuse_too_large(payload, max_bytes)
        return _read_text(payload)
    raise PayloadInvalid.single(
        FailureCode.NOT_AN_OBJECT,
        "",
        f"expected a JSON object or its text, got {type(payload).__name__}",
    )


def _read_text(raw: bytes) -> _Document:
    document = parse_as_spelt(raw)
    is_plain = not holds_floats(raw)
    if not is_plain:
        document = with_integers(document)
    canonical = canonical_json(document, is_plain=is_plain)
    repeated = repeated_keys(raw, canonical)
    return _Document(document, raw, canonical, repeated, is_plain)


def _read_dict(given: dict[Any, Any], max_bytes: int) -> _Document:
    """As its JSON text would be read: 101 and "101" are one key there."""
    raw = write_plainly(given)
    if raw is not None:
        _refuse_too_large(raw, max_bytes)
        document = parse_as_spelt(raw)
        # Equal, it was JSON all along, and what was written of it is canonical.
        if document == given:
            return _Document(document, raw, raw, [], is_plain=True)
    return _read_objects(given, max_bytes)


def _read_objects(given: dict[Any, Any], max_bytes: int) -> _Document:
    """What holds more than strings and integers, or is no JSON yet."""
    raw = write_document(given)
    _refuse_too_large(raw, max_bytes)
    document = parse_as_spelt(raw)
    if holds_floats(raw):
        document = with_integers(document)
    if document == given:
        return _Document(document, raw, raw, [])
    canonical = canonical_json(document)
    repeated = repeated_keys(raw, canonical)
    return _Document(document, raw if repeated else canonical, canonical, repeated)


def checked(
    payload: CombatResultPayload | Document | str | bytes,
    max_bytes: int = MAX_DOCUMENT_BYTES,
) -> Handoff:
    """A hand-off of a document that keeps the contract.

    Raises PayloadInvalid with every fault; nothing is recorded then. The script asks
    its clock whether the fight may have ended.
    """
    handoff = _validated(_read(payload, max_bytes))
    handoff.args[_JUDGED_ARG] = 1
    return handoff


def unchecked(
    payload: Document | str | bytes | None, max_bytes: int = MAX_DOCUMENT_BYTES
) -> Handoff:
    """A hand-off of a document that may break the contract: its row will say so.

    Raises PayloadInvalid only where no row can be: no object, no session id or two,
    nested too deeply, too large.
    """
    document = _read(payload, max_bytes)
    # Then no row could be the right one.
    if "session_id" in document.repeated:
        raise refused_keys(document.repeated)
    session_id = session_id_of(document.parsed)
    try:
        return _validated(document)
    except PayloadInvalid:
        return _handoff(document, session_id, 0, {})


def forced(document: Document, silent_since_ms: int) -> Handoff:
    """A hand-off that counts only if the combat has been silent since then.

    Raises PayloadInvalid like `checked`.
    """
    raw = canonical_json(document)
    return _validated(_Document(document, raw, raw, []), silent_since_ms)


def _refuse_too_large(raw: bytes, max_bytes: int) -> None:
    if len(raw) > max_bytes:
        raise PayloadInvalid.single(
            FailureCode.TOO_LARGE, "", f"{len(raw)} bytes; at most {max_bytes}"
        )


def _validated(document: _Document, silent_since_ms: int | None = None) -> Handoff:
    if document.repeated:
        raise refused_keys(document.repeated)
    model = validate(document.parsed)
    reason = unstorable(document.canonical, document.parsed)
    if reason is not None:
        raise PayloadInvalid.single(FailureCode.INVALID_PAYLOAD, "", reason)
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
        Read(document.parsed, model),
    )


def _handoff(
    document: _Document,
    session_id: UUID,
    finished_at: int,
    snapshots: dict[int, tuple[int | str, int | str]],
    silent_since_ms: int | None = None,
    read: Read | None = None,
) -> Handoff:
    sha256, former_sha256 = document.hashes(session_id)
    return Handoff(
        session_id=session_id,
        raw=document.raw,
        sha256=sha256,
        former_sha256=former_sha256,
        keys=[
            redis_keys.result(session_id),
            redis_keys.INBOX,
            redis_keys.session(session_id),
            redis_keys.ACTIVE,
            redis_keys.DOORBELL,
            redis_keys.LINGERER,
            redis_keys.WAKE,
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
            "",
            former_sha256,
            "",
            "",
            "",
            *(value for pair in snapshots.values() for value in pair),
        ],
        read=read,
    )


def answer(reply: Sequence[Any]) -> tuple[Receipt, bool]:
    """The script's reply as (receipt, whether the caller is to ring)."""
    word = reply[0]
    return Receipt(word.decode() if isinstance(word, bytes) else word), bool(reply[1])
