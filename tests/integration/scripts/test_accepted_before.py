"""`accepted_before.lua`: what a drain still waits for, and what it may be given."""

from __future__ import annotations

import redis

from persistence.worker import inbox
from tests.support.scripts import due, enter, now_ms

LONG_MS = 60_000


def test_what_was_accepted_by_then_counts_and_comes_due_by_then(
    redis_client: redis.Redis,
) -> None:
    now = now_ms(redis_client)
    moment = now - LONG_MS
    late = enter(redis_client, moment + 1, {"accepted_at": moment})
    just_due = enter(redis_client, now, {"accepted_at": moment - 1})
    held = enter(redis_client, now + LONG_MS, {"accepted_at": moment - 1})

    assert inbox.accepted_before(moment) == 3

    assert due(redis_client, late) == due(redis_client, just_due) == moment
    assert due(redis_client, held) == now + LONG_MS, "a lease that is held"


def test_nobody_looks_behind_what_is_due_by_then(redis_client: redis.Redis) -> None:
    now = now_ms(redis_client)
    moment = now - LONG_MS
    long_due = enter(redis_client, moment - 7, {"accepted_at": moment - 8})
    late = enter(redis_client, now, {"accepted_at": moment})

    assert inbox.accepted_before(moment) == 1

    assert due(redis_client, long_due) == moment - 7
    assert due(redis_client, late) == now


def test_what_came_later_or_at_no_moment_does_not_count(
    redis_client: redis.Redis,
) -> None:
    now = now_ms(redis_client)
    moment = now - LONG_MS
    entries = [
        enter(redis_client, now, {"accepted_at": moment + 1}),
        enter(redis_client, now, {"accepted_at": "yesterday"}),
        enter(redis_client, now),
    ]

    assert inbox.accepted_before(moment) == 0

    assert {due(redis_client, entry) for entry in entries} == {now}
