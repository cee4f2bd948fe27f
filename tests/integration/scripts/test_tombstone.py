"""`tombstone.lua` by `remember.lua`: an older tombstone never replaces a newer."""

from __future__ import annotations

import pytest
import redis

from persistence.contract import redis_keys
from persistence.contract.outcome import undone_tombstone
from persistence.worker import inbox
from tests.support.ids import new_session_id
from tests.support.waiting import is_about

SESSION = new_session_id()
KEY = redis_keys.tombstone(SESSION)
OF_AN_OLDER_RELEASE = b'{"told":0}'


def of(revision: int, told: int = 0) -> bytes:
    return b'{"revision":%d,"told":%d}' % (revision, told)


NONE = b""

NEWER = [
    (NONE, of(0)),
    (OF_AN_OLDER_RELEASE, of(0)),
    (of(0), undone_tombstone(0)),
    (of(1), of(2)),
    (of(1), undone_tombstone(1)),
    (undone_tombstone(1), of(2)),
    (of(8), of(10)),
    (of(1), of(999_999_999)),
    (of(1_000_000_000), of(1)),
]
"""Two of which the second is true of something later."""


@pytest.mark.parametrize(("older", "newer"), NEWER)
def test_the_newer_stands_whichever_came_last(
    redis_client: redis.Redis, older: bytes, newer: bytes
) -> None:
    if older:
        redis_client.set(KEY, older)

    assert inbox.remember({SESSION: newer}) == 1
    assert redis_client.get(KEY) == newer
    assert is_about(redis_client.ttl(KEY), redis_keys.DAY_SECONDS)

    if older:
        assert inbox.remember({SESSION: older}) == 0
        assert redis_client.get(KEY) == newer


@pytest.mark.parametrize(
    ("held", "told"), [(of(1, 1), of(1, 2)), (OF_AN_OLDER_RELEASE, b'{"told":1}')]
)
def test_one_as_old_is_written_and_tells_nothing_new(
    redis_client: redis.Redis, held: bytes, told: bytes
) -> None:
    redis_client.set(KEY, held)

    assert inbox.remember({SESSION: told}) == 0

    assert redis_client.get(KEY) == told
    assert is_about(redis_client.ttl(KEY), redis_keys.DAY_SECONDS)


def test_a_foreign_type_is_as_old_as_a_tombstone_of_an_older_release(
    redis_client: redis.Redis,
) -> None:
    redis_client.rpush(KEY, "1")

    assert inbox.remember({SESSION: OF_AN_OLDER_RELEASE}) == 0

    assert redis_client.get(KEY) == OF_AN_OLDER_RELEASE


@pytest.mark.parametrize("held", [of(0), of(1), of(2), OF_AN_OLDER_RELEASE, b"text"])
def test_where_nothing_is_to_be_told_a_tombstone_goes(
    redis_client: redis.Redis, held: bytes
) -> None:
    redis_client.set(KEY, held)

    assert inbox.remember({SESSION: NONE}) == 1
    assert not redis_client.exists(KEY)
    assert inbox.remember({SESSION: NONE}) == 0


@pytest.mark.parametrize(
    "held", [undone_tombstone(0), undone_tombstone(1), undone_tombstone(2)]
)
def test_that_one_was_undone_stays_told(redis_client: redis.Redis, held: bytes) -> None:
    redis_client.set(KEY, held)

    assert inbox.remember({SESSION: NONE}) == 0

    assert redis_client.get(KEY) == held


def test_each_is_counted_that_tells_something_else(redis_client: redis.Redis) -> None:
    sessions = [new_session_id() for _ in range(4)]
    held = redis_keys.tombstone(sessions[1])
    redis_client.set(held, of(2))

    told = dict(zip(sessions, [of(1), of(1), NONE, of(3)], strict=True))
    assert inbox.remember(told) == 2

    texts = [redis_client.get(redis_keys.tombstone(id_)) for id_ in sessions]
    assert texts == [of(1), of(2), None, of(3)]
