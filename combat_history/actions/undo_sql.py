"""The set-based statements of one undo, and the rows they read and write."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING
from uuid import UUID

from combat_history.actions.undo_plan import Balance, Undo, origin_of
from persistence.contract.document import canonical_json
from persistence.savers.combat import load, write
from persistence.savers.combat.rows import BalanceRow, LedgerEntry
from persistence.savers.combat.statements import (
    DELETE_ITEMS,
    UPDATE_ITEMS,
    insert_lines,
)
from persistence.savers.inventory.bag import Item
from persistence.worker.sql import Row, Write, array, columns, fetch

if TYPE_CHECKING:
    from psycopg import Cursor

READ_HISTORY = """
SELECT settlement_status, session_id, revision, compensated_at IS NOT NULL
FROM combat_history
WHERE session_id = %s
"""

# An operation has no revisions, and none that is not applied.
READ_OPERATION = """
SELECT 'processed', id, 1, undone_at IS NOT NULL
FROM operations
WHERE op_id = %b
"""
LOCK = "FOR NO KEY UPDATE"

LOAD_LINES = """
SELECT session_id, revision, character_id, xp_delta, gold_delta, xp_after, gold_after,
       items, balances
FROM settlement_ledger
WHERE session_id = %s AND revision = %s AND kind IN ('settlement', 'operation')
ORDER BY id
"""

READ_CHARACTERS = """
SELECT id, xp, gold
FROM characters
WHERE id = ANY (%s::bigint[])
ORDER BY id
"""
LOCK_CHARACTERS = READ_CHARACTERS + "FOR NO KEY UPDATE"

ITEM = """i.id, i.character_id, i.item_template_id, i.quantity, i.is_equipped, i.slot,
       i.durability, i.max_durability, i.origin_session_id, i.opening_quantity,
       i.reserved_session_id, i.properties, i.origin_operation"""

# What was named, whoever has it now; as many other rows of a kind that is taken back as
# there are pieces to take; what is worn in a slot that something returns to. However
# much else lies in the bag is not read.
LOAD_ITEMS = f"""
SELECT {ITEM} FROM inventory i WHERE i.id = ANY (%s::bigint[])
UNION
SELECT {ITEM}
FROM unnest(%s::bigint[], %b::text[], %b::text[], %s::bigint[])
     AS gained (character_id, item_template_id, properties, pieces)
CROSS JOIN LATERAL (
    SELECT * FROM inventory own
    WHERE own.character_id = gained.character_id
      AND own.item_template_id = gained.item_template_id
      AND own.properties IS NOT DISTINCT FROM gained.properties::jsonb
      AND NOT own.is_equipped AND own.reserved_session_id IS NULL AND own.quantity > 0
    ORDER BY own.id
    LIMIT gained.pieces
) AS i
UNION
SELECT {ITEM}
FROM inventory i
JOIN unnest(%s::bigint[], %b::text[]) AS worn (character_id, slot)
  ON i.character_id = worn.character_id AND i.slot = worn.slot AND i.is_equipped
"""  # noqa: S608 -- own text

UPDATE_BALANCES = """
UPDATE characters c
SET xp = n.xp, gold = n.gold
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS n (id, xp, gold)
WHERE c.id = n.id
"""

# Named with an origin, so that no trigger takes them for rows from outside.
INSERT_ITEMS = """
INSERT INTO inventory
    (id, character_id, item_template_id, quantity, is_equipped, slot, durability,
     max_durability, origin_session_id, opening_quantity, properties, origin_operation)
SELECT id, character_id, item_template_id, quantity, is_equipped, slot, durability,
       max_durability, origin_session_id, opening_quantity, properties::jsonb,
       origin_operation
FROM unnest(%s::bigint[], %s::bigint[], %b::text[], %s::int[], %s::boolean[],
            %b::text[], %s::int[], %s::int[], %s::uuid[], %s::int[], %b::text[],
            %b::text[])
     AS n (id, character_id, item_template_id, quantity, is_equipped, slot, durability,
           max_durability, origin_session_id, opening_quantity, properties,
           origin_operation)
