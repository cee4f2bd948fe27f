"""An inventory that operations change, without a database: rows, memory, parked ones.

`Inventory.save` does to itself what the inventory statements do to the tables.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from persistence.savers.combat.rows import Template
from persistence.savers.inventory.bag import Bag, Item
from persistence.savers.inventory.plan import (
    Applied,
    InventoryPlan,
    Known,
    OpenRequest,
    plan_operations,
)
from persistence.savers.inventory.requests import identity, read_element, read_parked
from persistence.worker.parking import OpenOperation
from tests.unit.builders import CATALOGUE, FIRST_NEW_ID, POTION
from tests.unit.builders import item as combat_item

OWNER, OTHER = 101, 102
Document = dict[str, Any]


def row(row_id: int, template: Template = POTION, **over: Any) -> Item:
    base = combat_item(row_id, template)
    values = {f.name: getattr(base, f.name) for f in fields(base)}
    return Item(**{**values, **over})


def raw(element: object) -> bytes:
    """As the engine writes it; bytes are what no engine should write."""
    return element if isinstance(element, bytes) else json.dumps(element).encode()


@dataclass
class ParkedRow:
    op_id: str
    operation: Any
    code: str
    detail: str
    blocked_by: str | None
    is_requested: bool = False
    resolution: str | None = None


@dataclass
class NewIds:
    """Of rows to come. A copy goes on by itself, which one of `itertools` will not."""

    following: int

    def __iter__(self) -> NewIds:
        return self

    def __next__(self) -> int:
        self.following += 1
        return self.following - 1


@dataclass
class Inventory:
    """Rows of the owner and of others, and what is known of the owner's operations."""

    rows: dict[int, Item] = field(default_factory=dict)
    templates: Mapping[str, Template] = field(
        default_factory=lambda: {t.id: t for t in CATALOGUE}
    )
    is_known: bool = True
    applied: dict[str, Applied] = field(default_factory=dict)
    parked: dict[str, ParkedRow] = field(default_factory=dict)
    movements: list[dict[str, Any]] = field(default_factory=list)
    new_ids: NewIds = field(default_factory=lambda: NewIds(FIRST_NEW_ID))

    def save(self, *elements: object) -> InventoryPlan:
        known = self._known()
        bag = None
        if self.is_known:
            rows = copy.deepcopy(list(self.rows.values()))
            bag = Bag(OWNER, rows, self.templates, self.new_ids)
        requests = [read_element(OWNER, raw(element)) for element in elements]
        plan = plan_operations(requests, known, bag, "inventory:101:")
        if bag is not None:
            self._write(bag)
        self._remember(plan)
        return plan

    def request(self, *keys: str) -> None:
        for key in keys:
            self.parked[key].is_requested = True

    def discard(self, key: str) -> None:
        self.parked[key].resolution = "discarded"

    def codes(self) -> dict[str, str]:
        """Of what is still parked, in order."""
        return {k: p.code for k, p in self.parked.items() if p.resolution is None}

    def pieces(self) -> Counter[str]:
        own = [r for r in self.rows.values() if r.character_id == OWNER]
        total: Counter[str] = Counter()
        for item in own:
            total[item.item_template_id] += item.quantity
        return total

    def _known(self) -> Known:
        waiting = [
            OpenRequest(
                read_parked(
                    OWNER,
                    OpenOperation(
                        p.op_id, p.operation, p.code, p.blocked_by, p.is_requested
                    ),
                ),
                p.blocked_by,
                p.is_requested,
            )
            for p in self.parked.values()
            if p.resolution is None
        ]
        discarded = {
            p.op_id: identity(p.operation)
            for p in self.parked.values()
            if p.resolution == "discarded"
        }
        return Known(dict(self.applied), discarded, waiting)

    def _write(self, bag: Bag) -> None:
        assert not bag.updated.keys() & bag.removed
        assert not bag.updated.keys() & bag.inserted.keys()
        assert bag.updated.keys() | bag.removed <= self.rows.keys()
        assert not bag.inserted.keys() & self.rows.keys()
        # Only what a statement writes: a change that no list names would be lost.
        for row_id, changed in bag.updated.items():
            kept = self.rows[row_id]
            kept.quantity, kept.durability = changed.quantity, changed.durability
            kept.is_equipped, kept.slot = changed.is_equipped, changed.slot
        for row_id in bag.removed:
            del self.rows[row_id]
        self.rows |= copy.deepcopy(bag.inserted)
        self.movements += bag.movements

    def _remember(self, plan: InventoryPlan) -> None:
        assert not plan.applied.keys() & self.applied.keys()
        assert not plan.parked.keys() & set(plan.resolved)
        self.applied |= plan.applied
        for key in plan.resolved:
            self.parked[key].resolution = "applied"
        for key, entry in plan.parked.items():
            again = ParkedRow(
                key,
                entry.request.document,
                str(entry.code),
                entry.detail,
                entry.blocked_by,
            )
            self.parked[key] = again


def inventory(*rows: Item, **over: Any) -> Inventory:
    return Inventory({r.id: r for r in rows}, **over)


def summary(rows: Iterable[Item]) -> list[tuple[Any, ...]]:
    """What players see of rows: (id, template, quantity, slot, durability)."""
    return [(r.id, r.item_template_id, r.quantity, r.slot, r.durability) for r in rows]
