"""Applies one inventory operation to the rows of a player: all of it, or Refused.

Rows are brought forward in place. Each operation looks at everything first and writes
last, so that a refused one has changed nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from persistence.contract.document import Document
from persistence.contract.errors import ParkCode
from persistence.contract.operations import (
    MADE_BY,
    Add,
    Equip,
    Merge,
    Move,
    Operation,
    Remove,
    SetDurability,
    Split,
    Unequip,
)
from persistence.savers.combat.rows import (
    MAX_INT,
    MAX_PIECES,
    ItemRow,
    Template,
    are_alike,
)


@dataclass(slots=True)
class Item(ItemRow):
    """A row of the inventory. `origin_operation`: key of the operation that made it."""

    origin_operation: str | None = None


class Refused(Exception):
    """Nothing of the operation was applied, and why."""

    def __init__(self, code: ParkCode, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


class Bag:
    """The inventory of one player. `items` may hold rows of others that were named."""

    def __init__(
        self,
        character_id: int,
        items: Iterable[Item],
        templates: Mapping[str, Template],
        new_ids: Iterator[int],
    ) -> None:
        self.character_id = character_id
        self.rows = {row.id: row for row in items}
        self.templates = templates
        self.new_ids = new_ids
        self.made: dict[str, int | None] = {}
        """What operations that were applied have made, by op_id."""

        self.updated: dict[int, Item] = {}
        self.inserted: dict[int, Item] = {}
        self.removed: set[int] = set()
        self.movements: list[dict[str, Any]] = []

    def apply(self, operation: Operation, key: str) -> int | None:
        """The row it made. `key` is remembered by that row. Raises Refused."""
        act = _Act(self, operation.op_id, key)
        made: int | None = None
        match operation:
            case Add():
                made = act.add(operation)
            case Split():
                made = act.split(operation)
            case Remove():
                act.remove(operation)
            case Equip():
                act.equip(operation)
            case Unequip():
                act.unequip(operation)
            case Move():
                act.move(operation)
            case Merge():
                act.merge(operation)
            case SetDurability():
                act.set_durability(operation)
        self.made[operation.op_id] = made
        return made

    def row(self, reference: int | str | None) -> Item:
        """The player's row of that id or name. Raises Refused where there is none."""
        if isinstance(reference, str):
            row_id = self.made.get(reference.removeprefix(MADE_BY))
            if row_id is None:
                raise Refused(
                    ParkCode.ITEM_GONE, f"no operation made a row named {reference}"
                )
        else:
            row_id = reference
        row = self.rows.get(row_id) if row_id is not None else None
        if row is None:
            raise Refused(ParkCode.ITEM_GONE, f"there is no inventory row {row_id}")
        if row.character_id != self.character_id:
            raise Refused(
                ParkCode.ITEM_NOT_OWNED, f"inventory row {row_id} is another player's"
            )
        return row

    def free_row(self, reference: int | str | None) -> Item:
        row = self.row(reference)
        if row.reserved_session_id is not None:
            raise Refused(ParkCode.ITEM_RESERVED, _reserved(row))
        return row

    def template(self, template_id: str) -> Template:
        if template_id not in self.templates:
            raise Refused(
                ParkCode.UNKNOWN_ITEM, f"{template_id!r} is not in the catalogue"
            )
        return self.templates[template_id]

    def of_template(self, template_id: str) -> list[Item]:
        """Rows in the order in which they give: unequipped ones first, and of these
        what has no properties; then by id."""
        rows = [r for r in self._own() if r.item_template_id == template_id]
        return sorted(
            rows, key=lambda row: (row.is_equipped, row.properties is not None, row.id)
        )

    def require_free_slot(self, slot: str) -> None:
        for row in self._own():
            if row.is_equipped and row.slot == slot:
                raise Refused(
                    ParkCode.SLOT_TAKEN, f"inventory row {row.id} is in slot {slot!r}"
                )

    def _own(self) -> Iterator[Item]:
        return (r for r in self.rows.values() if r.character_id == self.character_id)


