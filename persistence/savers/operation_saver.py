"""OperationSaver: one operation of the game, now, as a whole or not at all.

Tables: operations, characters, balances, inventory, settlement_ledger. Locks: the
characters by id; then the key of the new row, where two operations of one name meet. In
the ledger, and as the origin of rows that it made, an operation goes by its `id`, as a
combat does by its session.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from persistence.contract.errors import (
    DiscrepancyCode,
    DomainFailure,
    FailureCode,
    OperationRefused,
)
from persistence.contract.operate import (
    Asked,
    CharacterAfter,
    Operation,
    OperationAnswer,
    Shortage,
)
from persistence.savers.combat import load, write
from persistence.savers.combat.plan import plan_operation
from persistence.savers.combat.rows import Discrepancy, LedgerEntry, Plan
from persistence.savers.combat.statements import insert_lines
from persistence.worker import sql
from persistence.worker.sql import Row, Write

if TYPE_CHECKING:
    from psycopg import Cursor

# No ON CONFLICT: who comes second is rolled back, and reads what the first was told.
INSERT_OPERATION = """
INSERT INTO operations (op_id, id, reason, caller, sha256, document, answer)
SELECT op_id, id, reason, caller, sha256, document::jsonb, answer::jsonb
FROM unnest(%b::text[], %s::uuid[], %b::text[], %b::text[], %b::text[], %b::text[],
            %b::text[])
     AS n (op_id, id, reason, caller, sha256, document, answer)
"""

INSERT_LINES = insert_lines("operation")

READ_OPERATION = "SELECT sha256, answer::text FROM operations WHERE op_id = %b"


@dataclass(frozen=True, slots=True)
class Cause:
    """An operation as the planner knows it; `session_id` is its own id."""

    operation: Operation
    session_id: UUID
    finished_at: datetime
    revision: int = 1

    def asked(self) -> Mapping[int, Asked]:
        return self.operation.asked()


class OperationSaver:
    """Works inside the transaction that the caller holds open; never commits it."""

    def __init__(self, cursor: Cursor[Row]) -> None:
        self._cursor = cursor

    def apply(self, operation: Operation, caller: str) -> OperationAnswer:
        """Apply it. Raises OperationRefused, with nothing written.

        Where one of its name was applied before, psycopg's UniqueViolation, unless it
        is refused; `applied` then tells which.
        """
        cause = Cause(operation, uuid4(), datetime.now(UTC))
        plan = self._plan(cause)
        answer = _answer(cause, plan)
        row = (
            operation.op_id,
            cause.session_id,
            operation.reason,
            caller,
            operation.sha256,
            operation.document(),
            answer.model_dump_json(exclude={"duplicate"}),
        )
        writes = [
            Write(INSERT_OPERATION, [row], frozenset({0, 2, 3, 4, 5, 6})),
            *write.effects(plan, INSERT_LINES),
        ]
        sql.run(self._cursor.connection, writes)
        return answer

    def applied(self, op_id: str) -> tuple[str, OperationAnswer] | None:
        """Hash and answer of what was applied under that name."""
        rows = sql.fetch(self._cursor, READ_OPERATION, [op_id])
        if not rows:
            return None
        sha256, answer = rows[0]
        return sha256, OperationAnswer.model_validate_json(answer)

    def _plan(self, cause: Cause) -> Plan:
        op_id = cause.operation.op_id
        catalogue = load.catalogue(self._cursor, [cause])
        world = load.locked_world(self._cursor, [cause], catalogue)
        new_ids = load.reserved_ids(self._cursor, [cause], catalogue)
        try:
            plan = plan_operation(cause, world, catalogue, new_ids)
        except DomainFailure as failure:
            raise OperationRefused(op_id, failure.code, failure.detail, []) from None
        if plan.discrepancies:
            raise _short_of(op_id, plan.discrepancies)
        return plan


def _short_of(op_id: str, shortages: list[Discrepancy]) -> OperationRefused:
    reserved = any(one.code == DiscrepancyCode.ITEM_RESERVED for one in shortages)
    return OperationRefused(
        op_id,
        str(DiscrepancyCode.ITEM_RESERVED if reserved else FailureCode.SHORTAGE),
        "; ".join(map(str, shortages)),
        [_shortage(one).model_dump() for one in shortages],
    )


def _shortage(one: Discrepancy) -> Shortage:
    return Shortage(
        code=str(one.code),
        character_id=one.character_id,
        inventory_id=one.inventory_id,
        item_template_id=one.item_template_id,
        balance_id=one.balance_id,
        wanted=one.wanted,
        there=one.applied,
    )


def _answer(cause: Cause, plan: Plan) -> OperationAnswer:
    return OperationAnswer(
        op_id=cause.operation.op_id,
        id=cause.session_id,
        characters={line.character_id: _after(line) for line in plan.ledger},
    )


def _after(line: LedgerEntry) -> CharacterAfter:
    # An image is the ledger's: of a row that is gone, for an undo.
    items = [
        {key: value for key, value in movement.items() if key != "image"}
        for movement in line.items
    ]
    named = {id_: move["after"] for id_, move in (line.balances or {}).items()}
    return CharacterAfter(
        xp=line.xp_after, gold=line.gold_after, balances=named, items=items
    )
