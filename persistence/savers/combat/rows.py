"""The data of a plan: the rows it starts from and the changes it makes; no rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from persistence.contract.changes import Changes
from persistence.contract.document import Document, canonical_json
from persistence.contract.errors import DiscrepancyCode, DomainFailure
from persistence.contract.payload import (
    CombatResultPayload,
    Loot,
    ParticipantResult,
    StateSnapshot,
)

MAX_INT = 2**31 - 1
MAX_PIECES = 100
"""Unstackable pieces of one loot entry: each becomes a row of its own."""


@dataclass(frozen=True, slots=True)
class Template:
    id: str
    name: str
    name_en: str
    stackable: bool
    max_durability: int | None


class BalanceRow(NamedTuple):
    """A named balance of one character, and the bounds that its catalogue sets."""

    amount: int
    floor: int
    maximum: int

    def room(self, delta: int) -> int:
        """As much of `delta` as the bounds let through.

        Bounds that were drawn tighter take nothing from whoever is beyond them.
        """
        if delta < 0:
            return max(delta, min(self.floor - self.amount, 0))
        return min(delta, max(self.maximum - self.amount, 0))

    def moved(self, delta: int) -> BalanceRow:
        return self._replace(amount=self.amount + delta)


BalanceKey = tuple[int, str]
"""Character and balance."""

Moved = dict[str, dict[str, int]]
"""By the id of a balance its `delta` and what stood `after`, as the ledger has it."""


@dataclass(slots=True)
class CharacterRow:
    id: int
    xp: int
    gold: int
    hp: int
    energy: int
    vitals_at: datetime | None
    vitals_session_id: UUID | None

    def copy(self) -> CharacterRow:
        # Spelt out: dataclasses.replace costs six times as much, seven times a combat.
        return CharacterRow(
            self.id,
            self.xp,
            self.gold,
            self.hp,
            self.energy,
            self.vitals_at,
            self.vitals_session_id,
        )


@dataclass(slots=True)
class ItemRow:
    id: int
    character_id: int
    item_template_id: str
    quantity: int
    is_equipped: bool
    slot: str | None
    durability: int | None
    max_durability: int | None
    origin_session_id: UUID | None
    opening_quantity: int
    reserved_session_id: UUID | None = None
    """The fight that holds it on its belt, while that one may still use it."""

    properties: Document | None = None
    """What tells these pieces from others of their kind; never empty."""

    def copy(self) -> ItemRow:
        return ItemRow(
            self.id,
            self.character_id,
            self.item_template_id,
            self.quantity,
            self.is_equipped,
            self.slot,
            self.durability,
            self.max_durability,
            self.origin_session_id,
            self.opening_quantity,
            self.reserved_session_id,
            self.properties,
        )

    def movement(self, kind: str, delta: int) -> dict[str, Any]:
        """A ledger entry of what was just done to this row."""
        entry = {
            "inventory_id": self.id,
            "item_template_id": self.item_template_id,
            "kind": kind,
            "delta": delta,
            "after": self.quantity,
        }
        if self.properties is not None:
            entry["properties"] = self.properties
        return entry

    def image(self) -> dict[str, Any]:
        """The full row before it is removed: what an undo would put back."""
        image = asdict(self)
        # What comes back is no longer on that belt.
        del image["reserved_session_id"]
        if self.properties is None:
            del image["properties"]
        if self.origin_session_id is not None:
            image["origin_session_id"] = str(self.origin_session_id)
        return image


def are_alike(one: Document | None, other: Document | None) -> bool:
    """Whether pieces with these properties are of one kind: by the JSON."""
    if one is None or other is None:
        return one is other
    return canonical_json(one) == canonical_json(other)


class Asked(Protocol):
    """What is asked of one character."""

    @property
    def changes(self) -> Changes: ...

    @property
    def state_snapshot(self) -> StateSnapshot | None: ...

    def loot(self) -> Sequence[Loot]: ...


class Cause(Protocol):
    """What moves things: a combat by its session, or whatever else has such an id."""

    @property
    def session_id(self) -> UUID: ...

    @property
    def finished_at(self) -> datetime: ...

    @property
    def revision(self) -> int: ...

    def asked(self) -> Mapping[int, Asked]:
        """By character id, ascending."""


@dataclass(frozen=True, slots=True)
class Combat:
    session_id: UUID
    finished_at: datetime
    payload: CombatResultPayload
    revision: int = 1
    fail_on_shortage: bool | None = None
    """None: as the batch does."""
    fingerprint: str | None = None
    """What a person saw, by its fingerprint; over another state nothing is settled."""
    is_approved: bool = False
    """It was held for review, and a person has it settled all the same."""
    roster: bytes | None = None
    """See `Delivery`."""

    def asked(self) -> Mapping[int, ParticipantResult]:
        return self.payload.players()


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    session_id: UUID
    revision: int
    character_id: int
    xp_delta: int
    gold_delta: int
    xp_after: int
    gold_after: int
    items: list[dict[str, Any]]
    balances: Moved | None = None


@dataclass(frozen=True, slots=True)
class Discrepancy:
    session_id: UUID
    revision: int
    character_id: int
    code: DiscrepancyCode
    inventory_id: int | None
    item_template_id: str | None
    wanted: int
    applied: int
    balance_id: str | None = None

    def __str__(self) -> str:
        what = self.balance_id or self.item_template_id or self.inventory_id or "gold"
        return (
            f"{self.code} of character {self.character_id}: "
            f"{what} {self.applied} of {self.wanted}"
        )


class Catalogue:
    """Item templates by id and by either name; the first language's goes first."""

    def __init__(self, templates: Iterable[Template]) -> None:
        self.by_id = {template.id: template for template in templates}
        # Where a name is one item's in one language and another's in the second.
        english = {t.name_en: t for t in self.by_id.values() if t.name_en}
        self.by_name = english | {t.name: t for t in self.by_id.values()}

    def find(self, loot: Loot) -> Template | None:
        if loot.item_template_id is not None:
            return self.by_id.get(loot.item_template_id)
        return self.by_name.get(loot.name or "")


