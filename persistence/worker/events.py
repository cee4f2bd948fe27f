"""Writes events: one statement of the transaction that makes them true.

Whoever makes an event true has locked its combat or operation, and the characters whom
it moves: so an event of one character gets its id after those that were before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from pydantic_core import to_json

from persistence.contract.errors import FailureCode
from persistence.contract.events import EventKind
from persistence.worker.sql import Write, array

INSERT_EVENTS = """
INSERT INTO settlement_events (kind, session_id, op_id, character_ids, body)
SELECT kind, session_id, op_id, characters::bigint[], body::jsonb
FROM unnest(%s::text[], %s::uuid[], %b::text[], %b::text[], %b::text[])
     WITH ORDINALITY AS n (kind, session_id, op_id, characters, body, position)
ORDER BY position
"""


class NewEvent(NamedTuple):
    """Before it has an id. `subject`: a session, or the `op_id` of an operation."""

    kind: EventKind
    subject: UUID | str
    character_ids: Sequence[int]
    body: Mapping[str, Any]


def record(events: Iterable[NewEvent]) -> Write:
    """The one way to write events, however many."""
    rows = [
        (
            kind,
            None if isinstance(subject, str) else subject,
            subject if isinstance(subject, str) else None,
            array(character_ids),
            to_json(body).decode(),
        )
        for kind, subject, character_ids, body in events
    ]
    return Write(INSERT_EVENTS, rows, frozenset({2, 3, 4}))


def failure(
    session_id: UUID, character_ids: Sequence[int], revision: int, code: str
) -> NewEvent:
    """Of a combat that ended in this code."""
    is_held = code == FailureCode.HELD_FOR_REVIEW
    kind = EventKind.HELD if is_held else EventKind.FAILED
    return NewEvent(
        kind, session_id, character_ids, {"revision": revision, "code": code}
    )
