"""What PostgreSQL holds in earnest, in memory: characters, balances, items, ledger.

Every change of it is a plan of the workers' own planner, over the rows that are here.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from uuid import UUID, uuid4

from persistence.belts.belt import Held, Item, sorted_out
from persistence.contract.changes import MAX_BIGINT
from persistence.contract.document import Document
from persistence.contract.errors import DomainFailure
from persistence.contract.operate import Operation, OperationAnswer
from persistence.contract.payload import BeltItem
from persistence.savers.combat.operation import Cause, answered, planned, told_again
from persistence.savers.combat.plan import plan_batch
from persistence.savers.combat.rows import (
    BalanceRow,
    Catalogue,
    CharacterRow,
    Combat,
    Discrepancy,
    ItemRow,
    LedgerEntry,
    Plan,
    Template,
    World,
)
from persistence.savers.combat.rows import (
    Cause as Asking,
)

Totals = Counter[str]
"""Of everybody together: `xp`, `gold`, `balance:<id>` and `item:<template>`."""


class Books:
    """A game's world. Thread-safe, as a transaction is.

    `fail_on_shortage`: as the setting SETTLEMENT_SHORTAGES=fail.
    """

    def __init__(self) -> None:
        self.fail_on_shortage = False
        self.ledger: list[LedgerEntry] = []
        self.discrepancies: list[Discrepancy] = []
        self.failures: dict[UUID, DomainFailure] = {}
        self.settled: set[UUID] = set()
        self._lock = threading.RLock()
        self._world = World([], [])
        self._templates: dict[str, Template] = {}
        self._bounds: dict[str, BalanceRow] = {}
        self._applied: dict[str, tuple[str, OperationAnswer]] = {}
        self._ids = count(1)
        self._opening: Totals = Counter()

    def add_item(
        self,
        template_id: str,
        name: str = "",
        *,
        stackable: bool = True,
        max_durability: int | None = None,
    ) -> None:
        """Put an item into the catalogue."""
        name = name or template_id
        template = Template(template_id, name, "", stackable, max_durability)
        self._templates[template_id] = template

    def add_balance(
        self, balance_id: str, *, floor: int = 0, maximum: int = MAX_BIGINT
    ) -> None:
        """Put a named balance into the catalogue."""
        self._bounds[balance_id] = BalanceRow(0, floor, maximum)

    def add_character(
        self,
        char_id: int,
        *,
        xp: int = 0,
        gold: int = 0,
        balances: Mapping[str, int] | None = None,
    ) -> None:
        row = CharacterRow(char_id, xp, gold, 100, 100, None, None)
        with self._lock:
            self._world.characters[char_id] = row
            self._opening.update(xp=xp, gold=gold)
            for balance_id, amount in (balances or {}).items():
                opened = self._bounds[balance_id]._replace(amount=amount)
                self._world.balances[char_id, balance_id] = opened
                self._opening[f"balance:{balance_id}"] += amount

    def give(
        self,
        char_id: int,
        template_id: str,
        qty: int = 1,
        *,
        slot: str | None = None,
        properties: Document | None = None,
    ) -> int:
        """Items that the character has from the start; their inventory id.

        With a `slot` they are equipped: `belt_1` is on the belt.
        """
        template = self._templates[template_id]
        if qty > 1 and not template.stackable:
            raise ValueError(f"{template_id} does not stack: give pieces one by one")
        wear = template.max_durability
        with self._lock:
            row = ItemRow(
                id=next(self._ids),
                character_id=self._world.characters[char_id].id,
                item_template_id=template_id,
                quantity=qty,
                is_equipped=slot is not None,
                slot=slot,
                durability=wear,
                max_durability=wear,
                origin_session_id=None,
                opening_quantity=qty,
                properties=properties,
            )
            self._world.add(row)
            self._opening[f"item:{template_id}"] += qty
        return row.id

    def character(self, char_id: int) -> CharacterRow:
        return self._world.characters[char_id].copy()

    def balance(self, char_id: int, balance_id: str) -> int:
        row = self._world.balances.get((char_id, balance_id))
        return self._bounds[balance_id].amount if row is None else row.amount

    def items(self, char_id: int) -> list[ItemRow]:
        return [row.copy() for row in self._rows() if row.character_id == char_id]

    def pieces(self, char_id: int, template_id: str) -> int:
        rows = (row for row in self.items(char_id))
        return sum(row.quantity for row in rows if row.item_template_id == template_id)

    def minted(self) -> Totals:
        """What came into the world since the start, and what left it."""
        now: Totals = Counter()
        with self._lock:
            for char in self._world.characters.values():
                now.update(xp=char.xp, gold=char.gold)
            for (_, balance_id), row in self._world.balances.items():
                now[f"balance:{balance_id}"] += row.amount
            for item in self._rows():
                now[f"item:{item.item_template_id}"] += item.quantity
            now.subtract(self._opening)
        return _moved(now)

    def recorded(self) -> Totals:
        """The same, by the lines of the ledger."""
        found: Totals = Counter()
        for line in list(self.ledger):
            found["xp"] += line.xp_delta
            found["gold"] += line.gold_delta
            for balance_id, move in (line.balances or {}).items():
                found[f"balance:{balance_id}"] += move["delta"]
            for movement in line.items:
                found[f"item:{movement['item_template_id']}"] += movement["delta"]
        return _moved(found)

    def settle(self, combats: Sequence[Combat]) -> None:
        """As a batch of a worker is: what fails leaves nothing but its failure."""
        with self._lock:
            self._open_balances(combats)
            plan = plan_batch(
                combats,
                self._world,
                self._catalogue(),
                self._ids,
                fail_on_shortage=self.fail_on_shortage,
            )
            self._record(plan)
            self.failures |= plan.failures
            self.settled |= {c.session_id for c in combats} - plan.failures.keys()

    def operate(self, operation: Operation) -> OperationAnswer:
        """As the HTTP API does. Raises OperationRefused or OperationConflict."""
        with self._lock:
            if known := self._applied.get(operation.op_id):
                return told_again(operation, *known)
            cause = Cause(operation, uuid4(), datetime.now(UTC))
            self._open_balances([cause])
            plan = planned(cause, self._world, self._catalogue(), self._ids)
            self._record(plan)
            answer = answered(cause, plan)
            self._applied[operation.op_id] = operation.sha256, answer
            return answer

    def unknown(self, char_ids: Iterable[int]) -> list[int]:
        return [id_ for id_ in char_ids if id_ not in self._world.characters]

    def reserve(
        self, session_id: UUID, char_ids: Iterable[int]
    ) -> tuple[dict[int, list[BeltItem]], list[Held]]:
        """The belts of these characters, and what other fights hold of them."""
        players = set(char_ids) & self._world.characters.keys()
        with self._lock:
            on_belts = [self._on_belt(r) for r in self._rows() if _is_on_belt(r)]
            mine = [item for item in on_belts if item.character_id in players]
            belts, held, fresh = sorted_out(session_id, mine)
            for row_id in fresh:
                self._world.items[row_id].reserved_session_id = session_id
                self._world.held[session_id].append(row_id)
        return {id_: belts.get(id_, []) for id_ in sorted(players)}, held

    def release(self, session_id: UUID, char_id: int, used: set[int]) -> None:
        """What a player who has left did not use up in that fight."""
        with self._lock:
            for row_id in list(self._world.held[session_id]):
                row = self._world.items[row_id]
                if row.character_id == char_id and row_id not in used:
                    row.reserved_session_id = None
                    self._world.held[session_id].remove(row_id)

    def _rows(self) -> Iterator[ItemRow]:
        return iter(list(self._world.items.values()))

    def _on_belt(self, row: ItemRow) -> Item:
        return Item(
            row.id,
            row.character_id,
            row.item_template_id,
            row.slot or "",
            row.quantity,
            row.properties,
            row.reserved_session_id,
            is_left=row.reserved_session_id in self.settled,
        )

    def _catalogue(self) -> Catalogue:
        return Catalogue(self._templates.values())

    def _open_balances(self, causes: Iterable[Asking]) -> None:
        """What nobody has moved yet has no row, and is nothing."""
        for cause in causes:
            for char_id, asked in cause.asked().items():
                for balance_id in asked.changes.balances:
                    if row := self._bounds.get(balance_id):
                        self._world.balances.setdefault((char_id, balance_id), row)

    def _record(self, plan: Plan) -> None:
        self.ledger += plan.ledger
        self.discrepancies += plan.discrepancies


def _is_on_belt(row: ItemRow) -> bool:
    return row.is_equipped and row.slot is not None


def _moved(totals: Totals) -> Totals:
    return Counter({name: amount for name, amount in totals.items() if amount})
