"""Checks balances by the ledger: characters own what the lines add up to."""

from __future__ import annotations

from combat_history.reconcile.table_check import TableCheck

OPENING_LINES = """
SELECT character.id AS character_id, count(line.id) AS lines
FROM characters character
LEFT JOIN settlement_ledger line
    ON line.character_id = character.id AND line.kind = 'opening'
GROUP BY character.id
HAVING count(line.id) <> 1
"""

BALANCE_CHAIN = """
SELECT character_id, id AS line_id, session_id,
       xp_before, xp_delta, xp_after, gold_before, gold_delta, gold_after
FROM (
    SELECT *, lag(xp_after, 1, 0::bigint) OVER earlier AS xp_before,
           lag(gold_after, 1, 0::bigint) OVER earlier AS gold_before
    FROM settlement_ledger
    WINDOW earlier AS (PARTITION BY character_id ORDER BY id)
) line
WHERE xp_after <> xp_before + xp_delta OR gold_after <> gold_before + gold_delta
"""

# FULL: a character without lines differs, and so do lines without a character.
BALANCE_DIFFERS = """
SELECT COALESCE(character.id, booked.character_id) AS character_id,
       character.xp, character.gold, booked.xp AS xp_booked, booked.gold AS gold_booked
FROM characters character
FULL JOIN (
    SELECT character_id, sum(xp_delta) AS xp, sum(gold_delta) AS gold
    FROM settlement_ledger
    GROUP BY character_id
) booked ON booked.character_id = character.id
WHERE (character.xp, character.gold) IS DISTINCT FROM (booked.xp, booked.gold)
"""

MOVED_BALANCES = """
WITH moved AS (
    SELECT line.character_id, line.id AS line_id, line.session_id,
           entry.key AS balance_id, (entry.value -> 'delta')::numeric AS delta,
           (entry.value -> 'after')::numeric AS after
    FROM settlement_ledger line
    CROSS JOIN LATERAL jsonb_each(line.balances) AS entry (key, value)
)
"""

NAMED_CHAIN = """
SELECT character_id, line_id, session_id, balance_id, before, delta, after
FROM (
    SELECT moved.*,
           COALESCE(lag(after) OVER earlier, owned.opening_amount, 0) AS before
    FROM moved
    LEFT JOIN balances owned USING (character_id, balance_id)
    WINDOW earlier AS (PARTITION BY character_id, balance_id ORDER BY line_id)
) line
WHERE after <> before + delta
"""

# FULL, as above: without a row a character has nothing.
NAMED_DIFFERS = """
SELECT character_id, balance_id, COALESCE(owned.amount, 0) AS amount,
       COALESCE(owned.opening_amount, 0) AS opening, COALESCE(booked.delta, 0) AS delta
FROM balances owned
FULL JOIN (
    SELECT character_id, balance_id, sum(delta) AS delta
    FROM moved
    GROUP BY character_id, balance_id
) booked USING (character_id, balance_id)
WHERE COALESCE(owned.amount, 0)
      <> COALESCE(owned.opening_amount, 0) + COALESCE(booked.delta, 0)
"""

# `place` orders the movements of a row: lines are written under its owner's lock.
MOVEMENTS = """
WITH movement AS (
    SELECT line.character_id, line.session_id,
           (entry.value -> 'inventory_id')::bigint AS inventory_id,
           (entry.value -> 'delta')::bigint AS delta,
           (entry.value -> 'after')::bigint AS after,
           entry.value -> 'image' AS image,
           entry.value -> 'properties' AS properties,
           ARRAY[line.id, entry.position] AS place
    FROM settlement_ledger line
    CROSS JOIN LATERAL jsonb_array_elements(line.items)
        WITH ORDINALITY AS entry (value, position)
)
"""

QUANTITY_DIFFERS = """
SELECT item.id AS inventory_id, item.character_id, item.quantity,
       item.opening_quantity, COALESCE(moved.delta, 0) AS delta
FROM inventory item
LEFT JOIN (
    SELECT inventory_id, sum(delta) AS delta FROM movement GROUP BY inventory_id
) moved ON moved.inventory_id = item.id
WHERE item.quantity <> item.opening_quantity + COALESCE(moved.delta, 0)
"""

QUANTITY_CHAIN = """
SELECT inventory_id, session_id, character_id, before, delta, after
FROM (
    SELECT *, lag(after) OVER (PARTITION BY inventory_id ORDER BY place) AS before
    FROM movement
) movement
WHERE after <> before + delta
"""

