"""Checks inventory operations by their keys: what moved was applied once, by name.

What is parked waits for a person, however long: that is no difference by itself.
"""

from __future__ import annotations

from combat_history.reconcile.table_check import TableCheck

# Operations that moved something, by the lines that say so.
MOVED = """
WITH moved AS (
    SELECT DISTINCT line.id AS line_id, line.character_id,
           entry ->> 'op_id' AS op_id,
           format('inventory:%%s:%%s', line.character_id, entry ->> 'op_id') AS key
    FROM settlement_ledger line
    CROSS JOIN LATERAL jsonb_array_elements(line.items) entry
    WHERE line.kind = 'operation' AND line.session_id IS NULL
)
"""

MOVED_WITHOUT_KEY = """
SELECT moved.line_id, moved.character_id, moved.op_id
FROM moved
LEFT JOIN applied_operations applied ON applied.key = moved.key
WHERE applied.key IS NULL
"""

MOVED_TWICE = """
SELECT character_id, op_id, count(*) AS lines
FROM moved
GROUP BY character_id, op_id
HAVING count(*) > 1
"""

OPERATION_PAYS = """
SELECT id AS line_id, character_id, xp_delta, gold_delta
FROM settlement_ledger
WHERE kind = 'operation' AND session_id IS NULL
  AND (xp_delta, gold_delta) <> (0, 0)
"""

ROW_WITHOUT_OPERATION = """
SELECT item.id AS inventory_id, item.character_id, item.origin_operation
FROM inventory item
LEFT JOIN applied_operations applied ON applied.key = item.origin_operation
WHERE item.origin_operation IS NOT NULL AND applied.key IS NULL
"""

# One that took a name in use is parked under another one.
PARKED = """
WITH parked AS (
    SELECT parked.*, applied.key IS NOT NULL AS is_applied
    FROM parked_operations parked
    LEFT JOIN applied_operations applied
        ON applied.key = format('inventory:%%s:%%s', parked.character_id,
                                parked.operation ->> 'op_id')
    WHERE parked.scope = 'inventory' AND parked.operation ->> 'op_id' IS NOT NULL
)
"""

PARKED_YET_APPLIED = """
SELECT id AS parked_id, character_id, op_id, code
FROM parked
WHERE is_applied AND op_id = operation ->> 'op_id'
  AND resolution IS DISTINCT FROM 'applied'
"""

RESOLVED_UNAPPLIED = """
SELECT id AS parked_id, character_id, op_id
FROM parked
WHERE NOT is_applied AND resolution = 'applied'
"""

RETRY_UNANSWERED = """
SELECT id AS parked_id, character_id, op_id, scope, retry_requested_at
FROM parked_operations
WHERE resolved_at IS NULL
  AND retry_requested_at < now() - %(overdue_ms)s * interval '1 millisecond'
"""

OPERATION_CHECKS = (
    TableCheck(
        "moved_without_key",
        "every operation that moved something has its key",
        MOVED_WITHOUT_KEY,
        "moved something, but is not among the applied operations",
        given=MOVED,
    ),
    TableCheck(
        "moved_twice",
        "no operation moved something in two saves",
        MOVED_TWICE,
        "in {lines} lines of the ledger",
        given=MOVED,
    ),
    TableCheck(
        "operation_pays",
        "inventory operations move neither XP nor gold",
        OPERATION_PAYS,
        "moved {xp_delta} XP and {gold_delta} gold",
    ),
    TableCheck(
        "row_without_operation",
        "every row that an operation made has the key of that operation",
        ROW_WITHOUT_OPERATION,
        "made by {origin_operation}, which was never applied",
    ),
    TableCheck(
        "parked_yet_applied",
        "nothing that was applied is still parked",
        PARKED_YET_APPLIED,
        "parked as {code}, yet among the applied operations",
        given=PARKED,
    ),
    TableCheck(
        "resolved_unapplied",
        "what was parked and counts as applied was applied",
        RESOLVED_UNAPPLIED,
        "resolved as applied, but not among the applied operations",
        given=PARKED,
    ),
    TableCheck(
        "replay_unanswered",
        "every retry of a parked operation was tried",
        RETRY_UNANSWERED,
        "asked for at {retry_requested_at:%Y-%m-%d %H:%M:%S} UTC, not tried since",
    ),
)
