"""What is asked of a character, and what it does to copies of its rows.

The one place of every rule of taking and giving, for fights and operations alike. Pure,
as the plan is. Consumption comes before wear, wear before loot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from persistence.contract.changes import MAX_BIGINT
from persistence.contract.document import Document
from persistence.contract.errors import DiscrepancyCode, DomainFailure, FailureCode
from persistence.contract.ids import NO_SESSION
from persistence.savers.combat.rows import (
    MAX_INT,
    MAX_PIECES,
    Asked,
    BalanceKey,
    BalanceRow,
    Catalogue,
    Cause,
    CharacterRow,
    Discrepancy,
    ItemRow,
    LedgerEntry,
    Moved,
    Plan,
    Template,
    World,
)


class Draft:
    """One cause over copies of the rows it touches; merged only if it succeeds."""

    def __init__(
        self, cause: Cause, world: World, catalogue: Catalogue, new_ids: Iterator[int]
    ) -> None:
        self.cause = cause
        self.world = world
        self.catalogue = catalogue
        self.new_ids = new_ids
        self.characters: dict[int, CharacterRow] = {}
        self.balances: dict[BalanceKey, BalanceRow] = {}
        self.items: dict[int, ItemRow] = {}
        self.inserted: dict[int, ItemRow] = {}
        self.removed: set[int] = set()
        self.ledger: list[LedgerEntry] = []
        self.discrepancies: list[Discrepancy] = []

    def apply(self) -> None:
        players = self.cause.asked()
        unknown = [str(i) for i in players if i not in self.world.characters]
        if unknown:
            raise self.failure(
                FailureCode.UNKNOWN_CHARACTER,
                f"no such character: {', '.join(unknown)}",
                unknown[0],
            )
        for char_id, asked in players.items():
            self._apply_player(char_id, asked)

    def shortage(self) -> DomainFailure:
        detail = "; ".join(map(str, self.discrepancies))
        return self.failure(FailureCode.SHORTAGE, detail)

    def merge_into(self, plan: Plan) -> None:
        for char in self.characters.values():
            self.world.characters[char.id] = plan.characters[char.id] = char
        self.world.balances |= self.balances
        plan.balances |= self.balances
        for row in self.inserted.values():
            self.world.add(row)
            plan.inserted[row.id] = row
        for row in self.items.values():
            if row.id not in self.removed:
                self.world.add(row)
                target = plan.inserted if row.id in plan.inserted else plan.updated
                target[row.id] = row
        for row_id in self.removed:
            self.world.remove(row_id)
            plan.updated.pop(row_id, None)
            # A row that came and went within the batch never meets the table.
            if plan.inserted.pop(row_id, None) is None:
                plan.removed.add(row_id)
        # For the combats of the batch that ended later its belt is free from here on.
        self.world.release(self.cause.session_id, self.characters)
        plan.ledger += self.ledger
        plan.discrepancies += self.discrepancies

    def _apply_player(self, char_id: int, asked: Asked) -> None:
        before = self.world.characters[char_id]
        char = before.copy()
        self.characters[char_id] = char
        changes = asked.changes
        # Nothing is cut off to fit: above its column's range the combat fails.
        char.xp = self._bounded(char.xp + changes.xp_gained, MAX_BIGINT, "xp")
        self._apply_gold(char, changes.gold_gained)
        self._apply_snapshot(char, asked)
        movements = [
            *self._consume(char_id, asked),
            *self._wear(char_id, asked),
            *self._grant(char_id, asked),
        ]
        self.ledger.append(
            LedgerEntry(
                session_id=self.cause.session_id,
                revision=self.cause.revision,
                character_id=char_id,
                xp_delta=char.xp - before.xp,
                gold_delta=char.gold - before.gold,
                xp_after=char.xp,
                gold_after=char.gold,
                items=movements,
                balances=self._apply_balances(char_id, changes.balances),
            )
        )

    def _apply_gold(self, char: CharacterRow, gained: int) -> None:
        wanted = self._bounded(char.gold + gained, MAX_BIGINT, "gold")
        # A penalty takes what there is: experience is not held hostage by a purse.
        if wanted < 0:
            self._discrepancy(
                char.id, DiscrepancyCode.GOLD_SHORTAGE, -gained, char.gold
            )
            wanted = 0
        char.gold = wanted

    def _apply_balances(self, char_id: int, asked: Mapping[str, int]) -> Moved | None:
        moved: Moved = {}
        for balance_id, gained in asked.items():
            row = self.world.balances.get((char_id, balance_id))
            # Of what is in the catalogue there is a row, of 0 where none is stored.
            if row is None:
                raise self.failure(
                    FailureCode.UNKNOWN_BALANCE,
                    f"balance {balance_id!r} of character {char_id} is not in the "
                    "catalogue",
                    balance_id,
                )
            delta = row.room(gained)
            if gained > delta:
                raise self.failure(
                    FailureCode.OUT_OF_RANGE,
                    f"{balance_id} would exceed {row.maximum}",
                    balance_id,
                )
            row = self.balances[char_id, balance_id] = row.moved(delta)
            moved[balance_id] = {"delta": delta, "after": row.amount}
            if gained < delta:
                code = DiscrepancyCode.BALANCE_SHORTAGE
                self._discrepancy(char_id, code, -gained, -delta, balance_id=balance_id)
        return moved or None

    def _apply_snapshot(self, char: CharacterRow, asked: Asked) -> None:
        snapshot = asked.state_snapshot
        if snapshot is None:
            return
        # As every Saver compares: the newer wins; of two that ended at once, the id.
        this = (self.cause.finished_at, self.cause.session_id)
        if char.vitals_at is not None and this <= (
            char.vitals_at,
            char.vitals_session_id or NO_SESSION,
        ):
            return
        char.hp, char.energy = snapshot.hp, snapshot.energy
        char.vitals_at, char.vitals_session_id = this

    def _consume(self, char_id: int, asked: Asked) -> Iterator[dict[str, Any]]:
        wanted: dict[int, int] = {}
        templates: dict[int, set[str]] = {}
        # One entry a use is allowed: summed, a row that falls short is told of once.
        for entry in asked.changes.items_consumed:
            row_id = entry.inventory_id
            wanted[row_id] = wanted.get(row_id, 0) + entry.qty
            if entry.item_template_id is not None:
                templates.setdefault(row_id, set()).add(entry.item_template_id)
        for row_id, qty in wanted.items():
            row = self._owned_row(char_id, row_id, templates.get(row_id, set()), qty)
            if row is not None:
                yield from self._take(row, qty)

    def _owned_row(
        self, char_id: int, row_id: int, templates: set[str], wanted: int
    ) -> ItemRow | None:
        """The character's row as it stands; None after noting why there is none."""
        row = self._current(row_id)
        if row is None:
            code = DiscrepancyCode.ITEM_GONE
        elif row.character_id != char_id:
            code = DiscrepancyCode.ITEM_NOT_OWNED
        elif templates - {row.item_template_id}:
            code = DiscrepancyCode.ITEM_MISMATCH
        elif self._is_held(row):
            code = DiscrepancyCode.ITEM_RESERVED
        else:
            return row
        template_id = min(templates) if templates else None
        self._discrepancy(char_id, code, wanted, 0, row_id, template_id)
        return None

    def _take(self, row: ItemRow, qty: int) -> Iterator[dict[str, Any]]:
        taken = min(qty, row.quantity)
        if taken < qty:
            self._discrepancy(
                row.character_id,
                DiscrepancyCode.ITEM_SHORTAGE,
                qty,
                taken,
                row.id,
                row.item_template_id,
            )
        if not taken:
            return
        image = row.image() if taken == row.quantity else None
        row = self._writable(row)
        row.quantity -= taken
        movement = row.movement("consumed", -taken)
        if image is not None:
            self.removed.add(row.id)
            movement["image"] = image
        yield movement

    def _wear(self, char_id: int, asked: Asked) -> Iterator[dict[str, Any]]:
        for target, points in asked.changes.durability_loss.items():
            if not points:
                continue
            kind, _, name = target.partition(":")
            if kind == "item":
                row = self._equipped(char_id, name, points)
            else:
                row = self._owned_row(char_id, int(name), set(), points)
            if row is not None:
                yield from self._wear_row(row, points)

    def _wear_row(self, row: ItemRow, points: int) -> Iterator[dict[str, Any]]:
        if row.durability is None:
            self._discrepancy(
                row.character_id,
                DiscrepancyCode.NO_DURABILITY,
                points,
                0,
                row.id,
                row.item_template_id,
            )
            return
        before = row.durability
        row = self._writable(row)
        row.durability = max(0, before - points)
        movement = row.movement("worn", 0)
        movement["durability_delta"] = row.durability - before
        movement["durability_after"] = row.durability
        yield movement

    def _equipped(self, char_id: int, template_id: str, wanted: int) -> ItemRow | None:
        code = DiscrepancyCode.NOT_EQUIPPED
        for row_id in self.world.owned.get((char_id, template_id), ()):
            row = self._current(row_id)
            # Two of a kind may be worn, and another fight may hold one of them.
            if row is not None and row.is_equipped:
                if not self._is_held(row):
                    return row
                code = DiscrepancyCode.ITEM_RESERVED
        self._discrepancy(char_id, code, wanted, 0, None, template_id)
        return None

    def _is_held(self, row: ItemRow) -> bool:
        """A row on the belt of a fight yields to that one alone, pieces and wear."""
        return row.reserved_session_id not in (None, self.cause.session_id)

    def _grant(self, char_id: int, asked: Asked) -> Iterator[dict[str, Any]]:
        for loot in asked.loot():
            template = self.catalogue.find(loot)
            if template is None:
                name = loot.item_template_id or loot.name
                raise self.failure(
                    FailureCode.UNKNOWN_ITEM,
                    f"loot {name!r} of character {char_id} is not in the catalogue",
                    name or "",
                )
            properties = loot.properties or None
            if not template.stackable:
                yield from self._pieces(char_id, template, loot.qty, properties)
            elif properties is None:
                yield self._stack(char_id, template, loot.qty)
            else:
                row = self._insert(char_id, template, loot.qty, properties)
                yield row.movement("gained", loot.qty)

    def _stack(self, char_id: int, template: Template, qty: int) -> dict[str, Any]:
        row = self._bag_stack(char_id, template.id)
        if row is None:
            row = self._insert(char_id, template, qty)
        else:
            row = self._writable(row)
            row.quantity = self._bounded(row.quantity + qty, MAX_INT, template.id)
        return row.movement("gained", qty)

    def _pieces(
        self, char_id: int, template: Template, qty: int, properties: Document | None
    ) -> Iterator[dict[str, Any]]:
        self._bounded(qty, MAX_PIECES, template.id)
        for _ in range(qty):
            row = self._insert(char_id, template, 1, properties)
            yield row.movement("gained", 1)

    def _bag_stack(self, char_id: int, template_id: str) -> ItemRow | None:
        """The unequipped stack of the lowest id, of pieces without properties."""
        owned = self.world.owned.get((char_id, template_id), ())
        # Rows made here have the highest ids of all, so that this is in their order.
        for row_id in (*owned, *self.inserted):
            row = self._current(row_id)
            if (
                row is not None
                and row.character_id == char_id
                and row.item_template_id == template_id
                and not row.is_equipped
                and row.slot is None
                and row.properties is None
            ):
                return row
        return None

    def _insert(
        self,
        char_id: int,
        template: Template,
        qty: int,
        properties: Document | None = None,
    ) -> ItemRow:
        row = ItemRow(
            id=next(self.new_ids),
            character_id=char_id,
            item_template_id=template.id,
            quantity=qty,
            is_equipped=False,
            slot=None,
            durability=template.max_durability,
            max_durability=template.max_durability,
            origin_session_id=self.cause.session_id,
            opening_quantity=0,
            properties=properties,
        )
        self.inserted[row.id] = row
        return row

    def _current(self, row_id: int) -> ItemRow | None:
        """The row as this draft has it, to read only; None where it is gone."""
        if row_id in self.removed:
            return None
        return (
            self.inserted.get(row_id)
            or self.items.get(row_id)
            or self.world.items.get(row_id)
        )

    def _writable(self, row: ItemRow) -> ItemRow:
        """The draft's own copy of a row; writing it stays invisible until merged."""
        if row.id in self.inserted:
            return row
        if row.id not in self.items:
            self.items[row.id] = row.copy()
        return self.items[row.id]

    def _bounded(self, value: int, limit: int, what: str) -> int:
        if value > limit:
            told = f"{what} would exceed {limit}"
            raise self.failure(FailureCode.OUT_OF_RANGE, told, what)
        return value

    def failure(
        self, code: FailureCode, detail: str, subject: str = ""
    ) -> DomainFailure:
        return DomainFailure(str(self.cause.session_id), str(code), detail, subject)

    def _discrepancy(
        self,
        char_id: int,
        code: DiscrepancyCode,
        wanted: int,
        applied: int,
        inventory_id: int | None = None,
        item_template_id: str | None = None,
        balance_id: str | None = None,
    ) -> None:
        self.discrepancies.append(
            Discrepancy(
                session_id=self.cause.session_id,
                revision=self.cause.revision,
                character_id=char_id,
                code=code,
                inventory_id=inventory_id,
                item_template_id=item_template_id,
                wanted=wanted,
                applied=applied,
                balance_id=balance_id,
            )
        )
