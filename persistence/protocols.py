"""The types that engine, task layer and Savers exchange. No Django needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

if TYPE_CHECKING:
    from persistence.contract.payload import Read

QUEUES = QUEUE, SWEEP_QUEUE, SAVES_QUEUE = "celery", "sweep", "saves"

ROUTES = {
    "task_sync_state": {"queue": SAVES_QUEUE},
    "sweep": {"queue": SWEEP_QUEUE},
}
"""Task -> its queue, where that is not QUEUE. Rings never wait behind saves; the belts
of a combat do not either, because its first turn waits for them."""


class SyncScope(StrEnum):
    """A part of a player's state that is saved by itself, by `task_sync_state`."""

    COMBAT_RESULT = "combat_result"
    COMBAT = "combat_result"
    INVENTORY = "inventory"
    VITALS = "vitals"
    SCENARIO = "scenario"
    CLEANUP = "cleanup"

    @classmethod
    def _missing_(cls, value: object) -> SyncScope | None:
        """The alias `combat` is a name and no value; capitals make no difference."""
        return cls.__members__.get(str(value).strip().upper())


class GameMode(StrEnum):
    """The mode a player is in: at most one session is open, none where `IDLE`."""

    IDLE = "idle"
    COMBAT = "combat"
    INVENTORY = "inventory"
    SCENARIO = "scenario"


@dataclass(frozen=True, slots=True)
class Saved:
    """The result of one save, and what is left to do once it is committed.

    `confirm` tells Redis; it is idempotent, and repeated by the next save where it did
    not run. False: more came since, save again. `counts` go to the log. `again`: more
    waits for this player. `drain`: the combat inbox has something due. `unsent`:
    results that were never handed off, which is to be done before that.
    """

    confirm: Callable[[], object] = lambda: None
    counts: Mapping[str, int] = field(default_factory=dict)
    again: bool = False
    drain: bool = False
    unsent: Mapping[UUID, bytes] = field(default_factory=dict)


class Saver(Protocol):
    """Moves one domain of a player from Redis to PostgreSQL.

    Works inside the transaction that the caller holds open: reads Redis first, then
    locks the character's row, then writes; never commits, splits or retries. Saving
    twice is saving once. What cannot be applied is parked, never dropped.
    """

    def save(self, char_id: int) -> Saved: ...


class CombatSaver(Saver, Protocol):
    """The Saver whose deliveries come from the inbox, a batch to a transaction."""

    def insert_pending(self, deliveries: Sequence[Delivery]) -> object:
        """Write receipts without effects; known sessions stay as they are."""

    def settle(self, batch: Sequence[Delivery]) -> list[Verdict]:
        """Settle deliveries of distinct sessions; one verdict each, in any order."""


class Outcome(StrEnum):
    """The end of one delivery of one combat; the word of logs and summaries."""

    PROCESSED = "processed"
    FAILED = "failed"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One document to settle.

    `raw` is None where only the row holds the document (a replay, a swept row).
    `conflicts`: what else was sent for the session, by SHA-256 and, behind a colon, the
    signature: other documents, or this one with another signature. `read`: where this
    process has parsed and validated `raw` already. `roster`: with whom the fight was
    begun, as its session said at the hand-off; None where there was no session.
    """

    session_id: UUID
    raw: bytes | None = None
    sha256: str | None = None
    accepted_at: datetime | None = None
    signature: str | None = None
    conflicts: Mapping[str, bytes] = field(default_factory=dict)
    read: Read | None = None
    roster: bytes | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one delivery. `tombstone`: of a processed combat, also undone.

    `sha256`: of the document the row holds; None where no row could be.
    """

    session_id: UUID
    outcome: Outcome
    code: str = ""
    detail: str = ""
    tombstone: bytes | None = None
    sha256: str | None = None