# By the last movement; of a row that never moved nothing is known.
PROPERTIES_DIFFER = """
SELECT inventory_id, item.character_id, item.properties AS owned, told
FROM (
    SELECT DISTINCT ON (inventory_id) inventory_id, properties AS told
    FROM movement
    ORDER BY inventory_id, place DESC
) newest
JOIN inventory item ON item.id = inventory_id
WHERE item.properties IS DISTINCT FROM told
"""

# Movements of rows that are gone. A removal carries the row's image.
GONE = f"""
{MOVEMENTS}, gone AS (
    SELECT inventory_id, sum(movement.delta) AS delta,
           max((image -> 'opening_quantity')::bigint) AS opening_quantity,
           COALESCE(max(place) FILTER (WHERE image IS NOT NULL) = max(place), false)
               AS removed
    FROM movement
    LEFT JOIN inventory item ON item.id = movement.inventory_id
    WHERE item.id IS NULL
    GROUP BY inventory_id
)
"""  # noqa: S608 -- own text

REMOVED_DIFFERS = """
SELECT inventory_id, opening_quantity, delta
FROM gone
WHERE removed AND opening_quantity + delta <> 0
"""

ROW_VANISHED = """
SELECT inventory_id, delta
FROM gone
WHERE NOT removed
"""

REMOVED_ROW_PRESENT = """
SELECT inventory_id, item.character_id, item.quantity
FROM movement
JOIN inventory item ON item.id = movement.inventory_id
GROUP BY inventory_id, item.character_id, item.quantity
HAVING max(place) FILTER (WHERE image IS NOT NULL) = max(place)
"""

# Of a fighter whom the result does not name it is released by the next sweep.
RESERVATION_LEFT = """
SELECT item.id AS inventory_id, item.character_id, combat.session_id,
       combat.settlement_status
FROM inventory item
JOIN combat_history combat ON combat.session_id = item.reserved_session_id
WHERE combat.settlement_status = 'voided'
   OR combat.settled_at < now() - %(overdue_ms)s * interval '1 millisecond'
"""

ITEM_CHECKS = (
    TableCheck(
        "opening_lines",
        "every character has one opening line",
        OPENING_LINES,
        "{lines} opening lines",
    ),
    TableCheck(
        "balance_chain",
        "every balance in the ledger is the one before plus the delta",
        BALANCE_CHAIN,
        "XP {xp_before} {xp_delta:+} is not {xp_after}, "
        "or gold {gold_before} {gold_delta:+} is not {gold_after}",
    ),
    TableCheck(
        "balance_differs",
        "every character owns what the ledger adds up to",
        BALANCE_DIFFERS,
        "owns {xp} XP and {gold} gold, "
        "the ledger adds up to {xp_booked} and {gold_booked}",
    ),
    TableCheck(
        "named_chain",
        "every named balance in the ledger is the one before plus the delta",
        NAMED_CHAIN,
        "{before} {delta:+} is not {after}",
        given=MOVED_BALANCES,
    ),
    TableCheck(
        "named_differs",
        "every character has of a named balance what the ledger adds up to",
        NAMED_DIFFERS,
        "has {amount}, opened with {opening} and moved {delta:+}",
        given=MOVED_BALANCES,
    ),
    TableCheck(
        "quantity_differs",
        "every inventory row holds its opening quantity plus its movements",
        QUANTITY_DIFFERS,
        "holds {quantity}, opened with {opening_quantity} and moved {delta:+}",
        given=MOVEMENTS,
    ),
    TableCheck(
        "quantity_chain",
        "every quantity in the ledger is the one before plus the delta",
        QUANTITY_CHAIN,
        "{before} {delta:+} is not {after}",
        given=MOVEMENTS,
    ),
    TableCheck(
        "properties_differ",
        "every row that moved has the properties that its last movement tells",
        PROPERTIES_DIFFER,
        "has {owned}, moved with {told}",
        given=MOVEMENTS,
    ),
    TableCheck(
        "removed_differs",
        "a removed row had been used up",
        REMOVED_DIFFERS,
        "opened with {opening_quantity} and moved {delta:+}",
        given=GONE,
    ),
    TableCheck(
        "removed_row_present",
        "a removed row is gone",
        REMOVED_ROW_PRESENT,
        "removed by its last movement, yet there with {quantity}",
        given=MOVEMENTS,
    ),
    TableCheck(
        "row_vanished",
        "a row that moved is there, or its removal is recorded",
        ROW_VANISHED,
        "moved {delta:+}, is not there, and was never removed",
        given=GONE,
    ),
    TableCheck(
        "reservation_left",
        "no item is reserved for a combat that is over",
        RESERVATION_LEFT,
        "reserved, but the combat is {settlement_status}",
    ),
)
