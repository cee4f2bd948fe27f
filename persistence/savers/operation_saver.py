"""OperationSaver: one operation of the game, now, as a whole or not at all.

Tables: operations, characters, balances, inventory, settlement_ledger,
settlement_events. Locks: the characters by id; then the key of the new row, where two
operations of one name meet. In the ledger, and as the origin of rows that it made, an
operation goes by its `id`, as a combat does by its session.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from persistence.contract.events import EventKind
from persistence.contract.operate import Operation, OperationAnswer
from persistence.protocols import Applied, Hook
from persistence.savers.combat import load, write
from persistence.savers.combat.operation import Cause, answered, planned
from persistence.savers.combat.rows import Plan
from persistence.savers.combat.statements import insert_lines
from persistence.worker import events, sql
from persistence.worker.events import NewEvent
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


class OperationSaver:
    """Works inside the transaction that the caller holds open; never commits it.

    `hooks` are told of what is applied, before it is committed.
    """

    def __init__(self, cursor: Cursor[Row], hooks: Sequence[Hook] = ()) -> None:
        self._cursor = cursor
        self._hooks = hooks

    def apply(self, operation: Operation, caller: str) -> OperationAnswer:
        """Apply it. Raises OperationRefused, with nothing written.

        Where one of its name was applied before, psycopg's UniqueViolation, unless it
        is refused; `applied` then tells which.
        """
        cause = Cause(operation, uuid4(), datetime.now(UTC))
        plan = self._plan(cause)
        answer = answered(cause, plan)
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
            events.record([_event(cause, plan)]),
        ]
        sql.run(self._cursor.connection, writes)
        for hook in self._hooks:
            hook.settled(self._cursor, [_applied(cause)])
        return answer

    def applied(self, op_id: str) -> tuple[str, OperationAnswer] | None:
        """Hash and answer of what was applied under that name."""
        rows = sql.fetch(self._cursor, READ_OPERATION, [op_id])
        if not rows:
            return None
        sha256, answer = rows[0]
        return sha256, OperationAnswer.model_validate_json(answer)

    def _plan(self, cause: Cause) -> Plan:
        catalogue = load.catalogue(self._cursor, [cause])
        world = load.locked_world(self._cursor, [cause], catalogue)
        new_ids = load.reserved_ids(self._cursor, [cause], catalogue)
        return planned(cause, world, catalogue, new_ids)


def _applied(cause: Cause) -> Applied:
    one = cause.operation
    document = one.model_dump(mode="json", include={"characters"}, exclude_unset=True)
    return Applied(cause.session_id, cause.revision, document, one.op_id, one.reason)


def _event(cause: Cause, plan: Plan) -> NewEvent:
    characters = write.moved(plan.ledger)
    body = {"id": cause.session_id, "characters": characters}
    ids = sorted(map(int, characters))
    return NewEvent(EventKind.APPLIED, cause.operation.op_id, ids, body)
