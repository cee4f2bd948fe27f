"""`handoff.lua`: the one door and arbiter, by all that it answers and writes."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
import redis

from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.engine.handoff import Handoff, checked, forced
from tests.support.documents import HERO, SAMPLE_END, make_document, make_participant
from tests.support.scripts import at_work, due, now_ms, result, run
from tests.support.waiting import is_about

END_MS = SAMPLE_END * 1000
MINUTE_MS = 60_000
RIVAL, THIRD = HERO + 1, HERO + 2
MAX_AHEAD_SECONDS = 300


def fight(hp: int | None = 450, *, end: int = SAMPLE_END, **over: Any) -> Document:
    """Of three players, each with vitals of their own, but none where `hp` is."""
    players = {
        str(char_id): make_participant(
            state_snapshot=None if hp is None else {"hp": hp + n, "energy": 20 + n}
        )
        for n, char_id in enumerate((HERO, RIVAL, THIRD))
    }
    return make_document(players, end_timestamp=end, **over)


def give(handoff: Handoff) -> tuple[str, int]:
    """The answer, and whether the caller is to ring."""
    word, ring = run("handoff", handoff.keys, handoff.args)
    return str(word, "ascii"), ring


def other(document: Document, number: int) -> Handoff:
    return checked({**document, "more": number})


def account(client: redis.Redis, char_id: int = HERO) -> dict[str, str]:
    found: dict[Any, Any] = client.hgetall(redis_keys.account(char_id))
    return {name.decode(): value.decode() for name, value in found.items()}


def put(client: redis.Redis, **fields: str | int) -> None:
    for name, value in fields.items():
        client.hset(redis_keys.account(HERO), name, value)


def snapshot(
    session_id: UUID, hp: int = 450, energy: int = 20, vitals_at: int = END_MS
) -> dict[str, str]:
    return {
        "hp": str(hp),
        "energy": str(energy),
        "vitals_at": str(vitals_at),
        "last_combat_session_id": str(session_id),
        "last_combat_finished_at": str(SAMPLE_END),
    }


def live(client: redis.Redis, session_id: UUID, **fields: str | int) -> str:
    key = redis_keys.session(session_id)
    client.hset(key, "status", "active")
    for name, value in fields.items():
        client.hset(key, name, value)
    client.zadd(redis_keys.ACTIVE, {str(session_id): 1})
    return key


def test_the_first_document_is_recorded_whole(redis_client: redis.Redis) -> None:
    handoff = checked(fight())
    key = live(redis_client, handoff.session_id)

    with at_work(redis_client) as moments:
        assert give(handoff) == ("accepted", 1)

    recorded = result(redis_client, handoff.session_id)
    accepted_at = int(recorded.pop(b"accepted_at"))
    assert moments[0] <= accepted_at <= moments[1]
    assert recorded == {
        b"raw": handoff.raw,
        b"sha256": handoff.sha256.encode(),
        b"players": b"3",
    }
    assert due(redis_client, handoff.session_id) == accepted_at
    assert redis_client.hget(key, "status") == b"finished"
    ttl = redis_client.ttl(key)
    assert is_about(ttl, redis_keys.FINISHED_SESSION_TTL_SECONDS)
    assert not redis_client.exists(redis_keys.ACTIVE)
    assert redis_client.pttl(redis_keys.DOORBELL) <= redis_keys.DOORBELL_TTL_MS
    assert give(checked(fight())) == ("accepted", 0), "one ring is enough"


def test_every_player_gets_their_own_vitals(redis_client: redis.Redis) -> None:
    handoff = checked(fight())

    give(handoff)

    for n, char_id in enumerate((HERO, RIVAL, THIRD)):
        expected = snapshot(handoff.session_id, 450 + n, 20 + n)
        assert account(redis_client, char_id) == expected


def test_a_duplicate_brings_back_what_settlement_dropped_and_stays(
    redis_client: redis.Redis,
) -> None:
    handoff = checked(fight())
    key = redis_keys.result(handoff.session_id)
    redis_client.hset(key, "sha256", handoff.sha256)
    redis_client.expire(key, 60)

    assert give(handoff) == ("duplicate", 1)

    recorded = result(redis_client, handoff.session_id)
    assert recorded[b"raw"] == handoff.raw
    assert recorded[b"players"] == b"3"
    assert int(recorded[b"accepted_at"]) == due(redis_client, handoff.session_id)
    assert redis_client.ttl(key) == -1
    assert not redis_client.exists(redis_keys.session(handoff.session_id))


def test_what_was_noted_of_a_combat_before_its_result_stays_too(
    redis_client: redis.Redis,
) -> None:
    handoff = checked(fight())
    key = redis_keys.result(handoff.session_id)
    redis_client.hset(key, "players", 7)
    redis_client.expire(key, 60)

    assert give(handoff) == ("accepted", 1)

    assert redis_client.ttl(key) == -1


def test_a_duplicate_changes_nothing_that_is_there(redis_client: redis.Redis) -> None:
    handoff = checked(fight())
    give(handoff)
    redis_client.hset(redis_keys.result(handoff.session_id), "accepted_at", 7)
    redis_client.zadd(redis_keys.INBOX, {str(handoff.session_id): 8})
    put(redis_client, hp=1)
    before = result(redis_client, handoff.session_id)

    assert give(handoff) == ("duplicate", 0)

    assert result(redis_client, handoff.session_id) == before
    assert due(redis_client, handoff.session_id) == 8
    assert account(redis_client)["hp"] == "1", "it was healed since"


def test_the_hash_of_an_older_version_names_the_same_document(
    redis_client: redis.Redis,
) -> None:
    handoff = checked(fight())
    key = redis_keys.result(handoff.session_id)
    redis_client.hset(key, "sha256", "former")
    handoff.args[handoff.args.index(handoff.former_sha256, 9)] = "former"

    assert give(handoff)[0] == "duplicate"


def test_other_documents_are_kept_up_to_five_and_change_nothing(
    redis_client: redis.Redis,
) -> None:
    document = fight()
    first = checked(document)
    give(first)
    before = account(redis_client)
    redis_client.zrem(redis_keys.INBOX, str(first.session_id))
    others = [other(document, number) for number in range(7)]

    answers = [give(conflict) for conflict in others]

    assert answers == [("conflict", 0)] * 7
    recorded = result(redis_client, first.session_id)
    assert recorded[b"raw"] == first.raw
    held = {name: raw for name, raw in recorded.items() if b"conflict:" in name}
    assert held == {
        f"conflict:{conflict.sha256}".encode(): conflict.raw for conflict in others[:5]
    }
    assert due(redis_client, first.session_id) is not None, "they are to be recorded"
    assert account(redis_client) == before


def test_a_foreign_type_at_its_key_is_put_aside(redis_client: redis.Redis) -> None:
    handoff = checked(fight())
    key = redis_keys.result(handoff.session_id)
    redis_client.set(key, "text")

    assert give(handoff) == ("accepted", 1)

    assert redis_client.get(f"{key}:foreign") == b"text"


def ahead(client: redis.Redis, seconds: int) -> Document:
    return fight(end=now_ms(client) // 1000 + seconds)


def test_a_fight_that_ends_in_the_future_is_refused(
    redis_client: redis.Redis,
) -> None:
    document = ahead(redis_client, MAX_AHEAD_SECONDS + 60)
    handoff = checked_by_another_clock(document)

    assert give(handoff) == ("future", 0)
    assert redis_client.keys() == []

    assert give(handoff.once_accepted()) == ("accepted", 1)
    assert not redis_client.exists(redis_keys.account(HERO)), "no vitals of a future"
    assert give(handoff) == ("duplicate", 0)


def checked_by_another_clock(document: Document) -> Handoff:
    """As a door whose own clock is ahead of Redis' reads it."""
    earlier = checked({**document, "meta": {**document["meta"], "end_timestamp": 1e9}})
    earlier.args[3] = document["meta"]["end_timestamp"]
    return earlier


