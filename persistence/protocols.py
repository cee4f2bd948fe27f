"""What passes between the task layer and a Saver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class Outcome(StrEnum):
    """How one delivery of one combat ended; the word of logs and summaries."""

    PROCESSED = "processed"
    FAILED = "failed"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One document to settle.

    `raw` is None where only the row holds the document (a replay, a swept row).
    `conflicts`: other documents that were sent for the session, by SHA-256.
    """

    session_id: UUID
    raw: bytes | None = None
    sha256: str | None = None
    accepted_at: datetime | None = None
    conflicts: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one delivery. `tombstone` only for a processed combat.

    `sha256`: of the document the row holds; None where no row could be.
    """

    session_id: UUID
    outcome: Outcome
    code: str = ""
    detail: str = ""
    tombstone: bytes | None = None
    sha256: str | None = None
