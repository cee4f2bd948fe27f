"""Figures of the business, by SQL at the moment they are asked for.

Each is cheap at ten million rows: partial indexes, the BRIN index of the last minutes,
the newest NEWEST rows, estimates of the last ANALYZE. Each has STATEMENT_MS, and one
that fails takes no other down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from django.db import DatabaseError, connection, transaction

STATEMENT_MS = 2000

NEWEST = 10_000
"""Rows looked at where no index holds just what is counted."""

LATENCY_MINUTES = 5

PARAMETERS = {"newest": NEWEST, "minutes": LATENCY_MINUTES}


LET_GO = """
let_go AS MATERIALIZED (
    SELECT at FROM audit_log
    WHERE target_type = 'settlement' AND target_id = 'settlement'
      AND verb IN ('resume', 'drain') AND outcome = 'done' AND at > {since}
)
"""
"""When a pause ended, for what it had held back."""

AT_ONCE = """
failed_at IS NULL AND NOT EXISTS (
    SELECT FROM let_go WHERE let_go.at BETWEEN received_at AND settled_at
)
"""
"""A settled combat that was neither replayed nor held back: all that it waited is the
latency of settling."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A gauge of /metrics. `label`: the name of its one label, '' where it has none."""

    help: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One query. `sql` returns (metric, value of its label, number), NULL left out."""

    name: str
    metrics: Mapping[str, Metric]
    sql: str


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of a query. `numbers`: by metric and label; None: not told in time."""

    figure: Figure
    numbers: dict[str, dict[str, float]] | None


# reltuples is -1 before the first ANALYZE, and rough for a small table: rows are
# counted then, up to NEWEST.
COMBATS = Figure(
    "combats",
    {
        "settlement_combats": Metric(
            "Combats that are not processed, exactly.", "status"
        ),
        "settlement_combats_estimated": Metric(
            "Combats, as of the last ANALYZE of the table.", "status"
        ),
    },
    """
WITH exact AS MATERIALIZED (
    SELECT
        (SELECT count(*) FROM combat_history WHERE settlement_status = 'pending')
            AS pending,
        (SELECT count(*) FROM combat_history WHERE settlement_status = 'failed')
            AS failed,
        (SELECT count(*) FROM combat_history WHERE settlement_status = 'voided')
            AS voided
), whole AS MATERIALIZED (
    SELECT CASE
        WHEN reltuples < %(newest)s THEN (
            SELECT count(*) FROM (
                SELECT FROM combat_history ORDER BY session_id LIMIT %(newest)s
            ) few)
        ELSE reltuples END AS total
    FROM pg_class WHERE oid = 'combat_history'::regclass
)
SELECT 'settlement_combats', status, number
FROM exact, LATERAL (VALUES
    ('pending', pending), ('failed', failed), ('voided', voided)
) AS told (status, number)
UNION ALL
SELECT 'settlement_combats_estimated', status, number
FROM exact, whole, LATERAL (VALUES
    ('total', total), ('processed', greatest(total - pending - failed - voided, 0))
) AS told (status, number)
""",
)

OLDEST_PENDING = Figure(
    "oldest_pending",
    {
        "settlement_oldest_pending_seconds": Metric(
            "How long the pending combat that waits longest has been due."
        )
    },
    """
SELECT 'settlement_oldest_pending_seconds', '',
       greatest(extract(epoch FROM now() - coalesce(min(due_at), now())), 0)
FROM combat_history WHERE settlement_status = 'pending'
""",
)

FAILURES = Figure(
    "failures",
    {
        "settlement_failures": Metric(
            f"Failed combats by cause, of the newest {NEWEST}.", "code"
        )
    },
    """
SELECT 'settlement_failures', failure_code, count(*)
FROM (SELECT failure_code FROM combat_history WHERE settlement_status = 'failed'
      ORDER BY received_at DESC LIMIT %(newest)s) newest
GROUP BY failure_code
""",
)

