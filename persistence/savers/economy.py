"""Rolls the ledger up by day: some thousand lines at a time, each of them once.

How far it has come is written with what it has added, so that a worker that dies loses
and doubles nothing. Lines of the last minutes wait: a transaction that has taken a
lower id may still be open, and none is open that long.
"""

from __future__ import annotations

import time

from celery import shared_task
from django.db import connection, transaction

from persistence.savers.combat.statements import LINES_SINCE
from persistence.worker.transactions import renew_connection

LINES = 5_000
"""Ledger lines of one transaction."""

SECONDS = 5
"""A run begins no transaction after that; beat sends the next run."""

LAG = "5 minutes"
"""No transaction of ours is open that long: see the limits of its session."""

EARNER_DAYS = 35

# What lines of `batch` gave and took, by line; `reconcile` asks the whole ledger so.
MOVED = """
SELECT line.id, (line.recorded_at AT TIME ZONE 'UTC')::date AS day, line.character_id,
       CASE line.kind
           WHEN 'settlement' THEN coalesce(coalesce(r.document, h.result_payload)
                                           #>> '{meta,finish_reason}', 'fight')
           WHEN 'compensation' THEN 'undo'
           WHEN 'operation' THEN
               CASE WHEN line.session_id IS NULL THEN 'inventory' ELSE 'operation' END
           ELSE line.kind END AS source,
       what.kind, what.subject, sum(what.amount) AS amount
FROM batch line
LEFT JOIN combat_history h
    ON line.kind = 'settlement' AND h.session_id = line.session_id
LEFT JOIN combat_revisions r
    ON line.revision > 1 AND r.session_id = h.session_id AND r.revision = line.revision
CROSS JOIN LATERAL (
    SELECT 'gold' AS kind, '' AS subject, line.gold_delta::numeric AS amount
    UNION ALL SELECT 'xp', '', line.xp_delta
    UNION ALL
    SELECT 'balance', moved.key, (moved.value ->> 'delta')::numeric
    FROM jsonb_each(line.balances) AS moved (key, value)
    UNION ALL
    SELECT 'item', item ->> 'item_template_id', (item ->> 'delta')::numeric
    FROM jsonb_array_elements(line.items) AS item WHERE item ? 'delta'
) AS what
GROUP BY line.id, line.recorded_at, line.character_id, 4, what.kind, what.subject
HAVING sum(what.amount) <> 0
"""

BY_DAY = """
SELECT kind, subject, day, source, sum(greatest(amount, 0)) AS minted,
       sum(greatest(-amount, 0)) AS sunk
FROM moved GROUP BY 1, 2, 3, 4
"""

ROLL = f"""{LINES_SINCE},
batch AS MATERIALIZED (
    SELECT * FROM settlement_ledger
    WHERE id > %(done)s AND id < (SELECT first FROM since)
    ORDER BY id LIMIT %(lines)s
), moved AS MATERIALIZED ({MOVED.replace("{", "{{").replace("}", "}}")}
), days AS (
    INSERT INTO economy_days AS known (kind, subject, day, source, minted, sunk)
    {BY_DAY}
    ON CONFLICT (kind, subject, day, source) DO UPDATE
    SET minted = known.minted + excluded.minted, sunk = known.sunk + excluded.sunk
), earners AS (
    INSERT INTO economy_earners AS known (day, character_id, gold, xp)
    SELECT day, character_id, coalesce(sum(amount) FILTER (WHERE kind = 'gold'), 0),
           coalesce(sum(amount) FILTER (WHERE kind = 'xp'), 0)
    FROM moved WHERE kind IN ('gold', 'xp') AND source <> 'opening' GROUP BY 1, 2
    ON CONFLICT (day, character_id) DO UPDATE
    SET gold = known.gold + excluded.gold, xp = known.xp + excluded.xp
)
SELECT count(*), max(id) FROM batch
"""  # noqa: S608 -- of constants

PRUNE = """
DELETE FROM economy_earners
WHERE (day, character_id) IN (
    SELECT day, character_id FROM economy_earners
    WHERE day < (now() AT TIME ZONE 'UTC')::date - %s LIMIT 10000)
"""


@shared_task(
    name="roll_up_economy",
    acks_late=True,  # how far it has come is in the transaction that went so far
    ignore_result=True,
    max_retries=3,  # bounds redelivery after a lost worker
    default_retry_delay=1,
)
def roll_up_economy() -> None:
    """Roll up what the ledger has more; beat sends it every minute."""
    renew_connection()
    roll_up()


def roll_up(lag: str = LAG) -> int:
    """How many lines it took; bounded in time, and alone at it."""
    ends = time.monotonic() + SECONDS
    taken = total = _chunk(lag)
    while taken == LINES and time.monotonic() < ends:
        taken = _chunk(lag)
        total += taken
    with connection.cursor() as cursor:
        cursor.execute(PRUNE, [EARNER_DAYS])
    return total


def _chunk(lag: str) -> int:
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO economy_progress (id, ledger_id) VALUES (1, 0)"
            " ON CONFLICT DO NOTHING"
        )
        # Whoever holds it does this very work.
        cursor.execute(
            "SELECT ledger_id FROM economy_progress WHERE id = 1 FOR UPDATE SKIP LOCKED"
        )
        row = cursor.fetchone()
        if row is None:
            return 0
        named = {"done": row[0], "lines": LINES}
        cursor.execute(ROLL.format(time=lag), named)
        taken: int
        taken, last = cursor.fetchone()
        cursor.execute(
            "UPDATE economy_progress SET ledger_id = coalesce(%s, ledger_id),"
            " at = clock_timestamp() WHERE id = 1",
            [last],
        )
    return taken
