"""Checks operations of the game by their lines; what these move: `ledger_checks`."""

from __future__ import annotations

from combat_history.reconcile.table_check import TableCheck

OPERATION_LINE_MISSING = """
SELECT operation.id AS session_id, operation.op_id, part.key AS character_id
FROM operations operation
CROSS JOIN LATERAL jsonb_object_keys(operation.document -> 'characters') AS part (key)
LEFT JOIN settlement_ledger line
    ON line.session_id = operation.id AND line.kind = 'operation'
    AND line.character_id::text = part.key
WHERE line.id IS NULL
"""

OPERATION_LINE_STRAY = """
SELECT line.session_id, line.character_id, line.id AS line_id
FROM settlement_ledger line
LEFT JOIN operations operation ON operation.id = line.session_id
WHERE line.kind = 'operation' AND line.session_id IS NOT NULL
  AND (operation.document -> 'characters' ? line.character_id::text) IS NOT TRUE
"""

OPERATED_CHECKS = (
    TableCheck(
        "operation_line_missing",
        "every character of an operation of the game has a ledger line",
        OPERATION_LINE_MISSING,
        "no ledger line of operation {op_id}",
    ),
    TableCheck(
        "operation_line_stray",
        "every ledger line of an operation of the game is asked for by it",
        OPERATION_LINE_STRAY,
        "no operation, or one that does not name this character",
    ),
)
