"""What one adventurer owns, row by row, as the engine's own game counts it.

The rules are the game's: pieces of a kind join the oldest stack in the bag, gear never
stacks, and what has no pieces left is gone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from combat_history.management.commands.seed_world import CATALOGUE
from demo.documents import Gain

_DURABILITY = {template: durability for template, *_, durability in CATALOGUE}

Operation = dict[str, Any]
Shape = tuple[int | None, str, int, str | None, int | None]
"""Id where it is known, template, pieces, slot, durability."""


@dataclass
class Row:
    """`id` is None for a row that is made in this run: only PostgreSQL knows it."""

    id: int | None
    template: str
    qty: int
    slot: str | None = None
    durability: int | None = None


@dataclass
class Bag:
    """`rows` from the oldest to the newest."""

    rows: list[Row] = field(default_factory=list)
    made: dict[str, Row] = field(default_factory=dict)
    """By the operation that made them, or whose pieces joined them."""

    @classmethod
    def from_records(cls, records: list[dict[str, Any]]) -> Bag:
        return cls([Row(**record) for record in records])

    def records(self) -> list[dict[str, Any]]:
        return [asdict(row) for row in self.rows]

    def apply(self, operation: Operation) -> None:
        """An operation that has to succeed; any other is never given to a bag."""
        match operation:
            case {"op": "add", "op_id": op_id, "item_template_id": template}:
                self.made[op_id] = self._add(template, operation["qty"])
            case {"op": "remove", "item_template_id": template}:
                self._remove(template, operation["qty"])
            case {"op": "remove", "inventory_id": reference}:
                self._take(self.row(reference), operation["qty"])
            case {"op": "equip" | "move", "inventory_id": reference, "slot": slot}:
                self.row(reference).slot = slot
            case {"op": "unequip", "inventory_id": reference}:
                self.row(reference).slot = None
            case {"op": "split", "op_id": op_id, "inventory_id": reference}:
                row = self.row(reference)
                row.qty -= operation["qty"]
                part = Row(None, row.template, operation["qty"], None, row.durability)
                self.rows.append(part)
                self.made[op_id] = part
            case {"op": "merge", "inventory_id": reference, "into": into}:
                row = self.row(reference)
                self.row(into).qty += row.qty
                self._take(row, row.qty)
            case {"op": "set_durability", "inventory_id": reference}:
                self.row(reference).durability = operation["durability"]

    def settle(self, gain: Gain) -> None:
        """What a fight used up, wore out and brought."""
        for row_id, _, qty in gain.used:
            self._take(self.row(row_id), qty)
        for row_id, points in gain.worn.items():
            row = self.row(row_id)
            row.durability = max(0, (row.durability or 0) - points)
        for template, qty in gain.loot.items():
            self._add(template, qty)

    def row(self, reference: int | str) -> Row:
        if isinstance(reference, str):
            return self.made[reference.removeprefix("op:")]
        return next(row for row in self.rows if row.id == reference)

    def belt(self) -> list[Row]:
        return [r for r in self.rows if (r.slot or "").startswith("belt_")]

    def shapes(self) -> Counter[Shape]:
        return Counter(
            (r.id, r.template, r.qty, r.slot, r.durability) for r in self.rows
        )

    def _add(self, template: str, qty: int) -> Row:
        if _DURABILITY[template] is not None:
            pieces = [
                Row(None, template, 1, None, _DURABILITY[template]) for _ in range(qty)
            ]
            self.rows += pieces
            return pieces[0]
        for row in self.rows:
            if row.template == template and row.slot is None:
                row.qty += qty
                return row
        self.rows.append(Row(None, template, qty))
        return self.rows[-1]

    def _remove(self, template: str, qty: int) -> None:
        """The bag gives before the belt does."""
        rows = [row for row in self.rows if row.template == template]
        for row in sorted(rows, key=lambda r: r.slot is not None):
            pieces = min(qty, row.qty)
            qty -= pieces
            self._take(row, pieces)

    def _take(self, row: Row, qty: int) -> None:
        row.qty -= qty
        if row.qty <= 0:
            self.rows = [other for other in self.rows if other is not row]
