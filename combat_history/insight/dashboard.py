"""Figures of the last hour, day or week, as the admin's first page draws them.

From the rows themselves: what is settled in an hour, latency, backlog, failures. From
the counts that every process adds up by the minute: what leaves no row (duplicates,
look-ups), and what is settled in a day or a week, for reading all those rows would take
seconds. Every query is bounded and has STATEMENT_MS; one that fails leaves out its own
figures only.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import redis
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from combat_history.insight.figures import AT_ONCE, LET_GO
from combat_history.reading import redis_clients
from persistence.contract import redis_keys
from persistence.worker import counts

STATEMENT_MS = 2000

SAMPLE = 200
"""Combats of each interval whose latency is looked at."""

MAX_ROWS = 10_000
"""Pending and failed combats that are counted."""

MAX_PROCESSES = 50

PROCESS_MINUTES = 15
"""A process that counted nothing for so long is not listed."""


class Span(StrEnum):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"

    @property
    def step(self) -> timedelta:
        """Length of one interval of the plots."""
        return _STEPS[self]

    @property
    def intervals(self) -> int:
        return _LENGTHS[self] // self.step

    def start(self, now: datetime) -> datetime:
        """A whole minute; the last interval holds the minute that is running."""
        minute = now.replace(second=0, microsecond=0)
        return minute + timedelta(minutes=1) - _LENGTHS[self]


_STEPS = {
    Span.HOUR: timedelta(minutes=1),
    Span.DAY: timedelta(minutes=15),
    Span.WEEK: timedelta(hours=2),
}
_LENGTHS = {
    Span.HOUR: timedelta(hours=1),
    Span.DAY: timedelta(days=1),
    Span.WEEK: timedelta(days=7),
}

# Bins begin at the start of the span, as the plots do, not at the epoch.
SETTLED = """
SELECT date_bin(%(step)s, settled_at, %(start)s), count(*)
FROM combat_history
WHERE settled_at >= %(start)s
GROUP BY 1
"""

# A sample of each interval: reading all rows of a week would take seconds.
LATENCY = f"""
WITH {LET_GO.format(since="%(start)s")}
SELECT interval_no,
       percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY seconds)
FROM generate_series(0, %(intervals)s - 1) AS interval_no
CROSS JOIN LATERAL (
    SELECT extract(epoch FROM settled_at - received_at)::float8 AS seconds
    FROM combat_history
    WHERE settled_at >= %(start)s + interval_no * %(step)s
      AND settled_at < %(start)s + (interval_no + 1) * %(step)s
      AND {AT_ONCE}
    LIMIT %(sample)s
) AS sampled
GROUP BY GROUPING SETS ((interval_no), ())
"""  # noqa: S608 -- of constants

COUNTS = """
SELECT name, date_bin(%(step)s, minute, %(start)s), sum(count::float8)
FROM minute_counts
WHERE minute >= %(start)s
GROUP BY 1, 2
"""

BACKLOG = """
SELECT count(*), min(received_at) FROM (
    SELECT received_at FROM combat_history
    WHERE settlement_status = 'pending' ORDER BY due_at LIMIT %(rows)s
) AS pending
"""

FAILURES = """
SELECT failure_code, count(*) FROM (
    SELECT failure_code FROM combat_history
    WHERE settlement_status = 'failed' AND received_at >= %(start)s
    ORDER BY received_at DESC LIMIT %(rows)s
) AS failed
GROUP BY 1 ORDER BY 2 DESC, 1
"""

PROCESSES = """
SELECT process, max(minute) FROM minute_counts
WHERE minute >= now() - %(minutes)s * interval '1 minute'
GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT %(processes)s
"""


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from received to settled, of what was not replayed or held back."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Inbox:
    """The inbox. `overdue`: seconds for which its first entry has been due."""

    entries: int
    overdue: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All figures of a page; None for what could not be read. `settled`, `latency` and
    each of `counted` have a value for every interval of the span, oldest first; None:
    nothing was settled."""

    span: Span
    start: datetime
    settled: list[int] | None
    latency: list[Latency | None] | None
    latency_of_all: Latency | None
    counted: dict[str, list[int]] | None
    pending: int | None
    oldest_pending: datetime | None
    failures: dict[str, int] | None
    inbox: Inbox | None
    processes: list[tuple[str, datetime]] | None


