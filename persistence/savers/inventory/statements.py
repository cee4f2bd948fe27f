"""The statements of one inventory save: as many for 500 operations as for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from persistence.protocols import SyncScope
from persistence.savers.combat.statements import DELETE_ITEMS
from persistence.savers.combat.write import properties
from persistence.savers.inventory.bag import Bag, Item
from persistence.savers.inventory.plan import Applied
from persistence.worker.sql import Row, Write, array, fetch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from psycopg import Cursor

DISCARDED = """
SELECT op_id, operation
FROM parked_operations
WHERE scope = %b AND character_id = %s AND op_id = ANY (%b::text[])
  AND resolution = 'discarded'
"""

APPLIED = """
SELECT key, sha256, inventory_id FROM applied_operations WHERE key = ANY (%b::text[])
"""

# All of the player's rows, and those of others that were named: to be told whose they
# are. Two halves, for an index each.
LOAD_ITEMS = """
SELECT id, character_id, item_template_id, quantity, is_equipped, slot, durability,
       max_durability, origin_session_id, opening_quantity, reserved_session_id,
       properties, origin_operation
FROM inventory
WHERE character_id = %s
UNION ALL
SELECT id, character_id, item_template_id, quantity, is_equipped, slot, durability,
       max_durability, origin_session_id, opening_quantity, reserved_session_id,
       properties, origin_operation
FROM inventory
WHERE id = ANY (%s::bigint[]) AND character_id <> %s
ORDER BY id
"""

UPDATE_ITEMS = """
UPDATE inventory i
SET quantity = n.quantity, is_equipped = n.is_equipped, slot = n.slot,
    durability = n.durability
FROM unnest(%s::bigint[], %s::int[], %s::boolean[], %b::text[], %s::int[])
     AS n (id, quantity, is_equipped, slot, durability)
WHERE i.id = n.id
"""

INSERT_ITEMS = """
INSERT INTO inventory
    (id, character_id, item_template_id, quantity, is_equipped, slot, durability,
     max_durability, properties, origin_operation)
SELECT id, character_id, item_template_id, quantity, is_equipped, slot, durability,
       max_durability, properties::jsonb, origin_operation
FROM unnest(%s::bigint[], %s::bigint[], %b::text[], %s::int[], %s::boolean[],
            %b::text[], %s::int[], %s::int[], %b::text[], %b::text[])
     AS n (id, character_id, item_template_id, quantity, is_equipped, slot, durability,
           max_durability, properties, origin_operation)
"""

# No ON CONFLICT: under the player's lock a key that is there already is a bug of ours,
# and what it has applied twice is rolled back.
INSERT_APPLIED = """
INSERT INTO applied_operations (key, scope, sha256, inventory_id)
SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %s::bigint[])
"""

INSERT_LINE = """
INSERT INTO settlement_ledger
    (character_id, kind, xp_delta, gold_delta, xp_after, gold_after, items)
SELECT character_id, 'operation', 0, 0, xp, gold, items::jsonb
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %b::text[])
     AS n (character_id, xp, gold, items)
"""


def discarded(
    cursor: Cursor[Row], char_id: int, keys: Iterable[str]
) -> dict[str, object]:
    """Documents of discarded operations among these, by key."""
    parameters = [SyncScope.INVENTORY, char_id, sorted(keys)]
    return dict(fetch(cursor, DISCARDED, parameters))


def applied(
    cursor: Cursor[Row], prefix: str, op_ids: Iterable[str]
) -> dict[str, Applied]:
    keys = [prefix + op_id for op_id in sorted(op_ids)]
    return {
        key.removeprefix(prefix): Applied(sha256, inventory_id)
        for key, sha256, inventory_id in fetch(cursor, APPLIED, [keys])
    }


def items(cursor: Cursor[Row], char_id: int, named: Iterable[int]) -> list[Item]:
    parameters = [char_id, array(sorted(named)), char_id]
    return [Item(*row) for row in fetch(cursor, LOAD_ITEMS, parameters)]


def effects(bag: Bag) -> list[Write]:
    """Net changes of the rows of a locked character."""
    updated = [
        (i.id, i.quantity, i.is_equipped, i.slot, i.durability)
        for i in bag.updated.values()
    ]
    removed = [(row_id,) for row_id in sorted(bag.removed)]
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
            properties(i),
            i.origin_operation,
        )
        for i in bag.inserted.values()
    ]
    return [
        Write(UPDATE_ITEMS, updated, frozenset({3}), every_row="inventory"),
        Write(DELETE_ITEMS, removed, every_row="inventory"),
        Write(INSERT_ITEMS, inserted, frozenset({2, 5, 8, 9})),
    ]


def keys(prefix: str, done: Mapping[str, Applied]) -> Write:
    rows = [
        (prefix + op_id, str(SyncScope.INVENTORY), entry.sha256, entry.inventory_id)
        for op_id, entry in done.items()
    ]
    return Write(INSERT_APPLIED, rows, frozenset({0, 1, 2}))


def line(char_id: int, xp: int, gold: int, movements: list[dict[str, Any]]) -> Write:
    """The ledger line of one save; no row of it where nothing moved."""
    rows = [(char_id, xp, gold, to_json(movements).decode())] if movements else []
    return Write(INSERT_LINE, rows, frozenset({3}))
