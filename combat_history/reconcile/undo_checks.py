"""Checks counter-lines by the lines they undo: the same amounts the other way.

What an undoing could not move is recorded as a discrepancy, which explains the rest.
"""

from __future__ import annotations

from combat_history.reconcile.table_check import TableCheck

# What is marked as undone, combats and operations.
MARKED = """
WITH marked AS (
    SELECT session_id, revision, compensated_at AS undone_at
    FROM combat_history WHERE compensated_at IS NOT NULL
    UNION ALL
    SELECT id, 1, undone_at FROM operations WHERE undone_at IS NOT NULL
)
"""

COUNTER_LINE_MISSING = """
SELECT line.session_id, line.character_id, line.id AS line_id, marked.undone_at
FROM settlement_ledger line
JOIN marked USING (session_id, revision)
LEFT JOIN settlement_ledger counter
    ON counter.session_id = line.session_id AND counter.revision = line.revision
    AND counter.character_id = line.character_id AND counter.kind = 'compensation'
WHERE line.kind IN ('settlement', 'operation') AND counter.id IS NULL
"""

COUNTER_LINE_UNMARKED = """
SELECT counter.session_id, counter.character_id, counter.id AS line_id
FROM settlement_ledger counter
LEFT JOIN marked USING (session_id, revision)
WHERE counter.kind = 'compensation' AND marked.session_id IS NULL
"""

COUNTER_LINE_STRAY = """
SELECT counter.session_id, counter.character_id, counter.id AS line_id
FROM settlement_ledger counter
LEFT JOIN settlement_ledger line
    ON line.session_id = counter.session_id AND line.revision = counter.revision
    AND line.character_id = counter.character_id
    AND line.kind IN ('settlement', 'operation')
WHERE counter.kind = 'compensation' AND line.id IS NULL
"""

COUNTER_LINE_TWICE = """
SELECT session_id, character_id, count(*) AS lines
FROM settlement_ledger
WHERE kind = 'compensation'
GROUP BY session_id, revision, character_id
HAVING count(*) > 1
"""

# Counter-lines with what they undo.
UNDONE = """
WITH undone AS (
    SELECT counter.id, counter.session_id, counter.revision, counter.character_id,
           counter.xp_delta, counter.gold_delta, counter.items, counter.balances,
           line.xp_delta AS xp, line.gold_delta AS gold, line.items AS moved,
           line.balances AS named
    FROM settlement_ledger counter
    JOIN settlement_ledger line
        ON line.session_id = counter.session_id AND line.revision = counter.revision
        AND line.character_id = counter.character_id
        AND line.kind IN ('settlement', 'operation')
    WHERE counter.kind = 'compensation'
)
"""

# A shortage names what was wanted and what could be moved, both without a sign.
COUNTER_BALANCE_DIFFERS = """
SELECT undone.session_id, undone.character_id, undone.id AS line_id, balance.what,
       balance.delta, balance.undone,
       CASE WHEN short.id IS NULL THEN 'no shortage'
            ELSE format('a shortage of %%s of %%s', short.applied, short.wanted)
       END AS shortage
FROM undone
CROSS JOIN LATERAL (
    VALUES ('XP', 'undo_xp_short', undone.xp_delta, undone.xp),
           ('gold', 'undo_gold_short', undone.gold_delta, undone.gold)
) AS balance (what, code, delta, undone)
LEFT JOIN settlement_discrepancies short
    ON short.session_id = undone.session_id AND short.revision = undone.revision
    AND short.character_id = undone.character_id AND short.code = balance.code
WHERE CASE WHEN short.id IS NULL THEN balance.delta <> -balance.undone
           ELSE (balance.delta, abs(balance.undone)) IS DISTINCT FROM
                (-sign(balance.undone) * short.applied, short.wanted) END
"""