def read(span: Span) -> Snapshot:
    start = span.start(timezone.now())
    asked = {
        "start": start,
        "step": span.step,
        "intervals": span.intervals,
        "sample": SAMPLE,
        "rows": MAX_ROWS,
        "minutes": PROCESS_MINUTES,
        "processes": MAX_PROCESSES,
    }
    counted = _counted(span, start, _rows(COUNTS, asked))
    # Else the table would be read from its start, once for each interval.
    by_index = "SET LOCAL enable_seqscan = off"
    latency, of_all = _latency(span, _rows(LATENCY, asked, by_index))
    backlog = _rows(BACKLOG, asked)
    failures = _rows(FAILURES, asked)
    processes = _rows(PROCESSES, asked)
    return Snapshot(
        span=span,
        start=start,
        settled=_settled(span, asked, counted),
        latency=latency,
        latency_of_all=of_all,
        counted=counted,
        pending=backlog[0][0] if backlog else None,
        oldest_pending=backlog[0][1] if backlog else None,
        failures=None if failures is None else dict(failures),
        inbox=_inbox(),
        processes=processes,
    )


def total(counted: Mapping[str, list[int]], name: str) -> int:
    return sum(counted.get(name, ()))


def _settled(
    span: Span, asked: dict[str, Any], counted: dict[str, list[int]] | None
) -> list[int] | None:
    if span is Span.HOUR:
        rows = _rows(SETTLED, asked)
        return None if rows is None else _spread(span, asked["start"], rows)
    if counted is None:
        return None
    return counted.get(f"{counts.COMBAT}processed", [0] * span.intervals)


def _counted(
    span: Span, start: datetime, rows: list[tuple[Any, ...]] | None
) -> dict[str, list[int]] | None:
    if rows is None:
        return None
    told: dict[str, list[tuple[Any, ...]]] = {}
    for name, begins, number in rows:
        told.setdefault(name, []).append((begins, number))
    return {name: _spread(span, start, pairs) for name, pairs in told.items()}


def _latency(
    span: Span, rows: list[tuple[Any, ...]] | None
) -> tuple[list[Latency | None] | None, Latency | None]:
    """Latency by interval, and of the whole span."""
    if rows is None:
        return None, None
    told = {interval: Latency(*seconds) for interval, seconds in rows if seconds}
    return [told.get(n) for n in range(span.intervals)], told.get(None)


def _spread(span: Span, start: datetime, rows: Iterable[tuple[Any, ...]]) -> list[int]:
    """A number for every interval; what is of a moment to come is of the last one."""
    spread = [0] * span.intervals
    for begins, number in rows:
        interval = (begins - start) // span.step
        spread[min(interval, span.intervals - 1)] += int(number)
    return spread


def _rows(
    sql: str, asked: dict[str, Any], setting: str = ""
) -> list[tuple[Any, ...]] | None:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                f"SET LOCAL statement_timeout = {STATEMENT_MS};"
                f"SET LOCAL jit = off; {setting}"
            )
            cursor.execute(sql, asked)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows
    except DatabaseError:
        if not connection.is_usable():
            raise
        return None


def _inbox() -> Inbox | None:
    try:
        client = redis_clients.client()
        with client.pipeline(transaction=False) as pipeline:
            pipeline.zcard(redis_keys.INBOX)
            pipeline.zrange(redis_keys.INBOX, 0, 0, withscores=True)
            entries, first = pipeline.execute()
    except redis.RedisError:
        return None
    due_ms = first[0][1] if first else time.time() * 1000
    return Inbox(entries, max(0.0, time.time() - due_ms / 1000))
