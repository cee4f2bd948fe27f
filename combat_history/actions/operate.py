"""Apply an operation of the game, in a transaction of its own, once by its `op_id`."""

from __future__ import annotations

from psycopg.errors import UniqueViolation

from persistence.contract.errors import OperationRefused
from persistence.contract.operate import Operation, OperationAnswer
from persistence.savers.combat.operation import told_again
from persistence.savers.operation_saver import OperationSaver
from persistence.savers.registry import hooks
from persistence.worker.transactions import open_cursor, renew_connection


def operate(operation: Operation, caller: str) -> OperationAnswer:
    """Apply it, or tell again what came of it when it was applied.

    Raises OperationRefused or OperationConflict, with nothing written; the database's
    own errors, of which a repetition tells whether it was applied.
    """
    renew_connection()
    try:
        with open_cursor() as cursor:
            return OperationSaver(cursor, hooks()).apply(operation, caller)
    except (OperationRefused, UniqueViolation):
        # Asked only now: nearly every operation is new. What it has spent itself may
        # be why the same one is refused the second time.
        told = _told_before(operation)
        if told is None:
            raise
        return told


def _told_before(operation: Operation) -> OperationAnswer | None:
    with open_cursor() as cursor:
        found = OperationSaver(cursor).applied(operation.op_id)
    return None if found is None else told_again(operation, *found)
