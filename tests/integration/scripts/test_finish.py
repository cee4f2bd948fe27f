"""`finish.lua`: the effects of settled entries, each only while its lease is ours."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis
from pytest_django import Settings

from persistence.contract import redis_keys
from persistence.contract.outcome import undone_tombstone
from persistence.protocols import Outcome, Verdict
from persistence.worker import inbox
from persistence.worker.entries import Entry
from tests.support.scripts import Fields, at_work, due, enter, now_ms, result
from tests.support.waiting import is_about

LEASE = 2_000_000_000_000
FIELDS: Fields = {
    **{"raw": b"{}", "sha256": "ab", "accepted_at": 7},
    **{"claims": 1, "players": 1},
}
TOLD = b'{"revision":1,"told":true}'


def leased(client: redis.Redis, **more: str | bytes | int) -> Entry:
    session_id = enter(client, LEASE, {**FIELDS, **more})
    client.hset(redis_keys.session(session_id), "status", "finished")
    conflicts = {
        name.partition(":")[2]: str(value).encode()
        for name, value in more.items()
        if name.startswith("conflict:")
    }
    return Entry(session_id, b"%d" % LEASE, 1, b"{}", "ab", 7, conflicts)


def processed(entry: Entry, sha256: str = "ab") -> tuple[Entry, Verdict]:
    return entry, Verdict(
        entry.session_id, Outcome.PROCESSED, tombstone=TOLD, sha256=sha256
    )


def rejected(entry: Entry) -> tuple[Entry, Verdict]:
    return entry, Verdict(entry.session_id, Outcome.REJECTED)


def test_a_processed_combat_leaves_its_hash_and_what_it_tells(
    redis_client: redis.Redis,
) -> None:
    entry = leased(redis_client)

    assert inbox.finish([processed(entry)]) == 1

    id_ = entry.session_id
    assert due(redis_client, id_) is None
    assert result(redis_client, id_) == {b"sha256": b"ab", b"accepted_at": b"7"}
    assert is_about(redis_client.ttl(redis_keys.result(id_)), redis_keys.DAY_SECONDS)
    assert redis_client.get(redis_keys.tombstone(id_)) == TOLD
    assert is_about(redis_client.ttl(redis_keys.tombstone(id_)), redis_keys.DAY_SECONDS)
    assert not redis_client.exists(redis_keys.session(id_))


def test_the_hash_of_the_row_is_kept_where_redis_had_met_another_document(
    redis_client: redis.Redis,
) -> None:
    entry = leased(redis_client)

    inbox.finish([processed(entry, sha256="cd")])

    assert result(redis_client, entry.session_id)[b"sha256"] == b"cd"


def test_without_a_row_the_live_session_and_the_hash_stay_and_nothing_is_told(
    redis_client: redis.Redis,
) -> None:
    entry = leased(redis_client)
    told, live = (
        redis_keys.tombstone(entry.session_id),
        redis_keys.session(entry.session_id),
    )
    redis_client.set(told, TOLD)

    assert inbox.finish([rejected(entry)]) == 1

    assert not redis_client.exists(told)
    assert redis_client.exists(live)
    assert result(redis_client, entry.session_id)[b"sha256"] == b"ab"


def test_what_was_undone_stays_told_where_nothing_else_is_to_be(
    redis_client: redis.Redis,
) -> None:
    entry = leased(redis_client)
    key = redis_keys.tombstone(entry.session_id)
    redis_client.set(key, undone_tombstone(1))

    inbox.finish([rejected(entry)])

    assert redis_client.get(key) == undone_tombstone(1)


@pytest.mark.parametrize("seconds", [1, 2 * redis_keys.DAY_SECONDS])
def test_documents_are_kept_as_long_as_the_settings_say(
    redis_client: redis.Redis, settings: Settings, seconds: int
) -> None:
    settings.SETTLEMENT_RAW_RETENTION_SECONDS = seconds
    entry = leased(redis_client)

    assert inbox.finish([processed(entry)]) == 1

    assert result(redis_client, entry.session_id)[b"raw"] == b"{}"
    ttl = redis_client.ttl(redis_keys.result(entry.session_id))
    assert is_about(ttl, max(seconds, redis_keys.DAY_SECONDS))


def test_recorded_conflicts_go_and_one_that_came_meanwhile_keeps_the_entry(
    redis_client: redis.Redis,
) -> None:
    plain, both = (
        leased(redis_client),
        leased(redis_client, **{"conflict:a": "1", "conflict:b": "2"}),
    )
    one = leased(redis_client, **{"conflict:c": "3"})
    came = replace(one, conflicts={})
    last = leased(redis_client)

    with at_work(redis_client) as moments:
        entries = [plain, both, came, last]
        assert inbox.finish(map(processed, entries)) == 3

    for entry in (plain, both, last):
        assert due(redis_client, entry.session_id) is None
        left = result(redis_client, entry.session_id)
        assert left == {b"sha256": b"ab", b"accepted_at": b"7"}
    again = due(redis_client, one.session_id)
    assert again is not None
    assert moments[0] <= again <= moments[1]
    assert b"conflict:c" in result(redis_client, one.session_id)
    assert redis_client.ttl(redis_keys.result(one.session_id)) == -1


@pytest.mark.parametrize("change", ["gone", "held by another", "put back"])
def test_without_our_lease_nothing_changes(
    redis_client: redis.Redis, change: str
) -> None:
    entry = leased(redis_client)
    member = str(entry.session_id)
    if change == "gone":
        redis_client.zrem(redis_keys.INBOX, member)
    else:
        moved = LEASE + 1 if change == "held by another" else now_ms(redis_client)
        redis_client.zadd(redis_keys.INBOX, {member: moved})
    before = result(redis_client, entry.session_id)

    assert inbox.finish([processed(entry)]) == 0

    assert result(redis_client, entry.session_id) == before
    assert redis_client.exists(redis_keys.session(entry.session_id))
    assert not redis_client.exists(redis_keys.tombstone(entry.session_id))
