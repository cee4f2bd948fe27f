"""`inbox`: what the worker asks of the scripts, and what it makes of their answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from pytest_django import Settings

from persistence.contract import redis_keys
from persistence.engine.handoff import Receipt, checked
from persistence.worker import inbox
from persistence.worker.entries import Entry
from persistence.worker.inbox import NotReplicated
from tests.support.documents import make_document
from tests.support.ids import new_session_id
from tests.support.redis_server import redis_away, running_redis
from tests.support.scripts import Fields, at_work, due, enter, now_ms, result
from tests.support.waiting import wait_until

LONG_MS = 60_000


@pytest.fixture
def replica(redis_client: redis.Redis, tmp_path: Path) -> Iterator[redis.Redis]:
    """Of the Redis of the tests, which it follows."""
    known = redis_client.connection_pool.connection_kwargs
    with running_redis(tmp_path, appendonly="no") as url:
        own = urlsplit(url)._replace(path=f"/{known['db']}").geturl()
        with redis.Redis.from_url(own) as client:
            client.config_set("masterauth", known["password"])
            client.replicaof(known["host"], known["port"])
            wait_until(lambda: redis_client.wait(1, 100) == 1, "the replica follows")
            yield client


def test_a_hand_off_waits_for_no_replica_unless_it_is_to(
    redis_client: redis.Redis,
) -> None:
    handoff = checked(make_document())

    assert inbox.record(handoff) == (Receipt.ACCEPTED, True)

    assert result(redis_client, handoff.session_id)[b"raw"] == handoff.raw


def test_where_too_few_replicas_have_it_that_is_said_and_it_may_stand(
    redis_client: redis.Redis,
) -> None:
    handoff = checked(make_document())

    with pytest.raises(NotReplicated, match="0 of 1 replicas"):
        inbox.record(handoff, replicas=1)

    assert due(redis_client, handoff.session_id)


def test_a_hand_off_is_told_once_its_replicas_have_it(replica: redis.Redis) -> None:
    handoff = checked(make_document())

    assert inbox.record(handoff, replicas=1) == (Receipt.ACCEPTED, True)

    assert replica.hget(redis_keys.result(handoff.session_id), "raw") == handoff.raw


def test_a_claim_makes_entries_of_what_is_due(
    redis_client: redis.Redis, settings: Settings
) -> None:
    settings.SETTLEMENT_LEASE_MS = LONG_MS
    fields: Fields = {"raw": b"{}", "sha256": "ab", "accepted_at": 7}
    conflicts: Fields = {"conflict:c": b"3", "conflict:d": b"4"}
    session_id = enter(redis_client, 1, {**fields, **conflicts})
    bare = enter(redis_client, 2)
    later = enter(redis_client, 3)

    with at_work(redis_client) as moments:
        (entry, other), more = inbox.claim(100, until_ms=2)

    lease = int(entry.lease)
    assert moments[0] + LONG_MS <= lease <= moments[1] + LONG_MS
    assert entry == Entry(
        session_id, b"%d" % lease, 1, b"{}", "ab", 7, {"c": b"3", "d": b"4"}
    )
    assert other == Entry(bare, other.lease, 1, None, None, None, {})
    assert more is False
    assert due(redis_client, later) == 3
    assert [e.session_id for e in inbox.claim(100)[0]] == [later]


def test_a_claim_says_that_more_may_be_due(redis_client: redis.Redis) -> None:
    entries = [enter(redis_client, at) for at in (1, 2)]

    (entry,), more = inbox.claim(1)

    assert (entry.session_id, more) == (entries[0], True)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("9" * 14, 99_999_999_999_999),
        ("9" * 15, None),
        ("soon", None),
        ("-7", None),
        ("", None),
    ],
)
def test_what_is_no_moment_was_accepted_at_none(
    redis_client: redis.Redis, text: str, moment: int | None
) -> None:
    enter(redis_client, 1, {"accepted_at": text})

    (entry,), _ = inbox.claim(1)

    assert entry.accepted_at_ms == moment


@pytest.mark.parametrize(
    "member",
    [b"foreign", b"\xff", b"0-0-0-0-0", str(new_session_id()).upper().encode()],
    ids=["word", "no text", "no id", "capitals"],  # the same in every process
)
def test_a_foreign_member_is_taken_out(
    redis_client: redis.Redis, member: bytes
) -> None:
    redis_client.zadd(redis_keys.INBOX, {member: 1})
    session_id = enter(redis_client, 2)

    entries, _ = inbox.claim(100)

    assert [entry.session_id for entry in entries] == [session_id]
    assert redis_client.zrange(redis_keys.INBOX, 0, -1) == [str(session_id).encode()]


def test_what_is_put_is_due_at_once_and_breaks_no_lease(
    redis_client: redis.Redis,
) -> None:
    held = enter(redis_client, now_ms(redis_client) + LONG_MS)
    lease = due(redis_client, held)
    new, other = new_session_id(), new_session_id()

    with at_work(redis_client) as moments:
        assert inbox.put([held, new, other], players={new: 3}) == 2

    assert due(redis_client, held) == lease
    moment = redis_client.zscore(redis_keys.INBOX, str(new))
    assert moments[0] <= (moment or 0) <= moments[1]
    assert moment == due(redis_client, other), "whole milliseconds"
    assert result(redis_client, new) == {b"players": b"3"}
    assert redis_client.keys("combat:result:*") == [redis_keys.result(new).encode()]


def test_a_replay_breaks_a_lease_and_all_of_it_is_due(
    redis_client: redis.Redis,
) -> None:
    held = enter(redis_client, now_ms(redis_client) + LONG_MS)
    known = enter(redis_client, now_ms(redis_client) - LONG_MS)

    with at_work(redis_client) as moments:
        assert inbox.put([held, known], override=True) == 2

    for session_id in (held, known):
        assert moments[0] <= (due(redis_client, session_id) or 0) <= moments[1]


def test_a_foreign_type_under_a_result_holds_nothing_up(
    redis_client: redis.Redis,
) -> None:
    session_id = new_session_id()
    redis_client.set(redis_keys.result(session_id), "text")

    assert inbox.put([session_id], players={session_id: 3}) == 1

    assert due(redis_client, session_id)


def test_a_foreign_type_in_the_place_of_the_inbox_is_told(
    redis_client: redis.Redis,
) -> None:
    redis_client.set(redis_keys.INBOX, "text")

    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        inbox.put([new_session_id()])


def test_of_no_combat_nothing_is_asked(settings: Settings) -> None:
    with redis_away(settings):
        assert (inbox.put([]), inbox.remember({})) == (0, 0)


def test_a_document_was_accepted_where_its_hash_is(redis_client: redis.Redis) -> None:
    accepted, noted, foreign, none = (new_session_id() for _ in range(4))
    redis_client.hset(redis_keys.result(accepted), "sha256", "ab")
    redis_client.hset(redis_keys.result(noted), "players", 1)
    redis_client.set(redis_keys.result(foreign), "text")

    found = [inbox.is_handed_off(id_) for id_ in (accepted, noted, foreign, none)]

    assert found == [True, False, False, False]


def test_one_of_all_who_press_the_doorbell_is_to_ring(
    redis_client: redis.Redis,
) -> None:
    assert [inbox.press_doorbell(), inbox.press_doorbell()] == [True, False]
    assert 0 < redis_client.pttl(redis_keys.DOORBELL) <= redis_keys.DOORBELL_TTL_MS

    inbox.silence_doorbell()

    assert inbox.press_doorbell() is True
