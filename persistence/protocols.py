"""The types that engine, task layer and Savers exchange. No Django needed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol
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


OWN_NAME = r"^game_[a-z0-9_]{1,30}$"
"""Of a scope, or of a mode, that is the game's own: engine and worker need not agree on
a list, and a misspelt scope of ours is still refused."""


def scope_of(name: str) -> str:
    """A SyncScope, or the name of a scope of the game's own. Raises ValueError."""
    return name if re.fullmatch(OWN_NAME, str(name)) else SyncScope(name)


def mode_of(name: str) -> str:
    """A GameMode, or the name of a mode of the game's own. Raises ValueError."""
    return name if re.fullmatch(OWN_NAME, str(name)) else GameMode(name)


@dataclass(frozen=True, slots=True)
class Applied:
    """What a transaction has just applied, for the game's own rows.

    `id`: of the ledger, a combat's session id or an operation's own; with `revision` it
    is never applied twice. `document`: as it was received, without its fight log; of an
    operation `characters`. `op_id` and `reason`: of an operation alone.
    """

    id: UUID
    revision: int
    document: Mapping[str, Any]
    op_id: str = ""
    reason: str = ""


class Hook(Protocol):
    """Writes rows of the game's own in the transaction that moves ours.

    Called last, under the locks of all characters concerned, with everything of the
    transaction at once: a few statements over all of it. What it raises undoes it all;
    it never commits, and asks nobody over a network. `cursor` is psycopg's.
    """

    def settled(self, cursor: Any, applied: Sequence[Applied]) -> None: ...

    def undone(self, cursor: Any, applied: Sequence[tuple[UUID, int]]) -> None:
        """By id and revision: what `settled` wrote of them is to be taken back."""


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
