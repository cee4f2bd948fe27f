"""The set-based statements of one batch: as many for 500 combats as for one.

How their parameters travel is told in `worker.sql`.
"""

from __future__ import annotations

# The first lock of whoever changes a combat, in the order of the session ids: then two
# batches, or a batch and an admin's action, wait for each other and never in a ring.
# NO KEY: a row that only refers to this one can still be inserted meanwhile.
#
# Of a corrected combat, the document of its newest revision. Of a settled one, the
# amounts that it moved. Last, the moment by which it is judged what lies in the future.
LOCK_HISTORY = """
SELECT session_id, h.settlement_status, h.payload_sha256,
       CASE WHEN r.document IS NULL THEN h.raw_payload END, revision,
       COALESCE(r.document, h.result_payload)::text, h.finished_at, h.compensated_at,
       (SELECT jsonb_object_agg(line.character_id, jsonb_build_object(
            'gold', line.gold_delta, 'balances', line.balances))
        FROM settlement_ledger line
        WHERE line.session_id = h.session_id AND line.revision = h.revision
          AND line.kind = 'settlement'),
       h.failure_code, GREATEST(h.received_at, clock_timestamp())
FROM combat_history h
LEFT JOIN combat_revisions r USING (session_id, revision)
WHERE session_id = ANY (%s::uuid[])
ORDER BY session_id
FOR NO KEY UPDATE OF h
"""

READ_CLOCK = "SELECT clock_timestamp()"

# The document as it was received, whatever was corrected since.
LOAD_RECEIVED = """
SELECT h.result_payload::text, h.raw_payload, l.data, r.payload_sha256
FROM combat_history h
LEFT JOIN combat_replay l USING (session_id)
LEFT JOIN combat_revisions r USING (session_id, revision)
WHERE h.session_id = %s
"""

# Nothing was applied of a document that no engine has signed, so that the one that an
# engine has may still be: the same one as it stands, another one as a revision.
REOPEN = """
UPDATE combat_history
SET settlement_status = 'pending', attempts = 0, due_at = clock_timestamp(),
    revision = COALESCE(%s::smallint, revision),
    participant_ids = COALESCE(%s::bigint[], participant_ids)
WHERE session_id = %s AND settlement_status = 'failed'
"""

INSERT_REVISION = """
INSERT INTO combat_revisions
    (session_id, revision, document, payload_sha256, diff, author_name, reason)
VALUES (%s, %s, %b::jsonb, %b, '[]', %b, 'signed by an engine, as the first one is not')
"""

DELETE_PARTICIPANTS = """
DELETE FROM combat_participants
WHERE session_id = %s AND finished_at = %s AND character_id <> ALL (%s::bigint[])
"""

LOAD_REQUESTS = """
SELECT session_id, shortages = 'fail', fingerprint
FROM replay_requests
WHERE state = 'queued' AND session_id = ANY (%s::uuid[])
"""

LOAD_TEMPLATES = """
SELECT id, name, name_en, stackable, max_durability
FROM item_templates
WHERE id = ANY (%b::text[]) OR name = ANY (%b::text[]) OR name_en = ANY (%b::text[])
"""

# The second lock, in the order of the ids. A character's row guards its balances and
# the whole of its inventory: belts, operations, undoing and the admin's forms take it
# before an item.
LOCK_CHARACTERS = """
SELECT id, xp, gold, hp, energy, vitals_at, vitals_session_id
FROM characters
WHERE id = ANY (%s::bigint[])
ORDER BY id
FOR NO KEY UPDATE
"""

# What nobody has moved yet has no row, and is nothing.
LOAD_BALANCES = """
SELECT named.character_id, t.id, COALESCE(b.amount, 0), t.floor, t.maximum
FROM unnest(%s::bigint[], %b::text[]) AS named (character_id, balance_id)
JOIN balance_templates t ON t.id = named.balance_id
LEFT JOIN balances b ON b.character_id = named.character_id AND b.balance_id = t.id
"""

# A fight that is over holds nothing, whether or not its belt has been released yet.
# Two halves, for an index each: a row that both find is one row of the world.
LOAD_ITEMS = """
SELECT i.id, i.character_id, i.item_template_id, i.quantity, i.is_equipped, i.slot,
       i.durability, i.max_durability, i.origin_session_id, i.opening_quantity,
       CASE WHEN i.reserved_session_id IS NOT NULL AND NOT EXISTS (
           SELECT FROM combat_history holder
           WHERE holder.session_id = i.reserved_session_id
             AND holder.settlement_status IN ('processed', 'voided')
       ) THEN i.reserved_session_id END, i.properties
FROM inventory i
WHERE i.id = ANY (%s::bigint[])
UNION ALL
SELECT i.id, i.character_id, i.item_template_id, i.quantity, i.is_equipped, i.slot,
       i.durability, i.max_durability, i.origin_session_id, i.opening_quantity,
       CASE WHEN i.reserved_session_id IS NOT NULL AND NOT EXISTS (
           SELECT FROM combat_history holder
           WHERE holder.session_id = i.reserved_session_id
             AND holder.settlement_status IN ('processed', 'voided')
       ) THEN i.reserved_session_id END, i.properties
FROM inventory i
JOIN unnest(%s::bigint[], %b::text[]) AS wanted (character_id, item_template_id)
  ON i.character_id = wanted.character_id
 AND i.item_template_id = wanted.item_template_id
"""