COUNTER_NAMED_DIFFERS = """
SELECT undone.session_id, undone.character_id, undone.id AS line_id,
       balance.balance_id, balance.delta, balance.undone,
       CASE WHEN short.id IS NULL THEN 'no shortage'
            ELSE format('a shortage of %%s of %%s', short.applied, short.wanted)
       END AS shortage
FROM undone
CROSS JOIN LATERAL (
    SELECT COALESCE(back.key, line.key) AS balance_id,
           COALESCE((back.value -> 'delta')::bigint, 0) AS delta,
           COALESCE((line.value -> 'delta')::bigint, 0) AS undone
    FROM jsonb_each(undone.balances) AS back (key, value)
    FULL JOIN jsonb_each(undone.named) AS line (key, value) ON line.key = back.key
) balance
LEFT JOIN settlement_discrepancies short
    ON short.session_id = undone.session_id AND short.revision = undone.revision
    AND short.character_id = undone.character_id
    AND short.code = 'undo_balance_short' AND short.balance_id = balance.balance_id
WHERE CASE WHEN short.id IS NULL THEN balance.delta <> -balance.undone
           ELSE (balance.delta, abs(balance.undone)) IS DISTINCT FROM
                (-sign(balance.undone) * short.applied, short.wanted) END
"""

# Per item template: pieces moved + pieces moved back = pieces that were missing.
COUNTER_ITEMS_DIFFER = """
SELECT session_id, character_id, id AS line_id, differing.template,
       differing.unexplained
FROM undone
CROSS JOIN LATERAL (
    SELECT template, sum(pieces) AS unexplained
    FROM (
        SELECT entry ->> 'item_template_id' AS template,
               (entry -> 'delta')::numeric AS pieces
        FROM jsonb_array_elements(moved || items) entry
        UNION ALL
        SELECT short.item_template_id, short.applied - short.wanted
        FROM settlement_discrepancies short
        WHERE short.session_id = undone.session_id
          AND short.revision = undone.revision
          AND short.character_id = undone.character_id
          AND short.code = 'undo_item_short'
    ) entry
    GROUP BY template
) differing
WHERE differing.unexplained <> 0
"""

# An item that was mended since is mended less, or not at all: never more.
COUNTER_WEAR_DIFFERS = """
SELECT session_id, character_id, id AS line_id, wear.inventory_id, wear.points
FROM undone
CROSS JOIN LATERAL (
    SELECT (entry -> 'inventory_id')::bigint AS inventory_id,
           sum((entry -> 'durability_delta')::numeric) AS points
    FROM jsonb_array_elements(moved || items) entry
    WHERE entry ->> 'kind' IN ('worn', 'repaired')
    GROUP BY 1
) wear
WHERE wear.points > 0
"""

UNDO_CHECKS = (
    TableCheck(
        "counter_line_missing",
        "every line of what is undone has its counter-line",
        COUNTER_LINE_MISSING,
        "undone at {undone_at:%Y-%m-%d %H:%M:%S} UTC without a counter-line",
        given=MARKED,
    ),
    TableCheck(
        "counter_line_unmarked",
        "every counter-line is of what is marked as undone",
        COUNTER_LINE_UNMARKED,
        "a counter-line, but nothing is marked as undone at this revision",
        given=MARKED,
    ),
    TableCheck(
        "counter_line_stray",
        "every counter-line has the line that it undoes",
        COUNTER_LINE_STRAY,
        "a counter-line without a line to undo",
    ),
    TableCheck(
        "counter_line_twice",
        "no line was undone twice",
        COUNTER_LINE_TWICE,
        "{lines} counter-lines",
    ),
    TableCheck(
        "counter_balance_differs",
        "XP and gold moved back as they had moved, or a shortage explains it",
        COUNTER_BALANCE_DIFFERS,
        "moved {undone:+} {what}, moved back {delta:+}; {shortage}",
        given=UNDONE,
    ),
    TableCheck(
        "counter_named_differs",
        "named balances moved back as they had moved, or a shortage explains it",
        COUNTER_NAMED_DIFFERS,
        "moved {undone:+}, moved back {delta:+}; {shortage}",
        given=UNDONE,
    ),
    TableCheck(
        "counter_items_differ",
        "items moved back as they had moved, or a shortage explains it",
        COUNTER_ITEMS_DIFFER,
        "{unexplained:+} of {template} neither moved back nor recorded as missing",
        given=UNDONE,
    ),
    TableCheck(
        "counter_wear_differs",
        "no item was mended by more than was worn",
        COUNTER_WEAR_DIFFERS,
        "mended by {points} points more than was worn",
        given=UNDONE,
    ),
)
