"""`lookup.lua`: what Redis knows of a fight, told whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from persistence.contract import redis_keys
from persistence.contract.outcome import undone_tombstone
from tests.support.documents import HERO
from tests.support.ids import new_session_id
from tests.support.scripts import run

SESSION = new_session_id()
TOMBSTONE = redis_keys.tombstone(SESSION)
LIVE = redis_keys.session(SESSION)
RESULT = redis_keys.result(SESSION)
ACCOUNT = redis_keys.account(HERO)
TOLD = b'{"revision":1}'
MOST_BYTES = 4 * 1024 * 1024


def ask(beyond: str = "") -> Any:
    unknown = redis_keys.unknown(SESSION)
    keys = [TOMBSTONE, LIVE, RESULT, ACCOUNT, unknown, redis_keys.INBOX]
    return run("lookup", keys, [str(SESSION), HERO, beyond])


def told(
    status: bytes | None = None,
    participants: bytes | None = None,
    is_actor: int = 0,
    raw: bytes | None = None,
    is_handed_off: int = 0,
    is_last: int = 0,
    is_known: int = 0,
    was_unknown: int = 0,
    has_tombstone: int = 0,
) -> list[object]:
    flags = (is_handed_off, is_last, is_known, was_unknown, has_tombstone)
    return [status, participants, is_actor, raw, *flags]


def live(client: redis.Redis) -> None:
    client.hset(LIVE, "status", "active")
    client.hset(LIVE, "participants", "[1]")
    client.hset(LIVE, "result", "{}")


def live_without_status(client: redis.Redis) -> None:
    client.hset(LIVE, redis_keys.actor_field(HERO), "{}")


def of_another_player(client: redis.Redis) -> None:
    client.hset(LIVE, "status", "finished")
    client.hset(LIVE, redis_keys.actor_field(HERO + 1), "{}")


def handed_off(client: redis.Redis) -> None:
    client.hset(RESULT, "raw", "{}")
    client.hset(RESULT, "sha256", "ab")


def handed_off_and_live(client: redis.Redis) -> None:
    client.hset(LIVE, "status", "finished")
    client.hset(LIVE, "result", "[]")
    handed_off(client)


def not_handed_off(client: redis.Redis) -> None:
    client.hset(RESULT, "players", 1)


def last_fight(client: redis.Redis) -> None:
    client.hset(ACCOUNT, "last_combat_session_id", str(SESSION))


def last_fight_was_another(client: redis.Redis) -> None:
    client.hset(ACCOUNT, "last_combat_session_id", str(new_session_id()))


def in_the_inbox(client: redis.Redis) -> None:
    client.zadd(redis_keys.INBOX, {str(SESSION): 1})


def found_unknown(client: redis.Redis) -> None:
    client.set(redis_keys.unknown(SESSION), "1")


def foreign(client: redis.Redis) -> None:
    for key in (LIVE, RESULT, ACCOUNT):
        client.set(key, "text")


CASES: list[tuple[Callable[[redis.Redis], None], list[object]]] = [
    (lambda _: None, told()),
    (foreign, told()),
    (live, told(b"active", b"[1]", 0, b"{}", is_known=1)),
    (live_without_status, told(b"", None, 1, is_known=1)),
    (of_another_player, told(b"finished", is_known=1)),
    (handed_off, told(None, None, 0, b"{}", is_handed_off=1, is_known=1)),
    (
        handed_off_and_live,
        told(b"finished", None, 0, b"{}", is_handed_off=1, is_known=1),
    ),
    (not_handed_off, told(is_known=1)),
    (last_fight, told(is_last=1, is_known=1)),
    (last_fight_was_another, told()),
    (in_the_inbox, told(is_known=1)),
    (found_unknown, told(was_unknown=1)),
]


@pytest.mark.parametrize(
    ("prepare", "expected"), CASES, ids=[f"case {n}" for n in range(len(CASES))]
)
def test_without_a_tombstone_the_traces_are_told(
    redis_client: redis.Redis,
    prepare: Callable[[redis.Redis], None],
    expected: list[object],
) -> None:
    prepare(redis_client)

    assert ask() == expected


def test_a_tombstone_is_told_alone(redis_client: redis.Redis) -> None:
    live(redis_client)
    redis_client.set(TOMBSTONE, TOLD)

    assert ask() == TOLD


def test_where_it_was_undone_or_cannot_be_read_the_traces_are(
    redis_client: redis.Redis,
) -> None:
    redis_client.set(TOMBSTONE, TOLD)
    beyond = told(is_known=1, has_tombstone=1)

    assert ask(beyond="1") == beyond
    redis_client.set(TOMBSTONE, undone_tombstone(1))
    assert ask() == beyond
    redis_client.delete(TOMBSTONE)
    redis_client.rpush(TOMBSTONE, "text")
    assert ask() == beyond


def test_no_more_is_sent_for_a_tombstone_than_one_can_be(
    redis_client: redis.Redis,
) -> None:
    redis_client.setrange(TOMBSTONE, MOST_BYTES - 1, "}")
    assert len(ask()) == MOST_BYTES

    redis_client.append(TOMBSTONE, "}")
    assert ask() == told(is_known=1, has_tombstone=1)
