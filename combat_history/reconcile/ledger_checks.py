"""Checks the ledger by the documents: each line is asked for, all asked is there.

Values are read from the document itself, never from what the Saver made of it.
"""

from __future__ import annotations

from combat_history.reconcile.table_check import TableCheck

# Every document is taken apart once, beside all lines of its combat: looked for one by
# one, a thousand participants would read it a thousand times. OFFSET 0 keeps the
# planner from doing that all the same.
PARTICIPANTS = """
CASE jsonb_typeof(combat.result_payload -> 'participants')
    WHEN 'object' THEN combat.result_payload -> 'participants' END
"""

# Players of processed combats. Keys are compared as text: canonical digits, so equal
# texts are equal ids, and no key is ever too large to be looked at.
LEDGER_MISSING = f"""
SELECT combat.session_id, missing.key AS character_id, combat.revision
FROM combat_history_applied combat
CROSS JOIN LATERAL (
    SELECT part.key
    FROM jsonb_object_keys({PARTICIPANTS}) AS part (key)
    LEFT JOIN settlement_ledger line
        ON line.session_id = combat.session_id AND line.revision = combat.revision
        AND line.kind = 'settlement' AND line.character_id::text = part.key
    WHERE part.key ~ '^[1-9][0-9]{{0,18}}$' AND line.id IS NULL
    OFFSET 0
) missing
WHERE combat.settlement_status = 'processed'
"""  # noqa: S608 -- own text

LEDGER_TWICE = """
SELECT session_id, character_id, count(*) AS lines
FROM settlement_ledger
WHERE kind = 'settlement'
GROUP BY session_id, revision, character_id
HAVING count(*) > 1
"""

LEDGER_ORPHAN = """
SELECT line.session_id, line.character_id, line.id AS line_id, line.revision
FROM settlement_ledger line
LEFT JOIN combat_history combat USING (session_id, revision)
WHERE line.kind = 'settlement' AND combat.session_id IS NULL
"""

LEDGER_OF_UNSETTLED = """
SELECT line.session_id, line.character_id, line.id AS line_id,
       combat.settlement_status
FROM settlement_ledger line
JOIN combat_history combat USING (session_id, revision)
WHERE line.kind = 'settlement' AND combat.settlement_status <> 'processed'
"""

LEDGER_STRANGER = f"""
SELECT combat.session_id, stranger.character_id, stranger.id AS line_id
FROM combat_history_applied combat
CROSS JOIN LATERAL (
    SELECT line.id, line.character_id
    FROM settlement_ledger line
    LEFT JOIN jsonb_object_keys({PARTICIPANTS}) AS part (key)
        ON part.key = line.character_id::text
    WHERE line.session_id = combat.session_id AND line.revision = combat.revision
      AND line.kind = 'settlement' AND part.key IS NULL
    OFFSET 0
) stranger
WHERE combat.settlement_status = 'processed'
"""  # noqa: S608 -- own text

# Lines of what is applied, each beside what the document says of its player.
SETTLED = f"""
WITH settled AS (
    SELECT told.*
    FROM combat_history_applied combat
    CROSS JOIN LATERAL (
        SELECT line.*, part.value -> 'changes' AS changes,
               part.value -> 'ui_report' AS ui_report
        FROM settlement_ledger line
        JOIN jsonb_each({PARTICIPANTS}) AS part (key, value)
            ON part.key = line.character_id::text
        WHERE line.session_id = combat.session_id AND line.revision = combat.revision
          AND line.kind = 'settlement'
        OFFSET 0
    ) told
    WHERE combat.settlement_status = 'processed'
    UNION ALL
    SELECT line.*, operation.document -> 'characters' -> line.character_id::text, NULL
    FROM operations operation
    JOIN settlement_ledger line
        ON line.session_id = operation.id AND line.kind = 'operation'
)
"""  # noqa: S608 -- own text

XP_DIFFERS = """
SELECT session_id, character_id, id AS line_id, xp_delta, asked.xp
FROM settled
CROSS JOIN LATERAL (
    SELECT COALESCE((changes -> 'xp_gained')::numeric, 0)
) AS asked (xp)
WHERE xp_delta <> asked.xp
"""

# A purse that could not pay is emptied, and the shortage says what it gave.
GOLD_DIFFERS = """
SELECT settled.session_id, settled.character_id, settled.id AS line_id, gold_delta,
       asked.gold,
       CASE WHEN short.id IS NULL THEN 'no gold_shortage'
            ELSE format('a gold_shortage of %%s of %%s', short.applied, short.wanted)
       END AS shortage
FROM settled
CROSS JOIN LATERAL (
    SELECT COALESCE((changes -> 'gold_gained')::numeric, 0)
) AS asked (gold)
LEFT JOIN settlement_discrepancies short
    ON short.session_id = settled.session_id AND short.revision = settled.revision
    AND short.character_id = settled.character_id AND short.code = 'gold_shortage'
WHERE CASE WHEN short.id IS NULL THEN gold_delta <> asked.gold
           ELSE (gold_delta, gold_after, asked.gold) IS DISTINCT FROM
                (-short.applied, 0::bigint, -short.wanted::numeric) END
"""