# Few rows, read with every batch: a switch counts at once.
LOAD_RULES = """
SELECT id, amount, span, item_template_id, GREATEST("limit", times_usual * usual_p99)
FROM review_rules WHERE is_on ORDER BY id
"""

# `since`: the first line of a time, found in the primary key by halving, as lines are
# numbered in the order of their time, give or take a transaction.
LINES_SINCE = """
WITH RECURSIVE search (low, high) AS (
    SELECT 0::bigint, COALESCE((SELECT max(id) FROM settlement_ledger), 0) + 1
    UNION ALL
    SELECT CASE WHEN is_old THEN middle + 1 ELSE low END,
           CASE WHEN is_old THEN high ELSE middle END
    FROM search
    CROSS JOIN LATERAL (SELECT (low + high) / 2 AS middle) halved
    CROSS JOIN LATERAL (SELECT COALESCE((
        SELECT recorded_at < now() - interval '{time}' FROM settlement_ledger
        WHERE id >= middle ORDER BY id LIMIT 1), false) AS is_old) looked_at
    WHERE low < high
), since AS (SELECT low AS first FROM search WHERE low = high)"""

# Undone or not, it was gained. Told is who gained more than leaves room. By player: as
# one condition, all that a day brought would be read in the order of its numbers.
_LATELY = """{since}, lately AS MATERIALIZED (
    SELECT asked.id, l.xp_delta, l.gold_delta, l.items
    FROM unnest(%s::bigint[]) AS asked (id)
    CROSS JOIN LATERAL (
        SELECT xp_delta, gold_delta, items FROM settlement_ledger
        WHERE character_id = asked.id AND id >= (SELECT first FROM since)
          AND kind = 'settlement' AND recorded_at > now() - interval '24 hours'
        LIMIT 10000
    ) l
)
SELECT id, 'xp'::text, ''::text, sum(xp_delta)::bigint FROM lately
GROUP BY id HAVING sum(xp_delta) > %s::bigint
UNION ALL
SELECT id, 'gold', '', sum(gold_delta)::bigint FROM lately
GROUP BY id HAVING sum(gold_delta) > %s::bigint
{more}"""

_GAINED_LATELY = """UNION ALL
SELECT id, 'items', item ->> 'item_template_id', sum((item ->> 'delta')::bigint)::bigint
FROM lately CROSS JOIN LATERAL jsonb_array_elements(items) AS item
WHERE items @> '[{"kind": "gained"}]' AND item ->> 'kind' = 'gained'
GROUP BY 1, 3 HAVING sum((item ->> 'delta')::bigint) > %s::bigint
"""

_DAY = LINES_SINCE.format(time="24 hours 1 minute")
LOAD_LATELY = _LATELY.format(since=_DAY, more="")
LOAD_ALL_LATELY = _LATELY.format(since=_DAY, more=_GAINED_LATELY)

# The pure plan makes ledger lines that name new rows, so it is given their ids.
RESERVE_ITEM_IDS = """
SELECT nextval('inventory_id_seq') FROM generate_series(1, %s::int)
"""

# The third lock, the keys of new rows, in the order of the ids: of two batches with the
# same sessions one waits here for the other. An id that another transaction recorded
# since the look-up is not returned.
INSERT_HISTORY = """
INSERT INTO combat_history
    (session_id, participant_ids, finished_at, settlement_status, result_payload,
     payload_sha256, raw_payload, received_at, settled_at, failure_code, failure_detail,
     failure_subject)
SELECT session_id, participants::bigint[], finished_at, status, document::jsonb, sha256,
       raw, received_at, CASE status WHEN 'processed' THEN clock_timestamp() END,
       failure_code, failure_detail, failure_subject
FROM unnest(%s::uuid[], %b::text[], %s::timestamptz[], %s::text[], %b::text[],
            %s::text[], %b::bytea[], %s::timestamptz[], %s::text[], %b::text[],
            %b::text[])
     AS n (session_id, participants, finished_at, status, document, sha256, raw,
           received_at, failure_code, failure_detail, failure_subject)
ORDER BY session_id
ON CONFLICT (session_id) DO NOTHING
RETURNING session_id
"""