class World:
    """The locked rows a plan starts from, and where it leaves them."""

    def __init__(
        self,
        characters: Iterable[CharacterRow],
        items: Iterable[ItemRow],
        balances: Mapping[BalanceKey, BalanceRow] | None = None,
    ) -> None:
        self.characters = {row.id: row for row in characters}
        self.balances = dict(balances or {})
        """Those that were asked for, and whose id is in the catalogue."""

        self.items: dict[int, ItemRow] = {}
        self.owned: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
        self.held: defaultdict[UUID, list[int]] = defaultdict(list)
        """Rows by the fight that holds them."""

        for row in sorted(items, key=lambda item: item.id):
            self.add(row)

    def add(self, row: ItemRow) -> None:
        if row.id not in self.items:
            self.owned[row.character_id, row.item_template_id].append(row.id)
            if row.reserved_session_id is not None:
                self.held[row.reserved_session_id].append(row.id)
        self.items[row.id] = row

    def remove(self, row_id: int) -> None:
        row = self.items.pop(row_id)
        self.owned[row.character_id, row.item_template_id].remove(row_id)

    def release(self, session_id: UUID, players: Container[int]) -> None:
        """Free the belts that a fight, settled by now, has held of these players."""
        for row_id in self.held.pop(session_id, ()):
            row = self.items.get(row_id)
            # As RELEASE_BELTS: of the document's players. The sweep frees the rest.
            if row is not None and row.character_id in players:
                row.reserved_session_id = None


@dataclass(slots=True)
class Plan:
    """Net changes of a batch: at most one per row, whatever the combats did to it."""

    characters: dict[int, CharacterRow] = field(default_factory=dict)
    balances: dict[BalanceKey, BalanceRow] = field(default_factory=dict)
    updated: dict[int, ItemRow] = field(default_factory=dict)
    inserted: dict[int, ItemRow] = field(default_factory=dict)
    removed: set[int] = field(default_factory=set)
    ledger: list[LedgerEntry] = field(default_factory=list)
    discrepancies: list[Discrepancy] = field(default_factory=list)
    failures: dict[UUID, DomainFailure] = field(default_factory=dict)
