"""InventoryStateSaver: the operations that the game queued for one player.

Tables: inventory, applied_operations, parked_operations, settlement_ledger. Locks: the
character's row, which guards all of its inventory. The keys of operations are written
with their effects, so that one is applied once however often it is delivered; the list
is trimmed after the commit, and what a lost trim left is stepped over by the next save.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

from django.conf import settings

from persistence.contract import redis_keys
from persistence.contract.errors import ParkCode
from persistence.contract.operations import (
    MADE_BY,
    Add,
    Operation,
    Remove,
    Split,
    named_rows,
)
from persistence.protocols import Saved, SyncScope
from persistence.savers.combat.rows import MAX_PIECES, Template
from persistence.savers.combat.statements import (
    LOAD_TEMPLATES,
    LOCK_CHARACTERS,
    RESERVE_ITEM_IDS,
)
from persistence.savers.inventory import statements
from persistence.savers.inventory.bag import Bag, Item
from persistence.savers.inventory.plan import (
    InventoryPlan,
    Known,
    OpenRequest,
    plan_operations,
)
from persistence.savers.inventory.requests import (
    Request,
    identity,
    read_element,
    read_parked,
)
from persistence.worker import inbox
from persistence.worker.parking import Parked, open_operations, park, resolve
from persistence.worker.sql import Row, array, fetch, run

if TYPE_CHECKING:
    from psycopg import Cursor

BATCH = 500
"""Operations of one save: far below a second of work, and of a lock."""


class InventoryStateSaver:
    """Idempotent by op_id: the same operation again changes nothing."""

    def __init__(self, cursor: Cursor[Row]) -> None:
        self._cursor = cursor

    def save(self, char_id: int) -> Saved:
        key = redis_keys.inventory_delta(char_id)
        # Before the lock: no character is held while Redis is asked. One more than is
        # applied: it tells whether more waits.
        elements = cast("list[bytes]", inbox.client().lrange(key, 0, BATCH))
        head = elements[:BATCH]
        balances = self._lock(char_id)
        waiting = self._waiting(char_id)
        is_retry = any(row.is_requested for row in waiting)
        if not head and not is_retry:
            return Saved(counts={"absent": 1})
        keys = settings.SETTLEMENT_ENGINE_KEYS
        requests = [read_element(char_id, raw, keys) for raw in head]
        tried = [*(row.request for row in waiting), *requests]
        known = self._known(char_id, waiting, tried)
        bag = self._bag(char_id, known, tried) if balances else None
        if bag is not None:
            # Without a retry none of those that wait can make a row.
            bag.new_ids = self._reserved_ids(tried if is_retry else requests, bag)
        plan = plan_operations(requests, known, bag, _prefix(char_id))
        self._write(char_id, balances, bag, plan)
        return Saved(
            confirm=partial(_trim, key, head),
            counts=dict(plan.counts),
            again=len(elements) > len(head),
        )

    def _lock(self, char_id: int) -> tuple[int, int] | None:
        """XP and gold; None where there is no such character."""
        rows = fetch(self._cursor, LOCK_CHARACTERS, [array([char_id])])
        return (rows[0][1], rows[0][2]) if rows else None

    def _waiting(self, char_id: int) -> list[OpenRequest]:
        """Parked operations that hold up others, or are to be tried again.

        A row of a save that failed as a whole is none of them, and what nobody has
        signed is one only where a person wants it.
        """
        return [
            OpenRequest(
                read_parked(char_id, row),
                row.blocked_by,
                row.retry_requested,
                is_correction=row.code == ParkCode.CORRECTION,
            )
            for row in open_operations(self._cursor, SyncScope.INVENTORY, char_id)
            if row.code != ParkCode.UNEXPECTED
            if row.code != ParkCode.BAD_SIGNATURE or row.retry_requested
        ]

    def _known(
        self, char_id: int, waiting: Sequence[OpenRequest], tried: Sequence[Request]
    ) -> Known:
        named = set(_op_ids(tried))
        keys = {key for r in tried for key in (r.key, r.second_key())}
        documents = statements.discarded(self._cursor, char_id, keys)
        return Known(
            applied=statements.applied(self._cursor, _prefix(char_id), named),
            discarded={key: identity(kept) for key, kept in documents.items()},
            open=waiting,
        )

    def _bag(self, char_id: int, known: Known, tried: Sequence[Request]) -> Bag:
        operations = [r.operation for r in tried if r.operation is not None]
        named = {
            row
            for operation in operations
            for row in named_rows(operation)
            if isinstance(row, int)
        }
        made = (done.inventory_id for done in known.applied.values())
        named |= {row_id for row_id in made if row_id is not None}
        items = statements.items(self._cursor, char_id, named)
        return Bag(char_id, items, self._templates(items, operations), iter(()))

    def _templates(
        self, items: Sequence[Item], operations: Sequence[Operation]
    ) -> dict[str, Template]:
        ids = {item.item_template_id for item in items}
        for operation in operations:
            if isinstance(operation, Add | Remove) and operation.item_template_id:
                ids.add(operation.item_template_id)
        rows = fetch(self._cursor, LOAD_TEMPLATES, [sorted(ids), [], []])
        return {row[0]: Template(*row) for row in rows}

    def _reserved_ids(self, tried: Sequence[Request], bag: Bag) -> Iterator[int]:
        """Ids for as many rows as these can make at most; gaps are harmless."""
        count = 0
        for operation in (request.operation for request in tried):
            if isinstance(operation, Add):
                template = bag.templates.get(operation.item_template_id)
                is_stack = template is None or template.stackable
                count += 1 if is_stack else min(operation.qty, MAX_PIECES)
            count += isinstance(operation, Split)
        if not count:
            return iter(())
        rows = fetch(self._cursor, RESERVE_ITEM_IDS, [count])
        return iter([row[0] for row in rows])

    def _write(
        self,
        char_id: int,
        balances: tuple[int, int] | None,
        bag: Bag | None,
        plan: InventoryPlan,
    ) -> None:
        if plan.resolved:
            resolve(self._cursor, SyncScope.INVENTORY, char_id, plan.resolved)
        parked = [
            Parked(
                scope=SyncScope.INVENTORY,
                character_id=char_id,
                op_id=entry.key,
                operation=entry.request.document,
                code=entry.code,
                detail=entry.detail,
                blocked_by=entry.blocked_by,
            )
            for entry in plan.parked.values()
        ]
        writes = [park(parked), statements.keys(_prefix(char_id), plan.applied)]
        if bag is not None and balances is not None:
            writes += statements.effects(bag)
            writes.append(statements.line(char_id, *balances, bag.movements))
        run(self._cursor.connection, writes)


def _prefix(char_id: int) -> str:
    """The prefix of this player's keys: op_ids are unique to a player only."""
    return f"{SyncScope.INVENTORY}:{char_id}:"


def _op_ids(tried: Sequence[Request]) -> Iterator[str]:
    """The operations they are or name."""
    for request in tried:
        if request.op_id is not None:
            yield request.op_id
        if request.operation is not None:
            for row in named_rows(request.operation):
                if isinstance(row, str):
                    yield row.removeprefix(MADE_BY)


def _trim(key: str, handled: Sequence[bytes]) -> None:
    if handled:
        inbox.script("trim")(keys=[key], args=list(handled))