"""

INSERT_LINES = insert_lines("compensation")

# The key that the rows put back name as their origin. Without ON CONFLICT: whatever
# would undo a combat twice fails here at the latest.
INSERT_KEY = """
INSERT INTO applied_operations (key, scope)
SELECT * FROM unnest(%b::text[], %b::text[])
"""

MARK_UNDONE = """
UPDATE combat_history
SET compensated_at = clock_timestamp()
WHERE session_id = ANY (%s::uuid[]) AND settlement_status = 'processed'
  AND compensated_at IS NULL
"""

MARK_OPERATION_UNDONE = """
UPDATE operations
SET undone_at = clock_timestamp()
WHERE id = ANY (%s::uuid[]) AND undone_at IS NULL
"""


def lines(cursor: Cursor[Row], session_id: UUID, revision: int) -> list[LedgerEntry]:
    """The ledger lines of the applied revision, one a player."""
    return [
        LedgerEntry(*row) for row in fetch(cursor, LOAD_LINES, [session_id, revision])
    ]


def balances(
    cursor: Cursor[Row], statement: str, lines: Iterable[LedgerEntry]
) -> dict[int, Balance]:
    """`statement`: reads the characters, with or without locks."""
    lines = list(lines)
    char_ids = {line.character_id for line in lines}
    rows = fetch(cursor, statement, [array(sorted(char_ids))])
    moved = {(line.character_id, id_) for line in lines for id_ in line.balances or ()}
    named: defaultdict[int, dict[str, BalanceRow]] = defaultdict(dict)
    for (char_id, id_), row in load.balances(cursor, moved).items():
        named[char_id][id_] = row
    return {
        char_id: Balance(xp, gold, named.get(char_id, {})) for char_id, xp, gold in rows
    }


def items(cursor: Cursor[Row], lines: Iterable[LedgerEntry]) -> list[Item]:
    """The rows that undoing `lines` may look at: as many as the lines have movements,
    or pieces, and not as the bags have rows."""
    named: set[int] = set()
    gained: Counter[tuple[int, str, str | None]] = Counter()
    worn: set[tuple[int, str]] = set()
    for line in lines:
        for move in line.items:
            named.add(move["inventory_id"])
            if move["kind"] == "gained":
                told = move.get("properties")
                text = None if told is None else canonical_json(told).decode()
                kind = (line.character_id, move["item_template_id"], text)
                gained[kind] += move["delta"]
            elif slot := (move.get("image") or {}).get("slot"):
                worn.add((line.character_id, slot))
    kinds = [(*kind, pieces) for kind, pieces in gained.items()]
    parameters = [
        array(sorted(named)),
        *(columns(kinds, frozenset({1, 2})) or ["{}", [], [], "{}"]),
        *(columns(sorted(worn), frozenset({1})) or ["{}", []]),
    ]
    return [Item(*row) for row in fetch(cursor, LOAD_ITEMS, parameters)]


def writes(session_id: UUID, undo: Undo, mark: Write) -> list[Write]:
    """Net changes of locked rows, and the lines that say what was done."""
    return [
        mark,
        *_effects(undo),
        *_records(session_id, undo),
    ]


def _effects(undo: Undo) -> list[Write]:
    owned = [(id_, b.xp, b.gold) for id_, b in undo.after.items()]
    named = {
        (char_id, id_): row
        for char_id, after in undo.after.items()
        for id_, row in after.named.items()
    }
    updated = [(i.id, i.quantity, i.durability) for i in undo.updated]
    removed = [(row_id,) for row_id in sorted(undo.removed)]
    inserted = [
        (
            i.id,
            i.character_id,
            i.item_template_id,
            i.quantity,
            i.is_equipped,
            i.slot,
            i.durability,
            i.max_durability,
            i.origin_session_id,
            i.opening_quantity,
            write.properties(i),
            i.origin_operation,
        )
        for i in undo.inserted
    ]
    return [
        Write(UPDATE_BALANCES, owned, every_row="characters"),
        write.balances(named),
        Write(UPDATE_ITEMS, updated, every_row="inventory"),
        Write(DELETE_ITEMS, removed, every_row="inventory"),
        Write(INSERT_ITEMS, inserted, frozenset({2, 5, 10, 11})),
    ]


def _records(session_id: UUID, undo: Undo) -> list[Write]:
    key = (origin_of(session_id), "compensation")
    return [
        Write(INSERT_KEY, [key], frozenset({0, 1})),
        *write.records(undo.lines, undo.shortages, INSERT_LINES),
    ]
