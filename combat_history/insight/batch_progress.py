"""Progress of a replay batch: its counts, and the result of each combat. Reads only.

Costs an index of the batch's own rows, whatever else there is; a page of results, no
more than its rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from django.db import connection

from combat_history.models import ReplayBatch, ReplayBatchItem, ReplayRequest


class Result(StrEnum):
    REPLAYED = "replayed"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNDER_WAY = "under_way"
    WAITING = "waiting"


ITEM_STATES: Mapping[str, Result] = {
    ReplayBatchItem.State.WAITING: Result.WAITING,
    ReplayBatchItem.State.SKIPPED: Result.SKIPPED,
}
REQUEST_STATES: Mapping[str, Result] = {
    ReplayRequest.State.QUEUED: Result.UNDER_WAY,
    ReplayRequest.State.PROCESSED: Result.REPLAYED,
    ReplayRequest.State.REFUSED: Result.FAILED,
    ReplayRequest.State.FAILED: Result.FAILED,
}


@dataclass(frozen=True, slots=True)
class Told:
    """One combat of a batch. `key`: of `results`, for those that follow it.

    `why`: of a skipped one, or "code: detail" of a failed one.
    """

    key: int
    session_id: UUID
    result: Result
    why: str


# One statement, so that the numbers are of one moment and add up.
_COUNTS = """
SELECT state, count(*) FROM replay_batch_items
WHERE batch_id = %(batch)s AND state IN ('waiting', 'skipped')
GROUP BY state
UNION ALL
SELECT state, count(*) FROM replay_requests
WHERE batch_id = %(batch)s
GROUP BY state
"""

_RESULT_OF = {**ITEM_STATES, **REQUEST_STATES}


def counts(batch: ReplayBatch) -> Mapping[Result, int]:
    """The number of combats by result; together all of the batch."""
    found = Counter[Result](dict.fromkeys(Result, 0))
    with connection.cursor() as cursor:
        cursor.execute(_COUNTS, {"batch": batch.pk})
        for state, number in cursor.fetchall():
            found[_RESULT_OF[state]] += number
    return found


_PACE = """
SELECT count(*),
       extract(epoch FROM clock_timestamp() - min(finished_at))::float8
FROM (
    SELECT answer.finished_at
    FROM unnest(ARRAY['processed', 'refused', 'failed']) AS of (state)
    CROSS JOIN LATERAL (
        SELECT id, finished_at FROM replay_requests
        WHERE batch_id = %(batch)s AND state = of.state
        ORDER BY id DESC LIMIT %(number)s
    ) AS answer
    ORDER BY answer.id DESC
    LIMIT %(number)s
) AS last
"""

LAST = 200
"""Answers that the pace is taken from."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a batch goes of late, and how long it takes still at that pace."""

    per_minute: float
    left: timedelta


def pace(batch: ReplayBatch, counted: Mapping[Result, int]) -> Pace | None:
    """None of a batch that does not run, or of which nothing is answered yet."""
    if batch.state != ReplayBatch.State.RUNNING:
        return None
    with connection.cursor() as cursor:
        cursor.execute(_PACE, {"batch": batch.pk, "number": LAST})
        answered, seconds = cursor.fetchone()
    if not answered or not seconds:
        return None
    ahead = counted[Result.WAITING] + counted[Result.UNDER_WAY]
    return Pace(answered / seconds * 60, timedelta(seconds=ahead * seconds / answered))


def results(
    batch: ReplayBatch, result: Result | None, after: int, limit: int
) -> list[Told]:
    """The next combats behind the key `after`: of all, or of one result.

    In the order in which they are replayed. Keys of different results do not compare.
    """
    if result in REQUEST_STATES.values():
        return _of_requests(batch, result, after, limit)
    rows = ReplayBatchItem.objects.filter(batch=batch, position__gt=after)
    if result is not None:
        rows = rows.filter(state=result)
    items = list(rows.order_by("position")[:limit])
    requests = {
        request.session_id: request
        for request in ReplayRequest.objects.filter(
            batch_id=batch.pk, session_id__in=[item.session_id for item in items]
        )
    }
    return [_of_item(item, requests.get(item.session_id)) for item in items]


def _of_requests(
    batch: ReplayBatch, result: Result | None, after: int, limit: int
) -> list[Told]:
    states = [state for state, means in REQUEST_STATES.items() if means == result]
    rows = ReplayRequest.objects.filter(
        batch_id=batch.pk, state__in=states, id__gt=after
    )
    return [_of_request(row.pk, row) for row in rows.order_by("id")[:limit]]


def _of_item(item: ReplayBatchItem, request: ReplayRequest | None) -> Told:
    if request is not None:
        return _of_request(item.position, request)
    result = ITEM_STATES[item.state]
    return Told(item.position, item.session_id, result, item.why)


def _of_request(key: int, request: ReplayRequest) -> Told:
    result = REQUEST_STATES[request.state]
    return Told(key, request.session_id, result, request.detail)
