"""The bodies of the calls about characters and the catalogue."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from combat_history.api.schemas import Body
from combat_history.models import LedgerLine
from persistence.contract.world import BalanceKind, ItemKind, Registration


class CharacterState(Body):
    """A character as PostgreSQL has it."""

    id: int
    name: str
    xp: int
    gold: int
    hp: int
    energy: int
    location: str
    balances: dict[str, int] = Field(description="Those it ever had some of.")
    external_ids: dict[str, str]


class LedgerEntry(Body):
    """What one fight, operation or undo moved of a character, and what it had then."""

    id: int
    recorded_at: datetime
    kind: LedgerLine.Kind
    session_id: UUID | None = Field(description="The fight, or the operation's `id`.")
    op_id: str | None = Field(description="Of an operation of the game.")
    reason: str | None = Field(description="Of an operation of the game.")
    revision: int
    xp_delta: int
    gold_delta: int
    xp_after: int
    gold_after: int
    balances: dict[str, Any] = Field(description="By id: `delta` and `after`.")
    items: list[dict[str, Any]] = Field(description="Movements of the inventory.")


class LedgerPage(Body):
    items: list[LedgerEntry]
    next: str | None = Field(description="The next page's address; null on the last.")


class ItemKindState(ItemKind):
    id: str


class BalanceKindState(BalanceKind):
    id: str


REQUESTS: tuple[type[BaseModel], ...] = (Registration, ItemKind, BalanceKind)
ANSWERS: tuple[type[BaseModel], ...] = (
    BalanceKindState,
    CharacterState,
    ItemKindState,
    LedgerPage,
)
