"""A long history for the admin's pages: combats of a month, written set-based.

Rows lie in the order in which they were settled, as they do in a live table. One
player has fought a twentieth of all fights; one combat in 200 failed; a fifth has an
audit entry. Needs the characters of `benchmarks.world`.
"""

from __future__ import annotations

import psycopg

from benchmarks.world import CHARACTERS, PELT, POTION

VETERAN = 1
"""The player with the longest history."""

DAYS = 30

PLAN = f"""
CREATE TEMP TABLE planned AS
SELECT
    i,
    uuidv7(-age) AS session_id,
    now() - age AS finished_at,
    CASE WHEN i %% 20 = 0 THEN {VETERAN} ELSE 2 + i %% ({CHARACTERS} / 2) END AS first,
    {CHARACTERS} / 2 + 2 + (i * 7919) %% ({CHARACTERS} / 2 - 2) AS second,
    CASE WHEN i %% 200 = 1 THEN 'failed' WHEN i %% 2000 = 2 THEN 'voided'
         WHEN %(combats)s - i < 40 THEN 'pending' ELSE 'processed' END AS status,
    CASE i %% 7 WHEN 0 THEN 'draw' WHEN 1 THEN 'flee' WHEN 2 THEN 'defeat'
         ELSE 'victory' END AS reason
FROM generate_series(1, %(combats)s::bigint) AS i,
     LATERAL (
         SELECT (%(combats)s - i) * interval '{DAYS} days' / %(combats)s
     ) AS lived (age)
"""

HISTORY = """
INSERT INTO combat_history
    (session_id, participant_ids, finished_at, settlement_status, result_payload,
     payload_sha256, received_at, settled_at, failure_code, failure_detail)
SELECT session_id, ARRAY[first, second], finished_at, status,
    jsonb_build_object(
        'session_id', session_id,
        'meta', jsonb_build_object(
            'end_timestamp', extract(epoch FROM finished_at)::int,
            'winner_team', 'blue',
            'finish_reason', CASE WHEN i % 5000 = 3 THEN 'abandoned' ELSE reason END),
        'participants', jsonb_build_object(
            first::text, jsonb_build_object('is_winner', true, 'team', 'blue',
                'state_snapshot', '{"hp": 120, "energy": 40}'::jsonb,
                'changes', '{"xp_gained": 120, "gold_gained": 12}'::jsonb,
                'ui_report', jsonb_build_object('notes', repeat(md5(i::text), 12))),
            second::text, jsonb_build_object('is_winner', false, 'team', 'red',
                'changes', '{"xp_gained": 10, "gold_gained": 0}'::jsonb,
                'ui_report', jsonb_build_object('notes', repeat(md5((-i)::text), 12))),
            'goblin_1', '{"team": "red", "hp": 0, "ai": true}'::jsonb)),
    md5(i::text) || md5(i::text), finished_at + interval '1 second',
    CASE WHEN status = 'processed'
         THEN finished_at + interval '1 second' + random() * interval '40 ms' END,
    CASE WHEN status = 'failed' THEN
        (ARRAY['unknown_item', 'invalid_payload', 'out_of_range', 'poison']
        )[1 + i / 200 % 4]
    END,
    CASE WHEN status = 'failed' THEN 'loot of character is not in the catalogue' END
FROM planned ORDER BY i
"""

PARTICIPANTS = """
INSERT INTO combat_participants (character_id, finished_at, session_id)
SELECT player, finished_at, session_id
FROM planned, unnest(ARRAY[first, second]) AS player
"""

LEDGER = f"""
INSERT INTO settlement_ledger (session_id, character_id, kind, xp_delta, gold_delta,
                               xp_after, gold_after, items, recorded_at)
SELECT session_id, player, 'settlement', 120, 12, 1000 + i, 1000 + i,
    jsonb_build_array(jsonb_build_object('kind', 'gained', 'inventory_id', player * 5,
        'item_template_id', '{PELT}', 'delta', 1, 'after', 11),
        jsonb_build_object('kind', 'consumed', 'inventory_id', player * 5 - 4,
        'item_template_id', '{POTION}', 'delta', -2, 'after', 998)), finished_at
FROM planned, unnest(ARRAY[first, second]) AS player
WHERE status = 'processed' ORDER BY i
"""

DISCREPANCIES = f"""
INSERT INTO settlement_discrepancies (session_id, character_id, code, item_template_id,
                                      inventory_id, wanted, applied, recorded_at)
SELECT session_id, first, 'item_shortage', '{POTION}', first * 5 - 4, 5, 2, finished_at
FROM planned WHERE status = 'processed' AND i % 100 = 0 ORDER BY i
"""

ATTEMPTS = """
INSERT INTO settlement_attempts
    (session_id, started_at, ended_at, worker, outcome, code)
SELECT session_id, finished_at, finished_at + interval '20 ms', 'worker:1', 'failed',
       'unknown_item'
FROM planned WHERE status = 'failed' ORDER BY i
"""

REJECTED = """
INSERT INTO rejected_payloads (raw, payload_sha256, code, errors, received_at)
SELECT convert_to(repeat(md5(i::text), 20), 'UTF8'), md5(i::text) || md5(i::text),
    'invalid_json', '[{"path": "", "message": "no JSON"}]',
    now() - i * interval '1 minute'
FROM generate_series(1, 20000) AS i
"""

PARKED = f"""
INSERT INTO parked_operations
    (scope, character_id, op_id, operation, code, detail, parked_at)
SELECT 'inventory', 1 + i % {CHARACTERS}, 'op-' || i,
    jsonb_build_object('op_id', 'op-' || i, 'op', 'unequip', 'inventory_id', i),
    'unknown_item', 'no such row', now() - i * interval '1 minute'
FROM generate_series(1, 20000) AS i
"""

AUDIT = """
INSERT INTO audit_log
    (at, actor_id, actor_name, verb, target_type, target_id, reason, outcome, detail)
SELECT finished_at + interval '1 hour', 1, 'admin-' || i % 20, 'replay', 'combat',
    session_id::text, 'the catalogue was completed', 'done', 'was failed (poison)'
FROM planned WHERE i % 5 = 0 ORDER BY i
"""

MINUTES = """
INSERT INTO minute_counts (minute, name, process, count)
SELECT minute, name, 'worker:' || process, 20 + (extract(minute FROM minute))::int
FROM generate_series(date_trunc('minute', now()) - interval '7 days',
                     date_trunc('minute', now()), interval '1 minute') AS minute,
     unnest(ARRAY['combat.processed', 'combat.failed', 'combat.duplicate',
                  'combat.conflict', 'lookup.tombstone', 'lookup.database',
                  'effects.first']) AS name,
     generate_series(1, 3) AS process
"""


def fill(connection: psycopg.Connection, combats: int) -> None:
    connection.execute(PLAN, {"combats": combats})
    connection.execute("ANALYZE planned")
    for statement in (
        *(HISTORY, PARTICIPANTS, LEDGER),
        *(DISCREPANCIES, ATTEMPTS, REJECTED, PARKED, AUDIT, MINUTES),
    ):
        connection.execute(statement)
    connection.execute("VACUUM (ANALYZE)")