def test_a_clock_may_be_a_minute_ahead(redis_client: redis.Redis) -> None:
    handoff = checked(ahead(redis_client, 60))

    assert give(handoff) == ("accepted", 1)
    assert account(redis_client)["hp"] == "450"


@pytest.mark.parametrize("held", [{}, {"combat_session_id": ""}])
def test_an_idle_account_takes_the_vitals(
    redis_client: redis.Redis, held: dict[str, str]
) -> None:
    put(redis_client, **held, vitals_at=END_MS, hp=1)
    handoff = checked(fight())

    give(handoff)

    assert account(redis_client) == {**held, **snapshot(handoff.session_id)}


def test_an_account_in_this_fight_takes_them_whatever_it_says_and_is_free(
    redis_client: redis.Redis,
) -> None:
    handoff = checked(fight())
    later = {"last_combat_finished_at": SAMPLE_END + 1, "vitals_at": END_MS + 7}
    put(redis_client, combat_session_id=str(handoff.session_id), hp=1, **later)

    give(handoff)

    assert account(redis_client) == {
        "hp": "450",
        "energy": "20",
        "vitals_at": str(END_MS + 7),
        "last_combat_finished_at": str(SAMPLE_END + 1),
    }


def test_an_account_in_another_fight_is_left_alone(redis_client: redis.Redis) -> None:
    put(redis_client, combat_session_id="another", hp=1)

    give(checked(fight()))

    assert account(redis_client) == {"combat_session_id": "another", "hp": "1"}


