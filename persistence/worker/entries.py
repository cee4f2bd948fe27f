"""Entries of the inbox as the scripts `claim` and `finish` have them. No Django.

Whoever settles leases by the one and is done by the other: the workers, and the tests
of an engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from persistence.contract import redis_keys
from persistence.contract.errors import FailureCode
from persistence.protocols import Verdict

MAX_MOMENT_DIGITS = 14
"""Digits of a moment in milliseconds: some thousand years."""

MAX_CLAIM_BYTES = 8 * 1024 * 1024
"""Documents of one claim: a hundred of a megabyte each would outlive the time limit."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A leased inbox entry. `claims` counts this delivery too.

    `conflicts` and `roster`: see `Delivery`.
    """

    session_id: UUID
    lease: bytes
    claims: int
    raw: bytes | None
    sha256: str | None
    accepted_at_ms: int | None
    conflicts: dict[str, bytes]
    signature: str | None = None
    roster: bytes | None = None


def claiming(limit: int, lease_ms: int, until_ms: int | None = None) -> list[Any]:
    """Arguments of `lua/claim.lua`. `until_ms`: nothing that came due after it."""
    until = "" if until_ms is None else until_ms
    return [limit, lease_ms, MAX_CLAIM_BYTES, redis_keys.RESULT_PREFIX, until]


def finishing(
    settled: Iterable[tuple[Entry, Verdict]], retention_seconds: int
) -> list[Any]:
    """Arguments of `lua/finish.lua`. `retention_seconds`: of the documents."""
    args: list[Any] = [
        redis_keys.RESULT_PREFIX,
        redis_keys.TOMBSTONE_PREFIX,
        redis_keys.SESSION_PREFIX,
        redis_keys.DAY_SECONDS,
        retention_seconds,
    ]
    for entry, verdict in settled:
        args += [str(entry.session_id), entry.lease]
        is_unsigned = verdict.code == FailureCode.BAD_SIGNATURE
        sha256 = "-" if is_unsigned else verdict.sha256 or ""
        args += [verdict.tombstone or b"", sha256]
        args += [len(entry.conflicts), *map(_conflict_field, entry.conflicts)]
    return args


def read_entry(fields: Sequence[Any]) -> Entry:
    """From what the claim has told of it."""
    session_id, lease, claims, raw, sha256, accepted_at, *more = fields
    signature, roster, *conflicts = more
    prefix = len(redis_keys.CONFLICT_FIELD_PREFIX)
    return Entry(
        session_id=UUID(session_id.decode()),
        lease=lease,
        claims=claims,
        raw=raw,
        sha256=sha256.decode() if sha256 else None,
        accepted_at_ms=int(accepted_at) if _is_moment(accepted_at) else None,
        conflicts={
            name.decode("utf-8", "surrogateescape")[prefix:]: document
            for name, document in zip(conflicts[::2], conflicts[1::2], strict=True)
        },
        signature=signature.decode("ascii", "replace") if signature else None,
        roster=roster,
    )


def _is_moment(text: bytes | None) -> bool:
    """Digits, as the hand-off writes them, of no more than a timestamp can have."""
    return text is not None and text.isdigit() and len(text) <= MAX_MOMENT_DIGITS


def _conflict_field(name: str) -> bytes:
    # Also where it is no text, or its entry would come due for ever.
    return f"{redis_keys.CONFLICT_FIELD_PREFIX}{name}".encode(
        "utf-8", "surrogateescape"
    )
