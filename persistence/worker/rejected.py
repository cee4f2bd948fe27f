"""Rejected payloads: rows of what cannot become a history row, with its bytes.

The same bytes are one row, and count how often they came.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Cursor
from pydantic_core import to_json

from persistence.contract.errors import PayloadInvalid
from persistence.protocols import Delivery, Outcome, Verdict
from persistence.worker.rejected_players import players_of
from persistence.worker.sql import Row, Write, array, run

# NULLs are equal in that key: without a session id the hash alone tells bytes apart.
RECORD_REJECTED = """
INSERT INTO rejected_payloads
    (session_id, payload_sha256, code, errors, raw, participant_ids)
SELECT session_id, sha256, code, errors::jsonb, raw, participants::bigint[]
FROM unnest(%s::uuid[], %s::text[], %s::text[], %b::text[], %b::bytea[], %b::text[])
     AS n (session_id, sha256, code, errors, raw, participants)
ON CONFLICT (session_id, payload_sha256) DO UPDATE
SET times_seen = rejected_payloads.times_seen + 1, last_seen_at = now()
"""


@dataclass(frozen=True, slots=True)
class Rejected:
    """`session_id` and `sha256`: as far as anybody can tell."""

    session_id: UUID | None
    sha256: str | None
    code: str
    errors: list[dict[str, str]]
    raw: bytes | None


def record(payloads: Iterable[Rejected]) -> Write:
    # Once per key: ON CONFLICT cannot meet the same row twice in one statement.
    unique = {(r.session_id, r.sha256): r for r in payloads}
    rows: list[tuple[Any, ...]] = [
        (
            r.session_id,
            r.sha256,
            r.code,
            to_json(r.errors).decode(),
            r.raw,
            array(players_of(r.raw)),
        )
        for r in unique.values()
    ]
    return Write(RECORD_REJECTED, rows, frozenset({3, 4, 5}))


def keep(cursor: Cursor[Row], *payloads: Rejected) -> None:
    run(cursor.connection, [record(payloads)])


def reject(cursor: Cursor[Row], delivery: Delivery, error: PayloadInvalid) -> Verdict:
    """Keep the bytes of a document that no row can hold."""
    session_id, code = delivery.session_id, error.code
    keep(
        cursor,
        Rejected(session_id, delivery.sha256, code, error.errors, delivery.raw),
    )
    return Verdict(session_id, Outcome.REJECTED, code, str(error))
