"""A long history, written by PostgreSQL itself: copies of combats that were settled.

Documents, fight logs and ledger lines are those of SAMPLE real combats under other ids
and players, so that a row takes the space that it takes in a live table. Rows lie in
the order in which they were settled. One combat in a hundred is the veteran's.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from benchmarks.backlog import FIRST_FIGHT_ENDED
from benchmarks.servers import Servers
from benchmarks.world import CHARACTERS

SAMPLE = 1000
VETERAN = 1
VETERANS_EVERY = 100
SECONDS_APART = 5
CHUNK = 25_000
WRITERS = 2

COPIED = """
CREATE UNLOGGED TABLE growth_sample AS
SELECT row_number() OVER (ORDER BY h.session_id) - 1 AS n,
       replace(replace(replace(h.result_payload::text,
           '"' || h.participant_ids[1] || '"', '"@first"'),
           '"' || h.participant_ids[2] || '"', '"@second"'),
           h.session_id::text, '@id') AS document,
       r.data AS fight_log, l.xp_delta, l.gold_delta, l.items
FROM combat_history h
JOIN combat_replay r USING (session_id)
CROSS JOIN LATERAL (
    SELECT array_agg(xp_delta ORDER BY character_id) AS xp_delta,
           array_agg(gold_delta ORDER BY character_id) AS gold_delta,
           array_agg(items ORDER BY character_id) AS items
    FROM settlement_ledger WHERE session_id = h.session_id
) AS l;
CREATE UNIQUE INDEX ON growth_sample (n);
ANALYZE growth_sample
"""

# A version 7 id of the moment in which the combat ended, as engines make them.
CHUNK_OF_COPIES = f"""
WITH planned AS MATERIALIZED (
    SELECT i, ended, first,
           1 + (first + i * 104729 %% ({CHARACTERS} - 1)) %% {CHARACTERS} AS second,
           (lpad(to_hex((extract(epoch FROM ended) * 1000)::bigint), 12, '0') || '7'
            || substr(md5(i::text), 1, 3) || '8' || substr(md5(i::text), 4, 15)
           )::uuid AS session_id
    FROM generate_series(%(start)s::bigint, %(stop)s::bigint - 1) AS i,
         LATERAL (
             SELECT to_timestamp({FIRST_FIGHT_ENDED}
                                 - (%(rows)s::bigint - i) * {SECONDS_APART}),
                    CASE WHEN i %% {VETERANS_EVERY} = 0 THEN {VETERAN}
                         ELSE 2 + i * 7919 %% ({CHARACTERS} - 1) END
         ) AS drawn (ended, first)
), history AS (
    INSERT INTO combat_history
        (session_id, participant_ids, finished_at, settlement_status, result_payload,
         payload_sha256, received_at, settled_at)
    SELECT session_id, ARRAY[least(first, second), greatest(first, second)], ended,
           'processed',
           replace(replace(replace(document, '@first', first::text), '@second',
                           second::text), '@id', session_id::text)::jsonb,
           md5(i::text) || md5(i::text), ended, ended + interval '10 ms'
    FROM planned JOIN growth_sample ON n = i %% {SAMPLE}
    ORDER BY i
), participants AS (
    INSERT INTO combat_participants (character_id, finished_at, session_id)
    SELECT unnest(ARRAY[first, second]), ended, session_id FROM planned ORDER BY i
), lines AS (
    INSERT INTO settlement_ledger
        (session_id, character_id, kind, xp_delta, gold_delta, xp_after, gold_after,
         items, recorded_at)
    SELECT session_id, (ARRAY[first, second])[place], 'settlement', xp_delta[place],
           gold_delta[place], 1000 + i, 100000 + i, items[place],
           ended + interval '10 ms'
    FROM planned JOIN growth_sample ON n = i %% {SAMPLE}, generate_series(1, 2) AS place
    ORDER BY i, place
)
INSERT INTO combat_replay (session_id, data)
SELECT session_id, fight_log FROM planned JOIN growth_sample ON n = i %% {SAMPLE}
ORDER BY i
"""


def fill(servers: Servers, rows: int, say: Callable[[str], None]) -> None:
    """Copies, until there are `rows` combats with the SAMPLE that is there."""
    with servers.connect() as connection:
        connection.execute(COPIED)
    starts = range(0, rows - SAMPLE, CHUNK)

    def write(start: int) -> None:
        stop = min(start + CHUNK, rows - SAMPLE)
        with servers.connect() as connection:
            # Nobody needs half of a filled table after a crash.
            connection.execute("SET synchronous_commit = off")
            given = {"start": start, "stop": stop, "rows": rows}
            connection.execute(CHUNK_OF_COPIES, given)

    with ThreadPoolExecutor(WRITERS) as writers:
        for done, _ in enumerate(writers.map(write, starts), start=1):
            say(f"filled {min(done * CHUNK, rows):,} of {rows:,} combats")
    with servers.connect() as connection:
        connection.execute("DROP TABLE growth_sample")
        connection.execute("VACUUM (ANALYZE)")
