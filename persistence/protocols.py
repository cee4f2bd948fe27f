"""What the task layer asks of a Saver, and what passes between the two."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from uuid import UUID


class SyncScope(StrEnum):
    """Domains that can be saved; the value travels as task argument."""

    COMBAT_RESULT = "combat_result"
    COMBAT = "combat_result"
    INVENTORY = "inventory"
    VITALS = "vitals"
    SCENARIO = "scenario"
    CLEANUP = "cleanup"


class Saver(Protocol):
    """Extract from Redis, transform, load into PostgreSQL.

    Runs inside the caller's open transaction; never opens, commits, retries or splits.
    """

    def save(self, char_id: int) -> None: ...


class Outcome(StrEnum):
    """How one delivery of one combat ended; the word of logs and summaries."""

    PROCESSED = "processed"
    FAILED = "failed"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One document to settle. `raw` is None where only the row holds the document."""

    session_id: UUID
    raw: bytes | None
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one delivery, and what its Redis effects need.

    `tombstone` is the brief outcome of a processed combat, None for any other.
    """

    session_id: UUID
    outcome: Outcome
    code: str = ""
    detail: str = ""
    tombstone: bytes | None = None
