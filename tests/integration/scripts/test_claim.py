"""`claim.lua`: what one claim leases, in what order, and what it says of the rest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import pytest
import redis

from persistence.contract import redis_keys
from tests.support.scripts import Fields, at_work, due, enter, now_ms, run

LEASE_MS = 60_000
MUCH = 10**9

Claimed = tuple[int, list[list[Any]]]


def claim(limit: int = 100, max_bytes: int = MUCH, until: int | str = "") -> Claimed:
    """Whether more may be due, and the entries."""
    arguments = [limit, LEASE_MS, max_bytes, redis_keys.RESULT_PREFIX, until]
    more, *entries = run("claim", [redis_keys.INBOX], arguments)
    return more, entries


def claimed(*args: Any, **options: Any) -> tuple[int, list[UUID]]:
    more, entries = claim(*args, **options)
    return more, [UUID(entry[0].decode()) for entry in entries]


def fights(client: redis.Redis, count: int, **fields: str | bytes | int) -> list[UUID]:
    """Due one after the other, since long."""
    return [enter(client, at, {"players": 1, **fields}) for at in range(1, count + 1)]


def after(client: redis.Redis, others: Iterable[UUID], **fields: Any) -> UUID:
    last = max(due(client, other) or 0 for other in others)
    return enter(client, last + 1, {"players": 1, **fields})


def test_an_entry_is_leased_counted_and_told_whole(redis_client: redis.Redis) -> None:
    known: Fields = {"raw": b"{}", "sha256": "ab", "accepted_at": 7}
    fields: Fields = {**known, "players": 1, "roster": "[101]"}
    with at_work(redis_client) as moments:
        entry = enter(redis_client, moments[0], fields)
        more, (told,) = claim()

    assert more == 0
    lease = int(told[1])
    assert moments[0] + LEASE_MS <= lease <= moments[1] + LEASE_MS
    assert due(redis_client, entry) == lease
    assert told == [str(entry).encode(), told[1], 1, b"{}", b"ab", b"7", None, b"[101]"]
    assert redis_client.hget(redis_keys.result(entry), "claims") == b"1"
    assert claim() == (0, [])


@pytest.mark.parametrize("known", [{}, {"sha256": "ab", "accepted_at": 7}])
def test_its_conflicts_come_with_it(
    redis_client: redis.Redis, known: dict[str, str | int]
) -> None:
    one = enter(redis_client, 1, {"raw": b"{}", **known, "conflict:c": b"3"})
    two = enter(
        redis_client,
        2,
        {"raw": b"{}", "conflict:a": b"1", **known, "odd": "x", "conflict:b": b"2"},
    )
    expected = {
        str(one).encode(): [b"conflict:c", b"3"],
        str(two).encode(): [b"conflict:a", b"1", b"conflict:b", b"2"],
    }

    _, entries = claim()

    assert {entry[0]: entry[8:] for entry in entries} == expected


def test_what_is_due_later_is_left(redis_client: redis.Redis) -> None:
    now = now_ms(redis_client)
    old = enter(redis_client, now - 10)
    new = enter(redis_client, now - 5)
    enter(redis_client, now + LEASE_MS)

    assert claimed(until=now - 10) == (0, [old])
    assert claimed(until=now + 2 * LEASE_MS) == (0, [new]), "no moment makes it due"


def test_a_foreign_type_is_put_aside_and_nothing_at_all_is_an_entry_too(
    redis_client: redis.Redis,
) -> None:
    foreign, absent = enter(redis_client, 1), enter(redis_client, 2)
    key = redis_keys.result(foreign)
    redis_client.set(key, "text")

    assert claimed() == (0, [foreign, absent])

    assert redis_client.get(f"{key}:foreign") == b"text"
    assert redis_client.hgetall(key) == {b"claims": b"1"}


def test_a_member_that_is_no_id_is_told_and_not_leased(
    redis_client: redis.Redis,
) -> None:
    redis_client.zadd(redis_keys.INBOX, {"foreign": 1})
    entry = enter(redis_client, 2)

    more, ((foreign,), known) = claim()

    assert (more, foreign, known[0]) == (0, b"foreign", str(entry).encode())
    assert redis_client.zscore(redis_keys.INBOX, "foreign") == 1


def test_no_more_are_taken_than_are_asked_for(redis_client: redis.Redis) -> None:
    entries = fights(redis_client, 4)

    assert claimed(1) == (1, entries[:1])
    assert claimed(2) == (1, entries[1:3])
    assert claimed(2) == (0, entries[3:])


def test_what_was_delivered_before_comes_alone_behind_the_others(
    redis_client: redis.Redis,
) -> None:
    again = fights(redis_client, 2, claims=1)
    first = after(redis_client, again)

    more, entries = claim()

    assert more == 0
    assert [(e[0], e[2]) for e in entries] == [
        (str(first).encode(), 1),
        (str(again[0]).encode(), 2),
    ]
    assert due(redis_client, again[1]) == 2


@pytest.mark.parametrize("text", ["9" * 10, "-1", "x1", "1.5"])
def test_a_count_that_no_claims_have_counts_as_none(
    redis_client: redis.Redis, text: str
) -> None:
    enter(redis_client, 1, {"claims": text})

    assert [entry[2] for entry in claim()[1]] == [1]


def test_the_longest_count_counts(redis_client: redis.Redis) -> None:
    enter(redis_client, 1, {"claims": "9" * 9})

    assert [entry[2] for entry in claim()[1]] == [10**9]


def test_a_page_that_was_passed_over_hides_nothing(redis_client: redis.Redis) -> None:
    one, two = fights(redis_client, 2)
    again = after(redis_client, [two], claims=1)
    three = after(redis_client, [again])

    assert claimed(3) == (1, [one, two, three, again])


def test_what_is_left_of_a_page_is_told_of(redis_client: redis.Redis) -> None:
    (again,) = fights(redis_client, 1, claims=1)
    one = after(redis_client, [again])
    two = after(redis_client, [one])
    three = after(redis_client, [two])

    assert claimed(2) == (1, [one, two, again])
    assert claimed(2) == (0, [three])


def test_so_many_entries_are_looked_at_and_no_more(redis_client: redis.Redis) -> None:
    held = fights(redis_client, 1000, claims=1)
    after(redis_client, held)

    assert claimed(1) == (1, held[:1])
    _, entries = claimed(1)
    assert len(entries) == 2, "one of the others is gone, so that it is the thousandth"


def test_one_crowd_at_a_time(redis_client: redis.Redis) -> None:
    crowds = fights(redis_client, 2, players=101)
    small = after(redis_client, crowds, players=100)
    other = after(redis_client, [small], players=100)

    assert claimed() == (1, [crowds[0], small, other])
    assert claimed() == (0, [crowds[1]])


def test_so_many_players_of_small_fights_and_no_more(
    redis_client: redis.Redis,
) -> None:
    hundreds = fights(redis_client, 20, players=100)
    last = after(redis_client, hundreds)

    assert claimed() == (1, hundreds)
    assert claimed() == (0, [last])


def test_where_nobody_says_how_many_its_bytes_do(redis_client: redis.Redis) -> None:
    raw = b" " * 101_000
    crowds = [enter(redis_client, at, {"raw": raw}) for at in (1, 2)]
    none = after(redis_client, crowds, raw=b"{}", players="many")

    assert claimed() == (1, [crowds[0], none])


def test_once_it_has_enough_bytes_no_more_are_taken(redis_client: redis.Redis) -> None:
    ten = b" " * 10
    entries = fights(redis_client, 3, raw=ten)

    assert claimed(max_bytes=10) == (1, entries[:2])


def test_as_many_bytes_as_may_be_are_not_enough(redis_client: redis.Redis) -> None:
    ten = b" " * 10
    (again,) = fights(redis_client, 1, claims=1)
    one = after(redis_client, [again], raw=ten)
    two = after(redis_client, [one], raw=ten)

    assert claimed(2, max_bytes=10) == (1, [one, two, again])
