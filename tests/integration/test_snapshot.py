"""The account snapshot belongs to the hand-off: nothing writes `ac:` after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast
from uuid import UUID

import pytest
import redis

from combat_history.models import Character
from persistence.contract import redis_keys
from persistence.engine.handoff import Receipt, checked
from persistence.tasks import settle_combat, settle_inbox
from persistence.worker import inbox
from tests.support.documents import (
    HERO,
    SAMPLE_END,
    hero_fight,
    make_document,
    make_participant,
)
from tests.support.ids import new_session_id

pytestmark = pytest.mark.usefixtures("world")

ACCOUNT = redis_keys.account(HERO)


def account(client: redis.Redis) -> dict[str, str]:
    fields = cast("dict[bytes, bytes]", client.hgetall(ACCOUNT))
    return {name.decode(): value.decode() for name, value in fields.items()}


def put(client: redis.Redis, **fields: str | int) -> None:
    for name, value in fields.items():
        client.hset(ACCOUNT, name, value)


def test_idle_account_takes_the_snapshot(redis_client: redis.Redis) -> None:
    put(redis_client, state="world", combat_session_id="")
    document = hero_fight(hp=450)

    inbox.record(checked(document))

    assert account(redis_client) == {
        "state": "world",
        "combat_session_id": "",
        "hp": "450",
        "energy": "20",
        "vitals_at": str(SAMPLE_END * 1000),
        "last_combat_session_id": document["session_id"],
        "last_combat_finished_at": str(SAMPLE_END),
    }
    assert redis_client.ttl(ACCOUNT) == -1


def test_account_in_this_combat_takes_it_and_is_free(redis_client: redis.Redis) -> None:
    """However old: the player is in this very fight until it is handed off."""
    document = hero_fight(hp=450)
    put(
        redis_client,
        hp=77,
        combat_session_id=document["session_id"],
        last_combat_finished_at=SAMPLE_END + 50,
        last_combat_session_id=str(new_session_id()),
    )

    inbox.record(checked(document))

    after = account(redis_client)
    assert (after["hp"], after["energy"]) == ("450", "20")
    assert "combat_session_id" not in after
    assert after["last_combat_finished_at"] == str(SAMPLE_END + 50)


def test_account_in_another_combat_is_left_alone(redis_client: redis.Redis) -> None:
    before = {"hp": "77", "combat_session_id": str(new_session_id())}
    put(redis_client, **before)

    inbox.record(checked(hero_fight(hp=450)))

    assert account(redis_client) == before


@pytest.mark.parametrize("last", [SAMPLE_END + 1, (SAMPLE_END + 1) * 1000])
def test_older_combat_does_not_overwrite(redis_client: redis.Redis, last: int) -> None:
    """Engines may have written the field in seconds or in milliseconds."""
    before = {
        "hp": "77",
        "last_combat_finished_at": str(last),
        "last_combat_session_id": str(new_session_id()),
    }
    put(redis_client, **before)

    inbox.record(checked(hero_fight(hp=450)))

    assert account(redis_client) == before


def test_combats_that_end_together_go_by_session_id(redis_client: redis.Redis) -> None:
    low, high = sorted(new_session_id() for _ in range(2))

    inbox.record(checked(hero_fight(hp=2, session_id=high)))
    inbox.record(checked(hero_fight(hp=1, session_id=low)))

    assert account(redis_client)["hp"] == "2"
    assert account(redis_client)["last_combat_session_id"] == str(high)


def test_player_without_snapshot_is_freed_and_keeps_the_vitals(
    redis_client: redis.Redis,
) -> None:
    document = make_document({str(HERO): make_participant(state_snapshot=None)})
    put(redis_client, hp=77, combat_session_id=document["session_id"])

    inbox.record(checked(document))

    assert account(redis_client) == {
        "hp": "77",
        "last_combat_session_id": document["session_id"],
        "last_combat_finished_at": str(SAMPLE_END),
    }


def test_ai_participants_have_no_account(redis_client: redis.Redis) -> None:
    document = hero_fight(hp=450)
    document["participants"]["-101"] = make_participant()

    inbox.record(checked(document))

    assert redis_client.keys("ac:*") == [ACCOUNT.encode()]


FOREIGN: dict[str, Callable[[redis.Redis, str], object]] = {
    "string": lambda client, key: client.set(key, "{}"),
    "list": lambda client, key: client.rpush(key, "x"),
    "set": lambda client, key: client.sadd(key, "x"),
    "sorted set": lambda client, key: client.zadd(key, {"x": 1}),
    "stream": lambda client, key: client.xadd(key, {"x": 1}),
}


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN.keys())
def test_foreign_type_never_refuses_a_hand_off(
    redis_client: redis.Redis, make: Callable[[redis.Redis, str], object]
) -> None:
    document = hero_fight(gold_gained=5)
    keys = [
        ACCOUNT,
        redis_keys.ACTIVE,
        redis_keys.session(UUID(document["session_id"])),
    ]
    for key in keys:
        make(redis_client, key)
    before = [redis_client.dump(key) for key in keys]

    receipt, _ = inbox.record(checked(document))

    assert receipt is Receipt.ACCEPTED
    assert redis_client.dump(ACCOUNT) == before[0]
    settle_inbox()
    assert Character.objects.get().gold == 5


def test_fields_that_are_no_numbers_never_refuse_a_hand_off(
    redis_client: redis.Redis,
) -> None:
    put(redis_client, last_combat_finished_at="yesterday", hp="many")

    receipt, _ = inbox.record(checked(hero_fight(hp=450)))

    assert receipt is Receipt.ACCEPTED
    assert account(redis_client)["hp"] == "450"


def test_late_settlement_does_not_undo_a_heal(redis_client: redis.Redis) -> None:
    document = hero_fight(hp=3)
    inbox.record(checked(document))
    put(redis_client, hp=500)

    settle_inbox()
    settle_combat(document)

    assert account(redis_client)["hp"] == "500"
    assert Character.objects.get().hp == 3, "the tables know the fight's own end"


@pytest.mark.parametrize("ahead_ms", [1, 0, -1])
def test_late_result_does_not_undo_a_heal(
    redis_client: redis.Redis, ahead_ms: int
) -> None:
    """Of an account that is in no fight: the newer moment stands, as in the tables."""
    healed_at = SAMPLE_END * 1000 + ahead_ms
    put(redis_client, hp=500, energy=50, vitals_at=healed_at)
    document = hero_fight(hp=5)

    inbox.record(checked(document))

    after = account(redis_client)
    assert after["last_combat_session_id"] == document["session_id"]
    vitals = [after[name] for name in ("hp", "energy", "vitals_at")]
    if ahead_ms > 0:
        assert vitals == ["500", "50", str(healed_at)]
    else:
        assert vitals == ["5", "20", str(SAMPLE_END * 1000)]


def test_own_fight_writes_its_vitals_and_puts_no_moment_back(
    redis_client: redis.Redis,
) -> None:
    document, healed_at = hero_fight(hp=5), SAMPLE_END * 1000 + 1
    put(
        redis_client,
        hp=500,
        vitals_at=healed_at,
        combat_session_id=document["session_id"],
    )

    inbox.record(checked(document))

    after = account(redis_client)
    assert (after["hp"], after["vitals_at"]) == ("5", str(healed_at))


@pytest.mark.parametrize("moment", ["nan", "-5", "soon", "9" * 15])
def test_moment_that_can_not_be_holds_no_snapshot_back(
    redis_client: redis.Redis, moment: str
) -> None:
    put(redis_client, hp=500, vitals_at=moment)

    inbox.record(checked(hero_fight(hp=5)))

    after = account(redis_client)
    assert (after["hp"], after["vitals_at"]) == ("5", str(SAMPLE_END * 1000))


def test_late_settlement_does_not_reach_into_a_new_fight(
    redis_client: redis.Redis,
) -> None:
    document, new_fight = hero_fight(hp=3), str(new_session_id())
    inbox.record(checked(document))
    put(redis_client, hp=500, combat_session_id=new_fight)

    settle_inbox()
    settle_combat(document)

    after = account(redis_client)
    assert (after["hp"], after["combat_session_id"]) == ("500", new_fight)


def test_conflicting_document_writes_no_snapshot(redis_client: redis.Redis) -> None:
    document = hero_fight(hp=3)
    inbox.record(checked(document))
    put(redis_client, combat_session_id=document["session_id"])
    before = account(redis_client)

    other = hero_fight(
        hp=400, end_timestamp=SAMPLE_END + 9, session_id=document["session_id"]
    )
    receipt, _ = inbox.record(checked(other))

    assert receipt is Receipt.CONFLICT
    assert account(redis_client) == before