# Of each named balance that the document or the line knows.
BALANCES_DIFFER = """
SELECT settled.session_id, settled.character_id, settled.id AS line_id,
       named.balance_id, named.delta, named.asked,
       CASE WHEN short.id IS NULL THEN 'no balance_shortage'
            ELSE format('a balance_shortage of %%s of %%s', short.applied, short.wanted)
       END AS shortage
FROM settled
CROSS JOIN LATERAL (
    SELECT COALESCE(wanted.key, moved.key) AS balance_id,
           wanted.value::numeric AS asked, (moved.value -> 'delta')::numeric AS delta
    FROM jsonb_each(changes -> 'balances') AS wanted (key, value)
    FULL JOIN jsonb_each(balances) AS moved (key, value) ON moved.key = wanted.key
) named
LEFT JOIN settlement_discrepancies short
    ON short.session_id = settled.session_id AND short.revision = settled.revision
    AND short.character_id = settled.character_id AND short.code = 'balance_shortage'
    AND short.balance_id = named.balance_id
WHERE (named.delta, named.asked) IS DISTINCT FROM
      (COALESCE(-short.applied, named.asked), COALESCE(-short.wanted, named.asked))
"""

# Per inventory row: pieces asked for = pieces taken + pieces recorded as missing. Wear
# of a row that is gone is recorded as missing, too: where the row shows neither wear
# nor a lack of durability, its points belong to that side.
CONSUMED_DIFFERS = """
SELECT session_id, character_id, differing.inventory_id, differing.unexplained
FROM settled
CROSS JOIN LATERAL (
    SELECT inventory_id, sum(pieces)
               + CASE WHEN bool_or(worn) THEN 0 ELSE sum(points) END AS unexplained
    FROM (
        SELECT COALESCE(used ->> 'inventory_id', used ->> 'inv_id') AS inventory_id,
               (used -> 'qty')::numeric AS pieces, 0 AS points, false AS worn
        FROM jsonb_array_elements(changes -> 'items_consumed') used
        UNION ALL
        SELECT substr(target.key, 11), 0, target.value::numeric, false
        FROM jsonb_each(changes -> 'durability_loss') target
        WHERE starts_with(target.key, 'inventory:')
        UNION ALL
        SELECT moved ->> 'inventory_id',
               CASE moved ->> 'kind' WHEN 'consumed'
                   THEN (moved -> 'delta')::numeric ELSE 0 END,
               0, moved ->> 'kind' = 'worn'
        FROM jsonb_array_elements(items) moved
        WHERE moved ->> 'kind' IN ('consumed', 'worn')
        UNION ALL
        SELECT short.inventory_id::text,
               CASE short.code WHEN 'no_durability'
                   THEN 0 ELSE short.applied - short.wanted END,
               0, short.code = 'no_durability'
        FROM settlement_discrepancies short
        WHERE short.session_id = settled.session_id
          AND short.revision = settled.revision
          AND short.character_id = settled.character_id
          AND short.inventory_id IS NOT NULL
          AND short.code IN ('item_gone', 'item_not_owned', 'item_mismatch',
                             'item_shortage', 'item_reserved', 'no_durability')
    ) entry
    GROUP BY inventory_id
) differing
WHERE differing.unexplained <> 0
"""

# Points asked for = points worn off + points recorded as not applicable. A piece that
# reached zero may have worn off less; a named row without a trace is checked above.
WEAR_DIFFERS = """
SELECT session_id, character_id, id AS line_id, wear.unexplained
FROM settled
CROSS JOIN LATERAL (
    SELECT sum(points) AS unexplained, bool_or(worn_out) AS worn_out
    FROM (
        SELECT target.value::numeric AS points, false AS worn_out
        FROM jsonb_each(changes -> 'durability_loss') target
        WHERE starts_with(target.key, 'item:')
           OR EXISTS (
               SELECT FROM jsonb_array_elements(items) moved
               WHERE moved ->> 'kind' = 'worn'
                 AND moved ->> 'inventory_id' = substr(target.key, 11))
           OR EXISTS (
               SELECT FROM settlement_discrepancies short
               WHERE short.session_id = settled.session_id
                 AND short.revision = settled.revision
                 AND short.character_id = settled.character_id
                 AND short.code = 'no_durability'
                 AND short.inventory_id::text = substr(target.key, 11))
        UNION ALL
        SELECT (moved -> 'durability_delta')::numeric,
               (moved -> 'durability_after')::numeric = 0
        FROM jsonb_array_elements(items) moved
        WHERE moved ->> 'kind' = 'worn'
        UNION ALL
        SELECT short.applied - short.wanted, false
        FROM settlement_discrepancies short
        WHERE short.session_id = settled.session_id
          AND short.revision = settled.revision
          AND short.character_id = settled.character_id
          AND (short.code IN ('not_equipped', 'no_durability')
               OR short.code = 'item_reserved' AND short.inventory_id IS NULL)
    ) entry
) wear
WHERE wear.unexplained <> 0
  AND NOT (wear.unexplained > 0 AND wear.worn_out)
"""

