"""`peek.lua` and `leave.lua`: which messages of a queue are read, and removed."""

from __future__ import annotations

from typing import Any

import redis

from persistence.worker import inbox

QUEUE, TAKER = "queue", "taker"
LIFE_MS = 60_000
PLENTY = 1_000_000


def peek(
    client: redis.Redis, most: int = 10, most_bytes: int = PLENTY, token: str = "me"
) -> Any:
    return inbox.script("peek")(
        keys=[QUEUE, TAKER], args=[most, most_bytes, token, LIFE_MS], client=client
    )


def leave(client: redis.Redis, *messages: bytes, token: str = "me") -> Any:
    return inbox.script("leave")(
        keys=[QUEUE, TAKER], args=[token, *messages], client=client
    )


def test_the_oldest_are_read_and_stay_where_they_are(
    redis_client: redis.Redis,
) -> None:
    redis_client.lpush(QUEUE, "a", "b", "c")

    assert peek(redis_client, most=2) == [b"a", b"b"]

    assert redis_client.lrange(QUEUE, 0, -1) == [b"c", b"b", b"a"]
    assert redis_client.get(TAKER) == b"me"
    assert 0 < redis_client.pttl(TAKER) <= LIFE_MS


def test_no_more_bytes_are_read_than_allowed(redis_client: redis.Redis) -> None:
    redis_client.lpush(QUEUE, "aa", "bbb", "c")

    assert peek(redis_client, most_bytes=5) == [b"aa", b"bbb"]


def test_a_message_beyond_the_bytes_is_left_and_nobody_takes(
    redis_client: redis.Redis,
) -> None:
    redis_client.lpush(QUEUE, "aaaa", "b")

    assert peek(redis_client, most_bytes=3) == []

    assert not redis_client.exists(TAKER)


def test_nothing_is_read_while_somebody_else_takes(redis_client: redis.Redis) -> None:
    redis_client.lpush(QUEUE, "a")
    peek(redis_client)

    assert peek(redis_client, token="another") == []

    assert redis_client.get(TAKER) == b"me"


def test_of_an_empty_queue_nobody_is_the_taker(redis_client: redis.Redis) -> None:
    assert peek(redis_client) == []

    assert not redis_client.exists(TAKER)


def test_exactly_those_are_removed_the_oldest_of_equals(
    redis_client: redis.Redis,
) -> None:
    redis_client.lpush(QUEUE, "a", "b", "a", "c")
    peek(redis_client)

    assert leave(redis_client, b"a", b"gone", b"c") == 2

    assert redis_client.lrange(QUEUE, 0, -1) == [b"a", b"b"]
    assert not redis_client.exists(TAKER)


def test_a_taker_that_came_too_late_does_not_end_the_next_one(
    redis_client: redis.Redis,
) -> None:
    redis_client.lpush(QUEUE, "a")
    peek(redis_client, token="next")

    assert leave(redis_client, b"a", token="me") == 1

    assert redis_client.get(TAKER) == b"next"