class _Act:
    """One operation at work."""

    def __init__(self, bag: Bag, op_id: str, key: str) -> None:
        self.bag = bag
        self.op_id = op_id
        self.key = key

    def add(self, operation: Add) -> int:
        template = self.bag.template(operation.item_template_id)
        durability = _new_durability(template, operation.durability)
        if not template.stackable:
            return self._add_pieces(template, operation.qty, durability)
        stack = self._stack(template.id, operation.durability)
        if stack is None:
            stack = self._insert(template, operation.qty, durability)
        else:
            stack.quantity = _bounded(
                stack.quantity + operation.qty, MAX_INT, template.id
            )
            self._changed(stack)
        self._note(stack, "added", operation.qty)
        return stack.id

    def remove(self, operation: Remove) -> None:
        if operation.item_template_id is None:
            self._take(self.bag.free_row(operation.inventory_id), operation.qty)
            return
        template = self.bag.template(operation.item_template_id)
        left = operation.qty
        taken: list[tuple[Item, int]] = []
        held: list[Item] = []
        for row in self.bag.of_template(template.id):
            if row.reserved_session_id is not None:
                held.append(row)
            elif pieces := min(left, row.quantity):
                taken.append((row, pieces))
                left -= pieces
        # What a fight holds is there, only not now: a shortage is told from waiting.
        if left > sum(row.quantity for row in held):
            there = operation.qty - left + sum(row.quantity for row in held)
            raise _shortage(operation.qty, there, template.id)
        if left:
            raise Refused(ParkCode.ITEM_RESERVED, _reserved(held[0]))
        for row, pieces in taken:
            self._take(row, pieces)

    def equip(self, operation: Equip) -> None:
        row = self.bag.free_row(operation.inventory_id)
        if row.is_equipped and row.slot == operation.slot:
            return
        if row.is_equipped:
            raise Refused(
                ParkCode.NOT_ALLOWED,
                f"inventory row {row.id} is in slot {row.slot!r} already: move it",
            )
        self._put(row, operation.slot, "equipped")

    def unequip(self, operation: Unequip) -> None:
        row = self.bag.free_row(operation.inventory_id)
        if not row.is_equipped:
            return
        slot = row.slot
        row.is_equipped, row.slot = False, None
        self._changed(row)
        self._note(row, "unequipped", 0, slot=slot)

    def move(self, operation: Move) -> None:
        row = self.bag.free_row(operation.inventory_id)
        if not row.is_equipped:
            raise Refused(
                ParkCode.NOT_ALLOWED, f"inventory row {row.id} is in no slot: equip it"
            )
        if row.slot != operation.slot:
            self._put(row, operation.slot, "moved")

    def split(self, operation: Split) -> int:
        row = self.bag.free_row(operation.inventory_id)
        qty = operation.qty
        if qty > row.quantity:
            raise _shortage(qty, row.quantity, f"inventory row {row.id}")
        if qty == row.quantity:
            raise Refused(
                ParkCode.NOT_ALLOWED,
                f"nothing would be left of inventory row {row.id}: it has {qty}",
            )
        row.quantity -= qty
        self._changed(row)
        self._note(row, "split", -qty)
        part = self._new_row(
            row.item_template_id,
            qty,
            row.durability,
            row.max_durability,
            row.properties,
        )
        self._note(part, "split", qty)
        return part.id

    def merge(self, operation: Merge) -> None:
        row = self.bag.free_row(operation.inventory_id)
        into = self.bag.row(operation.into)  # a fight's belt may grow, not shrink
        template = self.bag.template(row.item_template_id)
        if into.item_template_id != template.id:
            reason = f"{template.id!r} and {into.item_template_id!r} are not the same"
        elif row.id == into.id:
            reason = f"inventory row {row.id} cannot join itself"
        elif not template.stackable:
            reason = f"{template.id!r} does not stack"
        elif row.durability != into.durability:
            reason = f"inventory rows {row.id} and {into.id} differ in durability"
        elif not are_alike(row.properties, into.properties):
            reason = f"inventory rows {row.id} and {into.id} differ in properties"
        else:
            pieces = row.quantity
            after = _bounded(into.quantity + pieces, MAX_INT, template.id)
            self._take(row, pieces, "merged")
            into.quantity = after
            self._changed(into)
            self._note(into, "merged", pieces)
            return
        raise Refused(ParkCode.NOT_ALLOWED, reason)

    def set_durability(self, operation: SetDurability) -> None:
        row = self.bag.row(operation.inventory_id)
        before = row.durability
        if before is None and row.max_durability is None:
            raise _does_not_wear(f"inventory row {row.id}")
        limit = MAX_INT if row.max_durability is None else row.max_durability
        after = _bounded(operation.durability, limit, f"durability of row {row.id}")
        if after == before:
            return
        row.durability = after
        self._changed(row)
        self._note(
            row,
            "durability_set",
            0,
            durability_delta=after - (before or 0),
            durability_after=after,
        )

    def _stack(self, template_id: str, durability: int | None) -> Item | None:
        """The stack that loot joins: the unequipped row of the lowest id."""
        for row in self.bag.of_template(template_id):
            in_bag = not row.is_equipped and row.slot is None and not row.properties
            # Joined by pieces of another durability, the stack would change its own.
            if in_bag and durability in (None, row.durability):
                return row
        return None

    def _add_pieces(self, template: Template, qty: int, durability: int | None) -> int:
        _bounded(qty, MAX_PIECES, f"pieces of {template.id}")
        rows = [self._insert(template, 1, durability) for _ in range(qty)]
        for row in rows:
            self._note(row, "added", 1)
        return rows[0].id

    def _take(self, row: Item, qty: int, kind: str = "removed") -> None:
        if qty > row.quantity:
            raise _shortage(qty, row.quantity, f"inventory row {row.id}")
        if qty < row.quantity:
            row.quantity -= qty
            self._changed(row)
            self._note(row, kind, -qty)
            return
        # Kept in the ledger: by it reconcile tells a removal from a loss.
        image = ItemRow.image(row)
        row.quantity = 0
        self._note(row, kind, -qty, image=image)
        del self.bag.rows[row.id]
        self.bag.updated.pop(row.id, None)
        # A row that came and went within one save never meets the table.
        if self.bag.inserted.pop(row.id, None) is None:
            self.bag.removed.add(row.id)

    def _put(self, row: Item, slot: str, kind: str) -> None:
        self.bag.require_free_slot(slot)
        row.is_equipped, row.slot = True, slot
        self._changed(row)
        self._note(row, kind, 0, slot=slot)

    def _insert(self, template: Template, qty: int, durability: int | None) -> Item:
        return self._new_row(template.id, qty, durability, template.max_durability)

    def _new_row(
        self,
        template_id: str,
        qty: int,
        durability: int | None,
        max_durability: int | None,
        properties: Document | None = None,
    ) -> Item:
        row = Item(
            id=next(self.bag.new_ids),
            character_id=self.bag.character_id,
            item_template_id=template_id,
            quantity=qty,
            is_equipped=False,
            slot=None,
            durability=durability,
            max_durability=max_durability,
            origin_session_id=None,
            opening_quantity=0,
            properties=properties,
            origin_operation=self.key,
        )
        self.bag.rows[row.id] = row
        self.bag.inserted[row.id] = row
        return row

    def _changed(self, row: Item) -> None:
        if row.id not in self.bag.inserted:
            self.bag.updated[row.id] = row

    def _note(self, row: Item, kind: str, delta: int, **more: object) -> None:
        movement = row.movement(kind, delta)
        self.bag.movements.append({**movement, "op_id": self.op_id, **more})


def _new_durability(template: Template, wanted: int | None) -> int | None:
    if wanted is None:
        return template.max_durability
    if template.max_durability is None:
        raise _does_not_wear(repr(template.id))
    return _bounded(wanted, template.max_durability, f"durability of {template.id}")


def _bounded(value: int, limit: int, what: str) -> int:
    if value > limit:
        raise Refused(
            ParkCode.OUT_OF_RANGE, f"{what} would be {value}; at most {limit}"
        )
    return value


def _shortage(wanted: int, there: int, what: str) -> Refused:
    return Refused(ParkCode.ITEM_SHORTAGE, f"{what}: {wanted} wanted, {there} there")


def _does_not_wear(what: str) -> Refused:
    return Refused(ParkCode.NOT_ALLOWED, f"{what} does not wear")


def _reserved(row: Item) -> str:
    return f"inventory row {row.id} is held by combat {row.reserved_session_id}"