# Loot named by template must be there; the rest of what was granted is the loot named
# for the player's eyes. Whose names those are today is not asked: names change.
GAINED_DIFFERS = """
SELECT session_id, character_id, id AS line_id, loot.asked, loot.granted, loot.missing
FROM settled
CROSS JOIN LATERAL (
    SELECT sum(asked) AS asked, sum(granted) AS granted,
           COALESCE(string_agg(template_id, ', ') FILTER (WHERE asked > granted), '-')
               AS missing
    FROM (
        SELECT template_id, sum(asked) AS asked, sum(granted) AS granted
        FROM (
            SELECT entry ->> 'item_template_id' AS template_id,
                   CASE WHEN jsonb_typeof(changes -> 'items_gained') = 'array'
                         AND entry -> 'properties' NOT IN ('{}', 'null')
                       THEN entry -> 'properties' END AS properties,
                   COALESCE((entry -> 'qty')::numeric, 1) AS asked, 0 AS granted
            FROM jsonb_array_elements(
                CASE jsonb_typeof(changes -> 'items_gained')
                    WHEN 'array' THEN changes -> 'items_gained'
                    ELSE ui_report -> 'loot_obtained' END) entry
            UNION ALL
            SELECT moved ->> 'item_template_id', moved -> 'properties', 0,
                   (moved -> 'delta')::numeric
            FROM jsonb_array_elements(items) moved
            WHERE moved ->> 'kind' = 'gained'
        ) entry
        GROUP BY template_id, properties
    ) by_kind
) loot
WHERE loot.asked <> loot.granted OR loot.missing <> '-'
"""

DISCREPANCY_ORPHAN = """
SELECT short.session_id, short.character_id, short.id AS discrepancy_id, short.code
FROM settlement_discrepancies short
LEFT JOIN combat_history combat
    ON combat.session_id = short.session_id AND combat.revision = short.revision
    AND combat.settlement_status = 'processed'
LEFT JOIN operations operation
    ON operation.id = short.session_id AND operation.undone_at IS NOT NULL
WHERE combat.session_id IS NULL AND operation.id IS NULL
"""

LEDGER_CHECKS = (
    TableCheck(
        "ledger_missing",
        "every player of a processed combat has a ledger line",
        LEDGER_MISSING,
        "no ledger line of revision {revision}",
    ),
    TableCheck(
        "ledger_twice",
        "no player has two ledger lines of one revision",
        LEDGER_TWICE,
        "{lines} lines",
    ),
    TableCheck(
        "ledger_orphan",
        "every ledger line has its combat at the revision that is applied",
        LEDGER_ORPHAN,
        "no combat of revision {revision}",
    ),
    TableCheck(
        "ledger_of_unsettled",
        "a combat that is not processed has no ledger lines",
        LEDGER_OF_UNSETTLED,
        "the combat is {settlement_status}",
    ),
    TableCheck(
        "ledger_stranger",
        "every ledger line is of a player whom the document names",
        LEDGER_STRANGER,
        "the document does not name this character",
    ),
    TableCheck(
        "xp_differs",
        "XP moved as the document says",
        XP_DIFFERS,
        "moved {xp_delta}, the document says {xp}",
        given=SETTLED,
    ),
    TableCheck(
        "gold_differs",
        "gold moved as the document says, or a shortage explains it",
        GOLD_DIFFERS,
        "moved {gold_delta}, the document says {gold}; {shortage}",
        given=SETTLED,
    ),
    TableCheck(
        "balances_differ",
        "named balances moved as the document says, or a shortage explains it",
        BALANCES_DIFFER,
        "moved {delta}, the document says {asked}; {shortage}",
        given=SETTLED,
    ),
    TableCheck(
        "consumed_differs",
        "items were taken as the document says, or discrepancies explain it",
        CONSUMED_DIFFERS,
        "{unexplained} asked for, neither taken nor recorded as missing",
        given=SETTLED,
    ),
    TableCheck(
        "wear_differs",
        "durability was lost as the document says, or discrepancies explain it",
        WEAR_DIFFERS,
        "{unexplained} points asked for, neither worn off nor recorded",
        given=SETTLED,
    ),
    TableCheck(
        "gained_differs",
        "loot was granted as the document says",
        GAINED_DIFFERS,
        "granted {granted}, the document says {asked}; missing: {missing}",
        given=SETTLED,
    ),
    TableCheck(
        "discrepancy_orphan",
        "every discrepancy belongs to a processed combat, or to an undone operation",
        DISCREPANCY_ORPHAN,
        "{code} without a processed combat or an undone operation",
    ),
)