def test_without_vitals_the_account_is_freed_and_keeps_its_own(
    redis_client: redis.Redis,
) -> None:
    handoff = checked(fight(hp=None))
    put(redis_client, combat_session_id=str(handoff.session_id), hp=1)

    give(handoff)

    assert account(redis_client) == {
        "hp": "1",
        "last_combat_session_id": str(handoff.session_id),
        "last_combat_finished_at": str(SAMPLE_END),
    }


@pytest.mark.parametrize(
    ("last_finished", "last_id", "is_newer"),
    [
        (SAMPLE_END - 1, "f", True),
        (SAMPLE_END + 1, "0", False),
        (SAMPLE_END, "0", True),
        (SAMPLE_END, "f", False),
        (SAMPLE_END, None, True),
    ],
)
def test_an_idle_account_takes_only_what_is_newer(
    redis_client: redis.Redis, last_finished: int, last_id: str | None, is_newer: bool
) -> None:
    put(redis_client, last_combat_finished_at=last_finished, hp=1)
    if last_id is not None:
        put(redis_client, last_combat_session_id=last_id)

    give(checked(fight()))

    assert account(redis_client)["hp"] == ("450" if is_newer else "1")


def test_vitals_since_the_fight_stand_and_those_of_a_future_do_not(
    redis_client: redis.Redis,
) -> None:
    now = now_ms(redis_client)
    put(redis_client, vitals_at=now + MINUTE_MS, hp=1)
    give(checked(fight()))
    assert account(redis_client)["hp"] == "1"

    put(redis_client, vitals_at=now + 10 * MINUTE_MS)
    give(checked(fight(end=SAMPLE_END + 1)))
    assert account(redis_client)["hp"] == "450"
    assert account(redis_client)["vitals_at"] == str(END_MS + 1000)


def test_a_foreign_account_refuses_nothing(redis_client: redis.Redis) -> None:
    redis_client.set(redis_keys.account(HERO), "text")

    assert give(checked(fight())) == ("accepted", 1)

    assert redis_client.get(redis_keys.account(HERO)) == b"text"
    assert account(redis_client, THIRD)["hp"] == "452"


SILENT_SINCE = 1_700_000_000_000


def forcing(document: Document) -> Handoff:
    return forced(document, SILENT_SINCE)


def test_a_combat_that_fell_silent_is_ended(redis_client: redis.Redis) -> None:
    handoff = forcing(fight())
    live(redis_client, handoff.session_id, heartbeat=SILENT_SINCE - 1)

    assert give(handoff) == ("accepted", 1)


@pytest.mark.parametrize(
    ("fields"),
    [
        {"heartbeat": SILENT_SINCE},
        {"heartbeat": SILENT_SINCE - 1, "status": "finished"},
    ],
)
def test_one_that_was_heard_of_or_is_over_is_not(
    redis_client: redis.Redis, fields: dict[str, str | int]
) -> None:
    handoff = forcing(fight())
    live(redis_client, handoff.session_id, **fields)

    assert give(handoff) == ("refused", 0)
    assert result(redis_client, handoff.session_id) == {}


def test_nor_is_one_that_is_not_there_or_whose_result_is(
    redis_client: redis.Redis,
) -> None:
    handoff = forcing(fight())
    assert give(handoff) == ("refused", 0)

    live(redis_client, handoff.session_id, heartbeat=SILENT_SINCE - 1)
    redis_client.hset(redis_keys.result(handoff.session_id), "sha256", handoff.sha256)
    assert give(handoff) == ("refused", 0)