# A row of a three-column INSERT has no hash before it is settled.
FINISH_PENDING = """
UPDATE combat_history h
SET settlement_status = n.status,
    settled_at = CASE n.status WHEN 'processed' THEN clock_timestamp() END,
    payload_sha256 = COALESCE(h.payload_sha256, n.sha256),
    failure_code = n.failure_code, failure_detail = n.failure_detail,
    failure_subject = n.failure_subject, failure_traceback = NULL
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %b::text[], %b::text[])
     AS n (session_id, status, sha256, failure_code, failure_detail, failure_subject)
WHERE h.session_id = n.session_id AND h.settlement_status = 'pending'
"""

FINISH_REQUESTS = """
UPDATE replay_requests q
SET state = CASE WHEN n.status = 'processed' THEN 'processed'
                 WHEN n.failure_code = 'state_moved' THEN 'refused' ELSE 'failed' END,
    detail = COALESCE(n.failure_code || ': ' || n.failure_detail, ''),
    finished_at = clock_timestamp()
FROM unnest(%s::uuid[], %s::text[], %s::text[], %b::text[])
     AS n (session_id, status, failure_code, failure_detail)
WHERE q.session_id = n.session_id AND q.state = 'queued'
"""

# A combat that waited has its participants since its receipt.
INSERT_PARTICIPANTS = """
INSERT INTO combat_participants (character_id, finished_at, session_id)
SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::uuid[])
ON CONFLICT DO NOTHING
"""

INSERT_FIGHT_LOGS = """
INSERT INTO combat_replay (session_id, data)
SELECT * FROM unnest(%s::uuid[], %b::bytea[])
ON CONFLICT DO NOTHING
"""

UPDATE_CHARACTERS = """
UPDATE characters c
SET xp = n.xp, gold = n.gold, hp = n.hp, energy = n.energy,
    vitals_at = n.vitals_at, vitals_session_id = n.vitals_session_id
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
            %s::timestamptz[], %s::uuid[])
     AS n (id, xp, gold, hp, energy, vitals_at, vitals_session_id)
WHERE c.id = n.id
"""

# An opening amount of none says that a row has not come from outside.
WRITE_BALANCES = """
INSERT INTO balances (character_id, balance_id, amount, opening_amount)
SELECT character_id, balance_id, amount, 0
FROM unnest(%s::bigint[], %b::text[], %s::bigint[])
     AS n (character_id, balance_id, amount)
ON CONFLICT (character_id, balance_id) DO UPDATE SET amount = EXCLUDED.amount
"""

UPDATE_ITEMS = """
UPDATE inventory i
SET quantity = n.quantity, durability = n.durability
FROM unnest(%s::bigint[], %s::int[], %s::int[]) AS n (id, quantity, durability)
WHERE i.id = n.id
"""

DELETE_ITEMS = """
DELETE FROM inventory WHERE id = ANY (%s::bigint[])
"""

INSERT_ITEMS = """
INSERT INTO inventory
    (id, character_id, item_template_id, quantity, durability, max_durability,
     origin_session_id, properties)
SELECT id, character_id, item_template_id, quantity, durability, max_durability,
       origin_session_id, properties::jsonb
FROM unnest(%s::bigint[], %s::bigint[], %b::text[], %s::int[], %s::int[], %s::int[],
            %s::uuid[], %b::text[])
     AS n (id, character_id, item_template_id, quantity, durability, max_durability,
           origin_session_id, properties)
"""

# Only of characters whose row the caller holds. Whatever belt is reserved beyond them,
# of a fighter whom the result does not name, is released by the sweep.
RELEASE_BELTS = """
UPDATE inventory i
SET reserved_session_id = NULL
FROM unnest(%s::uuid[], %s::bigint[]) AS n (session_id, character_id)
WHERE i.reserved_session_id = n.session_id AND i.character_id = n.character_id
"""


def insert_lines(kind: str) -> str:
    """The statement for ledger lines of that kind."""
    # In plan order: a character's lines are read in the order of their ids.
    return f"""
INSERT INTO settlement_ledger
    (session_id, revision, character_id, kind, xp_delta, gold_delta, xp_after,
     gold_after, items, balances)
SELECT session_id, revision, character_id, '{kind}', xp_delta, gold_delta, xp_after,
       gold_after, items::jsonb, balances::jsonb
FROM unnest(%s::uuid[], %s::int[], %s::bigint[], %s::bigint[], %s::bigint[],
            %s::bigint[], %s::bigint[], %b::text[], %b::text[]) WITH ORDINALITY
     AS n (session_id, revision, character_id, xp_delta, gold_delta, xp_after,
           gold_after, items, balances, position)
ORDER BY position
"""  # noqa: S608 -- own text


INSERT_LEDGER = insert_lines("settlement")

INSERT_DISCREPANCIES = """
INSERT INTO settlement_discrepancies
    (session_id, revision, character_id, code, inventory_id, item_template_id, wanted,
     applied, balance_id)
SELECT * FROM unnest(%s::uuid[], %s::int[], %s::bigint[], %s::text[], %s::bigint[],
                     %b::text[], %s::bigint[], %s::bigint[], %b::text[])
"""