OPEN = Figure(
    "open",
    {
        "settlement_open": Metric(
            f"What nobody has acknowledged, of the newest {NEWEST}.", "kind"
        )
    },
    """
SELECT 'settlement_open', 'discrepancy', count(*)
FROM (SELECT id FROM settlement_discrepancies ORDER BY id DESC LIMIT %(newest)s) newest
WHERE NOT EXISTS (SELECT FROM triage WHERE kind = 'discrepancy'
                  AND target_id = newest.id::text AND acknowledged_at IS NOT NULL)
UNION ALL
SELECT 'settlement_open', 'rejected', count(*)
FROM (SELECT id FROM rejected_payloads ORDER BY id DESC LIMIT %(newest)s) newest
WHERE NOT EXISTS (SELECT FROM triage WHERE kind = 'rejected'
                  AND target_id = newest.id::text AND acknowledged_at IS NOT NULL)
UNION ALL
SELECT 'settlement_open', 'parked', count(*)
FROM parked_operations WHERE resolved_at IS NULL
""",
)

SETTLED = Figure(
    "settled",
    {
        "settlement_settled_last_minute": Metric("Combats settled within 60 s."),
        "settlement_latency_seconds": Metric(
            f"From accepted to committed, of {LATENCY_MINUTES} minutes; without what "
            "was replayed or held back by a pause.",
            "percentile",
        ),
    },
    f"""
WITH {LET_GO.format(since="now() - make_interval(mins => %(minutes)s)")},
last AS MATERIALIZED (
    SELECT count(*) FILTER (WHERE settled_at > now() - interval '1 minute') AS settled,
           percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (
               ORDER BY extract(epoch FROM settled_at - received_at)::float8
           ) FILTER (WHERE {AT_ONCE}) AS latency
    FROM combat_history
    WHERE settled_at > now() - make_interval(mins => %(minutes)s)
)
SELECT 'settlement_settled_last_minute', '', settled FROM last
UNION ALL
SELECT 'settlement_latency_seconds', percentile, seconds
FROM last, unnest(ARRAY['50', '95', '99'], latency) AS told (percentile, seconds)
""",  # noqa: S608 -- of constants
)

MODE = Figure(
    "mode",
    {"settlement_mode": Metric("1 for the mode that settlement is in.", "mode")},
    """
SELECT 'settlement_mode', mode, (mode = coalesce(
    (SELECT control.mode FROM settlement_control control), 'running'))::int
FROM unnest(ARRAY['running', 'draining', 'paused']) AS told (mode)
""",
)

EVENTS = Figure(
    "events",
    {
        "settlement_events_last_minute": Metric(
            "How often it happened in the last whole minute.", "event"
        )
    },
    # Every process has added that minute's counts by then.
    """
SELECT 'settlement_events_last_minute', name, sum(count)
FROM minute_counts
WHERE minute = date_trunc('minute', now() - interval '70 seconds')
GROUP BY name
""",
)

UNPUBLISHED = Figure(
    "unpublished",
    {
        "settlement_unpublished_events": Metric(
            f"Events that the stream has not been told, of the oldest {NEWEST}."
        ),
        "settlement_unpublished_oldest_seconds": Metric(
            "How long the event that waits longest has been true."
        ),
    },
    """
WITH waiting AS MATERIALIZED (
    SELECT created_at FROM settlement_events
    WHERE id > coalesce((SELECT published FROM event_publications
                         WHERE channel = 'stream'), 0)
    ORDER BY id LIMIT %(newest)s
)
SELECT 'settlement_unpublished_events', '', count(*) FROM waiting
UNION ALL
SELECT 'settlement_unpublished_oldest_seconds', '',
       coalesce(extract(epoch FROM now() - min(created_at)), 0)
FROM waiting
""",
)

FIGURES = (COMBATS, OLDEST_PENDING, FAILURES, OPEN, SETTLED, MODE, EVENTS, UNPUBLISHED)


def read() -> Iterator[Reading]:
    """All, each in a transaction of its own. Raises where PostgreSQL is away."""
    connection.ensure_connection()
    for figure in FIGURES:
        try:
            yield Reading(figure, _numbers(figure))
        except DatabaseError:
            if not connection.is_usable():
                raise
            yield Reading(figure, None)


def _numbers(figure: Figure) -> dict[str, dict[str, float]]:
    numbers: dict[str, dict[str, float]] = {name: {} for name in figure.metrics}
    with transaction.atomic(), connection.cursor() as cursor:
        # A scrape has seconds: one figure must not take those of the others.
        cursor.execute(f"SET LOCAL statement_timeout = {STATEMENT_MS}")
        cursor.execute(figure.sql, PARAMETERS)
        for metric, label, number in cursor.fetchall():
            if number is not None:
                numbers[metric][label] = float(number)
    return numbers
