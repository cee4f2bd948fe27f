"""Events: what became true, for whoever wants to be told."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class EventKind(StrEnum):
    """Each is written in the transaction that makes it true."""

    SETTLED = "combat.settled"
    """A combat was settled: `revision`, and what its `characters` have gained."""
    FAILED = "combat.failed"
    """The rules forbade it: `revision` and `code`. A replay may still settle it."""
    HELD = "combat.held"
    """Beyond a review rule: `revision` and `code`. A person decides about it."""
    UNDONE = "combat.undone"
    """A person took it back: `revision`, and what its `characters` gained by that."""
    VOIDED = "combat.voided"
    """A person decided that it is never settled: `code` of its failure, if any."""
    CORRECTED = "combat.corrected"
    """A person wrote the `revision` of its document that a replay would settle."""
    APPLIED = "operation.applied"
    """An operation of the game: its `id` in the ledger, and its `characters`."""
    TAKEN_BACK = "operation.undone"
    """A person took an operation of the game back; as `combat.undone`."""
    DISCREPANCY = "discrepancy.recorded"
    """A shortage of a combat, or of an undo: `code`, what was `wanted`, `applied`."""


class Event(BaseModel):
    """One event. It may be told twice, with the same `id`; an id is never used again.

    Ids grow, with gaps; those of one character in the order in which it happened.
    """

    model_config = ConfigDict(frozen=True)

    id: int
    kind: str = Field(description="An `EventKind`; others may come.")
    session_id: UUID | None = Field(description="Of a combat; null for an operation.")
    op_id: str | None = Field(description="Of an operation of the game.")
    character_ids: list[int] = Field(description="Those whom it concerns, ascending.")
    body: dict[str, Any] = Field(description="By kind; more keys may come.")
    created_at: datetime
