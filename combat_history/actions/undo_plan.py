"""The pure half of undoing a combat: (ledger lines, locked rows) -> counter-lines.

No I/O, no clock, no globals: the action, its confirmation page and the tests call the
same function. Movements are undone in reverse order. What cannot be undone in full is
undone as far as possible and named as a shortage.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from persistence.contract.changes import MAX_BIGINT
from persistence.contract.errors import DiscrepancyCode, DomainFailure, FailureCode
from persistence.savers.combat.rows import (
    MAX_INT,
    BalanceRow,
    Discrepancy,
    LedgerEntry,
    Moved,
    Template,
    are_alike,
)
from persistence.savers.inventory.bag import Item


@dataclass(frozen=True, slots=True)
class Balance:
    """What a character owns beside items; of the named balances those that moved."""

    xp: int
    gold: int
    named: Mapping[str, BalanceRow] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ItemChange:
    """An inventory row before and after; None where there is none."""

    before: Item | None
    after: Item | None

    @property
    def character_id(self) -> int:
        row = self.after or self.before
        assert row is not None
        return row.character_id


@dataclass(slots=True)
class Undo:
    """Net changes: at most one per row; `lines` are the counter-lines, one a player."""

    before: dict[int, Balance] = field(default_factory=dict)
    after: dict[int, Balance] = field(default_factory=dict)
    changes: dict[int, ItemChange] = field(default_factory=dict)
    lines: list[LedgerEntry] = field(default_factory=list)
    shortages: list[Discrepancy] = field(default_factory=list)

    @property
    def updated(self) -> list[Item]:
        return [c.after for c in self.changes.values() if c.before and c.after]

    @property
    def inserted(self) -> list[Item]:
        return [c.after for c in self.changes.values() if c.after and not c.before]

    @property
    def removed(self) -> list[int]:
        return [c.before.id for c in self.changes.values() if c.before and not c.after]


def origin_of(session_id: UUID) -> str:
    """Key of the undo, and `origin_operation` of every row it puts back."""
    return f"compensation:{session_id}"


def plan_undo(
    lines: Iterable[LedgerEntry],
    balances: Mapping[int, Balance],
    rows: Iterable[Item],
    templates: Mapping[str, Template],
    new_ids: Iterator[int],
) -> Undo:
    """Plan the counter-lines of `lines`, all of one combat.

    `rows`: every row that the lines name, and of the players' own what may stand in for
    it: rows of a kind that was gained, and what is worn where something returns to.
    Copies are changed, never these. `templates`: of what was consumed. `new_ids` yields
    an inventory id for every row that cannot come back under its own. Raises
    DomainFailure where a player is no more, or what he consumed or gained is not in the
    catalogue any more.
    """
    draft = _Draft(rows, templates, new_ids)
    for line in lines:
        if line.character_id not in balances:
            raise DomainFailure(
                str(line.session_id),
                str(FailureCode.UNKNOWN_CHARACTER),
                f"no such character: {line.character_id}",
            )
        draft.undo(line, balances[line.character_id])
    return draft.result()


class _Draft:
    def __init__(
        self,
        rows: Iterable[Item],
        templates: Mapping[str, Template],
        new_ids: Iterator[int],
    ) -> None:
        self.rows = {row.id: copy.copy(row) for row in sorted(rows, key=_id)}
        self.start = {row.id: copy.copy(row) for row in self.rows.values()}
        self.templates = templates
        self.new_ids = new_ids
        self.undone = Undo()
        self.touched: dict[int, None] = {}
        self.kinds: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
        for row in self.rows.values():
            self.kinds[row.character_id, row.item_template_id].append(row.id)
        self.worn = {
            (row.character_id, row.slot)
            for row in self.rows.values()
            if row.is_equipped and row.slot is not None
        }

    def undo(self, line: LedgerEntry, balance: Balance) -> None:
        player = _Player(self, line)
        after, moved = player.balance(balance)
        # Backwards: a row that was gained and then worn must be whole again before it
        # goes.
        for movement in reversed(line.items):
            player.reverse(movement)
        player.remove_empty_rows()
        char_id = line.character_id
        self.undone.before[char_id], self.undone.after[char_id] = balance, after
        self.undone.lines.append(
            LedgerEntry(
                session_id=line.session_id,
                revision=line.revision,
                character_id=char_id,
                xp_delta=after.xp - balance.xp,
                gold_delta=after.gold - balance.gold,
                xp_after=after.xp,
                gold_after=after.gold,
                items=player.movements,
                balances=moved or None,
            )
        )

    def result(self) -> Undo:
        for row_id in self.touched:
            change = ItemChange(self.start.get(row_id), self.rows.get(row_id))
            # Given back and taken again comes to nothing: no row is written for it.
            if change.before != change.after:
                self.undone.changes[row_id] = change
        return self.undone


class _Player:
    """One counter-line at work. Other players' rows are never touched."""

    def __init__(self, draft: _Draft, line: LedgerEntry) -> None:
        self.draft = draft
        self.line = line
        self.rows = draft.rows
        self.movements: list[dict[str, Any]] = []

    def balance(self, now: Balance) -> tuple[Balance, Moved]:
        """After it, and what moved of the named ones."""
        named = dict(now.named)
        moved = {
            id_: self._named_back(id_, named, move["delta"])
            for id_, move in (self.line.balances or {}).items()
        }
        after = Balance(
            self._moved_back(DiscrepancyCode.UNDO_XP, now.xp, self.line.xp_delta),
            self._moved_back(DiscrepancyCode.UNDO_GOLD, now.gold, self.line.gold_delta),
            named,
        )
        return after, moved

    def _named_back(
        self, balance_id: str, named: dict[str, BalanceRow], delta: int
    ) -> dict[str, int]:
        row = named.get(balance_id)
        if row is None:
            raise DomainFailure(
                str(self.line.session_id),
                str(FailureCode.UNKNOWN_BALANCE),
                f"no such balance: {balance_id}",
            )
        back = row.room(-delta)
        if back != -delta:
            code = DiscrepancyCode.UNDO_BALANCE
            self._shortage(code, abs(delta), abs(back), balance_id=balance_id)
        row = named[balance_id] = row.moved(back)
        return {"delta": back, "after": row.amount}

    def reverse(self, movement: Mapping[str, Any]) -> None:
        match movement["kind"]:
            case "consumed":
                self._give_back(movement)
            case "worn":
                self._repair(movement)
            case "gained":
                self._take_back(movement)
            case kind:
                raise ValueError(f"a settlement does not move {kind!r}")

    def remove_empty_rows(self) -> None:
        """Last of all: what was emptied may have been given something since."""
        last = {movement["inventory_id"]: movement for movement in self.movements}
        taken = {m["inventory_id"] for m in self.movements if m["kind"] == "taken_back"}
        for row_id in taken:
            row = self.rows[row_id]
            if not row.quantity:
                image = {**row.image(), "quantity": -last[row_id]["delta"]}
                last[row_id]["image"] = image
                del self.rows[row_id]

    def _moved_back(self, code: DiscrepancyCode, now: int, delta: int) -> int:
        # Spent since: the purse goes to nothing and the rest is a shortage, as at
        # settlement.
        after = min(max(now - delta, 0), MAX_BIGINT)
        if after != now - delta:
            self._shortage(code, abs(delta), abs(after - now))
        return after

    def _take_back(self, movement: Mapping[str, Any]) -> None:
        left = wanted = movement["delta"]
        for row in self._givers(movement):
            pieces = min(left, row.quantity)
            if pieces:
                row.quantity -= pieces
                left -= pieces
                self._note(row, "taken_back", -pieces)
            if not left:
                return
        if left:
            self._shortage(DiscrepancyCode.UNDO_ITEM, wanted, wanted - left, movement)

    def _givers(self, movement: Mapping[str, Any]) -> Iterator[Item]:
        """The row that was given, then what else of the kind lies in the bag."""
        template_id = movement["item_template_id"]
        given = self._own_row(movement)
        if given is not None and given.reserved_session_id is None:
            yield given
        # By id: rows are only put back once nothing is taken any more.
        for row_id in self.draft.kinds[self.line.character_id, template_id]:
            row = self.rows[row_id]
            is_free = row.reserved_session_id is None and not row.is_equipped
            is_free &= are_alike(row.properties, movement.get("properties"))
            if is_free and row is not given and row.quantity:
                yield row

    def _give_back(self, movement: Mapping[str, Any]) -> None:
        pieces = -movement["delta"]
        row = self._own_row(movement)
        # The column's bound: pieces beyond it become a row of their own.
        if row is not None and row.quantity + pieces <= MAX_INT:
            row.quantity += pieces
            self._note(row, "returned", pieces)
            return
        template = self._template(movement["item_template_id"])
        image = movement.get("image")
        # No image: pieces were left then, and the row was traded or merged since. In
        # the rows: it is there, but another's or full. Either way it cannot come back
        # as it was.
        if image is None or movement["inventory_id"] in self.rows:
            row = self._new_row(template, image, pieces)
            row.properties = movement.get("properties")
            self._note(row, "returned", pieces)
            return
        row = self._row_of(image, pieces)
        slot = row.slot
        if row.is_equipped and self._is_taken(slot):
            row.is_equipped, row.slot = False, None
            self._note(row, "returned", pieces, slot_taken=slot)
        else:
            self._note(row, "returned", pieces)

    def _repair(self, movement: Mapping[str, Any]) -> None:
        points = -movement["durability_delta"]
        if not points:
            return
        row = self._own_row(movement)
        if row is None or row.durability is None:
            self._shortage(DiscrepancyCode.UNDO_WEAR, points, 0, movement)
            return
        before = row.durability
        limit = MAX_INT if row.max_durability is None else row.max_durability
        # Mended since it was worn: then there is nothing left to give back.
        row.durability = max(before, min(before + points, limit))
        self._note(
            row,
            "repaired",
            0,
            durability_delta=row.durability - before,
            durability_after=row.durability,
        )

    def _own_row(self, movement: Mapping[str, Any]) -> Item | None:
        row = self.rows.get(movement["inventory_id"])
        if row is not None and self._is_own(row, movement["item_template_id"]):
            return row
        return None

    def _is_own(self, row: Item, template_id: str) -> bool:
        owner = self.line.character_id
        return row.character_id == owner and row.item_template_id == template_id

    def _is_taken(self, slot: str | None) -> bool:
        return (self.line.character_id, slot) in self.draft.worn

    def _row_of(self, image: Mapping[str, Any], pieces: int) -> Item:
        """The removed row as it was. With its movements its opening adds up again."""
        origin = image["origin_session_id"]
        return Item(
            id=image["id"],
            character_id=self.line.character_id,
            item_template_id=image["item_template_id"],
            quantity=pieces,
            is_equipped=image["is_equipped"],
            slot=image["slot"],
            durability=image["durability"],
            max_durability=image["max_durability"],
            origin_session_id=None if origin is None else UUID(origin),
            opening_quantity=image["opening_quantity"],
            properties=image.get("properties"),
            origin_operation=origin_of(self.line.session_id),
        )

    def _template(self, template_id: str) -> Template:
        if template_id not in self.draft.templates:
            raise DomainFailure(
                str(self.line.session_id),
                str(FailureCode.UNKNOWN_ITEM),
                f"no such item template: {template_id}",
            )
        return self.draft.templates[template_id]

    def _new_row(
        self, template: Template, image: Mapping[str, Any] | None, pieces: int
    ) -> Item:
        limit = template.max_durability
        return Item(
            id=next(self.draft.new_ids),
            character_id=self.line.character_id,
            item_template_id=template.id,
            quantity=pieces,
            is_equipped=False,
            slot=None,
            durability=image["durability"] if image else limit,
            max_durability=image["max_durability"] if image else limit,
            origin_session_id=None,
            opening_quantity=0,
            origin_operation=origin_of(self.line.session_id),
        )

    def _note(self, row: Item, kind: str, delta: int, **more: object) -> None:
        self.rows[row.id] = row
        if row.is_equipped and row.slot is not None:
            self.draft.worn.add((row.character_id, row.slot))
        self.draft.touched[row.id] = None
        self.movements.append({**row.movement(kind, delta), **more})

    def _shortage(
        self,
        code: DiscrepancyCode,
        wanted: int,
        applied: int,
        movement: Mapping[str, Any] | None = None,
        balance_id: str | None = None,
    ) -> None:
        self.draft.undone.shortages.append(
            Discrepancy(
                session_id=self.line.session_id,
                revision=self.line.revision,
                character_id=self.line.character_id,
                code=code,
                inventory_id=movement["inventory_id"] if movement else None,
                item_template_id=movement["item_template_id"] if movement else None,
                wanted=wanted,
                applied=applied,
                balance_id=balance_id,
            )
        )


def _id(row: Item) -> int:
    return row.id
