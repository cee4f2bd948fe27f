"""Parked operations: rows of what a save could not apply, visible, open to a retry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Cursor
from pydantic_core import to_json

from persistence.worker.sql import Row, Write, fetch

# Parked again: the newest reason counts, and a retry of it has been answered.
PARK = """
INSERT INTO parked_operations
    (scope, character_id, op_id, operation, code, detail, blocked_by)
SELECT scope, character_id, op_id, operation::jsonb, code, detail, blocked_by
FROM unnest(%b::text[], %s::bigint[], %b::text[], %b::text[], %b::text[], %b::text[],
            %b::text[])
     AS n (scope, character_id, op_id, operation, code, detail, blocked_by)
ON CONFLICT (scope, character_id, op_id) DO UPDATE
SET code = EXCLUDED.code, detail = EXCLUDED.detail, blocked_by = EXCLUDED.blocked_by,
    operation = EXCLUDED.operation, times_seen = parked_operations.times_seen + 1,
    last_seen_at = now(), retry_requested_at = NULL, resolved_at = NULL,
    resolution = NULL
"""

RESOLVE = """
UPDATE parked_operations
SET resolved_at = now(), resolution = 'applied'
WHERE scope = %b AND character_id = %s AND op_id = ANY (%b::text[])
  AND resolved_at IS NULL
"""

OPEN = """
SELECT op_id, operation, code, blocked_by, retry_requested_at IS NOT NULL
FROM parked_operations
WHERE scope = %b AND character_id = %s AND resolved_at IS NULL
ORDER BY id
"""


@dataclass(frozen=True, slots=True)
class Parked:
    """One operation that waits for a person. `operation` is kept as received."""

    scope: str
    character_id: int
    op_id: str
    operation: object
    code: str
    detail: str
    blocked_by: str | None = None


@dataclass(frozen=True, slots=True)
class OpenOperation:
    """A parked operation as a Saver reads it back."""

    op_id: str
    operation: Any
    code: str
    blocked_by: str | None
    retry_requested: bool


def park(operations: Iterable[Parked]) -> Write:
    """Distinct (scope, character, op_id) only: a statement meets a row once."""
    rows = [
        (
            p.scope,
            p.character_id,
            p.op_id,
            to_json(p.operation).decode(),
            p.code,
            p.detail,
            p.blocked_by,
        )
        for p in operations
    ]
    return Write(PARK, rows, frozenset({0, 2, 3, 4, 5, 6}))


def resolve(
    cursor: Cursor[Row], scope: str, char_id: int, op_ids: Sequence[str]
) -> None:
    cursor.execute(RESOLVE, [scope, char_id, list(op_ids)])


def open_operations(
    cursor: Cursor[Row], scope: str, char_id: int
) -> list[OpenOperation]:
    """One player's parked operations, oldest first. Lock the character's row before."""
    return [OpenOperation(*row) for row in fetch(cursor, OPEN, [scope, char_id])]
