"""`release.lua`: leased entries put back for later."""

from __future__ import annotations

from dataclasses import replace

import redis

from persistence.contract import redis_keys
from persistence.worker import inbox
from persistence.worker.entries import Entry
from tests.support.scripts import at_work, due, enter

LEASE = 2_000_000_000_000
DELAY_MS = 5_000


def leased(client: redis.Redis) -> Entry:
    session_id = enter(client, LEASE, {"claims": 3})
    return Entry(session_id, b"%d" % LEASE, 3, None, None, None, {})


def claims(client: redis.Redis, entry: Entry) -> object:
    return client.hget(redis_keys.result(entry.session_id), "claims")


def test_entries_come_due_after_the_delay_and_still_count(
    redis_client: redis.Redis,
) -> None:
    entries = [leased(redis_client) for _ in range(3)]

    with at_work(redis_client) as moments:
        inbox.release(entries, DELAY_MS, uncount=False)

    for entry in entries:
        again = due(redis_client, entry.session_id)
        assert again is not None
        assert moments[0] + DELAY_MS <= again <= moments[1] + DELAY_MS
        assert claims(redis_client, entry) == b"3"


def test_a_delivery_that_was_none_is_taken_back(redis_client: redis.Redis) -> None:
    entry = leased(redis_client)

    inbox.release([entry], 0, uncount=True)

    assert claims(redis_client, entry) == b"2"


def test_without_our_lease_nothing_changes(redis_client: redis.Redis) -> None:
    gone, other = leased(redis_client), leased(redis_client)
    redis_client.zrem(redis_keys.INBOX, str(gone.session_id))

    inbox.release([gone, replace(other, lease=b"1")], 0, uncount=True)

    assert due(redis_client, gone.session_id) is None
    assert due(redis_client, other.session_id) == LEASE
    assert {claims(redis_client, gone), claims(redis_client, other)} == {b"3"}
