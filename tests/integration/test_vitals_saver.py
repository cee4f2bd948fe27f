"""Vitals: of the account cache and the combats, the newest moment stands."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast

import psycopg
import pytest
import redis

from combat_history.models import Character, ParkedOperation
from persistence.contract import redis_keys
from persistence.engine.handoff import checked
from persistence.protocols import Saved
from persistence.savers.vitals_saver import VitalsStateSaver
from persistence.worker import inbox
from persistence.worker.transactions import open_cursor
from tests.conftest import Settle
from tests.support import factories
from tests.support.documents import HERO, SAMPLE_END, hero_fight
from tests.support.ids import new_session_id
from tests.support.parallel import (
    character_locked,
    in_threads,
    wait_until_blocked,
)
from tests.support.worker import database_url

pytestmark = pytest.mark.usefixtures("world")

END_MS = SAMPLE_END * 1000
STRANGER = 909


def put(client: redis.Redis, **fields: Any) -> None:
    client.hset(redis_keys.account(HERO), mapping=cast("dict[Any, Any]", fields))


def save(char_id: int = HERO) -> Saved:
    with open_cursor() as cursor:
        return VitalsStateSaver(cursor).save(char_id)


def vitals() -> tuple[int, int, str, str]:
    hero = Character.objects.get(pk=HERO)
    return hero.hp, hero.energy, hero.location, hero.state


def vitals_at() -> datetime | None:
    return Character.objects.get(pk=HERO).vitals_at


def moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)


def parked() -> ParkedOperation:
    return ParkedOperation.objects.get(scope="vitals", op_id="snapshot")


def test_snapshot_reaches_the_character(redis_client: redis.Redis) -> None:
    put(
        redis_client,
        hp=321,
        energy=45,
        location="Тёмный лес",
        state="exploration",
        vitals_at=END_MS + 123,
    )

    assert save().counts == {"saved": 1, "stale": 0}

    assert vitals() == (321, 45, "Тёмный лес", "exploration")
    assert vitals_at() == moment(END_MS + 123)
    assert not ParkedOperation.objects.exists()


def test_without_an_account_nothing_is_saved() -> None:
    before = vitals()

    assert save().counts == {"absent": 1}

    assert vitals() == before


def test_foreign_key_type_is_no_account(redis_client: redis.Redis) -> None:
    redis_client.rpush(redis_keys.account(HERO), "x")

    assert save().counts == {"absent": 1}
    assert not ParkedOperation.objects.exists()


def test_fields_that_are_missing_are_not_touched(redis_client: redis.Redis) -> None:
    Character.objects.filter(pk=HERO).update(location="town", state="idle")
    put(redis_client, hp=7, vitals_at=END_MS)

    save()

    assert vitals() == (7, 100, "town", "idle")


@pytest.mark.parametrize("fight_first", [True, False])
def test_heal_after_the_fight_stands_in_either_order(
    settle_here: Settle, redis_client: redis.Redis, fight_first: bool
) -> None:
    put(redis_client, hp=500, energy=99, vitals_at=END_MS + 1)
    steps: list[Callable[[], object]] = [partial(settle_here, hero_fight(hp=10)), save]
    for step in steps if fight_first else reversed(steps):
        # The hand-off writes the fight's own snapshot, the heal comes after it.
        put(redis_client, hp=500, energy=99, vitals_at=END_MS + 1)
        step()

    assert vitals()[:2] == (500, 99)
    assert vitals_at() == moment(END_MS + 1)
    assert Character.objects.get(pk=HERO).vitals_session_id is None


@pytest.mark.parametrize("fight_first", [True, False])
def test_fight_after_the_heal_stands_in_either_order(
    settle_here: Settle, redis_client: redis.Redis, fight_first: bool
) -> None:
    document = hero_fight(hp=10)
    # In another fight: the hand-off leaves this account, and so the old heal, alone.
    other = str(new_session_id())
    put(redis_client, hp=500, energy=99, vitals_at=END_MS - 1, combat_session_id=other)
    steps: list[Callable[[], object]] = [partial(settle_here, document), save]
    for step in steps if fight_first else reversed(steps):
        step()

    assert vitals()[:2] == (10, 20)
    hero = Character.objects.get(pk=HERO)
    assert str(hero.vitals_session_id) == document["session_id"]


@pytest.mark.parametrize("fight_first", [True, False])
def test_a_heal_after_a_fight_is_saved_though_the_moment_stayed(
    settle_here: Settle, redis_client: redis.Redis, fight_first: bool
) -> None:
    document = hero_fight(hp=10)
    if fight_first:
        settle_here(document)
    else:
        # The hand-off has written it into the account; it is settled after the save.
        inbox.record(checked(document))
    put(redis_client, hp=77, energy=78, location="inn", state="rest")

    assert save().counts == {"saved": 1, "stale": 0}
    settle_here(document)

    assert vitals() == (77, 78, "inn", "rest")
    assert not ParkedOperation.objects.exists()


def test_of_two_saves_of_one_moment_the_later_state_of_the_account_stands(
    settle_here: Settle, redis_client: redis.Redis
) -> None:
    settle_here(hero_fight(hp=10))
    put(redis_client, hp=50)
    with ThreadPoolExecutor(1) as pool, character_locked(HERO):
        late = pool.submit(in_threads, save)
        wait_until_blocked(1)
        put(redis_client, hp=77)
    late.result()

    assert vitals()[0] == 77


def test_a_fight_that_the_account_has_not_seen_stands_and_the_rest_is_parked(
    settle_here: Settle, redis_client: redis.Redis
) -> None:
    document = hero_fight(hp=10)
    settle_here(document)
    redis_client.hdel(redis_keys.account(HERO), "last_combat_session_id")
    put(redis_client, hp=77, energy=78, location="inn", state="rest", vitals_at=END_MS)

    assert save().counts == {"parked": 1}

    assert vitals() == (10, 20, "inn", "rest")
    assert parked().detail.startswith("vitals_at: hp and energy of that moment are")
    hero = Character.objects.get(pk=HERO)
    assert str(hero.vitals_session_id) == document["session_id"]


def test_fight_settled_after_its_own_snapshot_was_saved_changes_nothing(
    settle_here: Settle, redis_client: redis.Redis
) -> None:
    put(redis_client, hp=10, energy=20, location="arena", vitals_at=END_MS)
    save()

    settle_here(hero_fight(hp=10))

    assert vitals()[:3] == (10, 20, "arena")
    assert vitals_at() == moment(END_MS)


def test_the_rest_of_a_moment_may_follow(redis_client: redis.Redis) -> None:
    put(redis_client, hp=10, vitals_at=END_MS)
    save()
    put(redis_client, energy=33)

    save()

    assert vitals()[:2] == (10, 33)


def test_older_snapshot_changes_nothing(redis_client: redis.Redis) -> None:
    put(redis_client, hp=300, energy=30, location="new", vitals_at=END_MS)
    save()
    put(redis_client, hp=1, energy=1, location="old", vitals_at=END_MS - 1)

    assert save().counts == {"saved": 0, "stale": 1}

    assert vitals()[:3] == (300, 30, "new")


def test_delivered_twice_is_saved_once(redis_client: redis.Redis) -> None:
    put(redis_client, hp=300, energy=30, location="here", vitals_at=END_MS)
    save()
    before = Character.objects.values().get(pk=HERO)

    save()

    assert Character.objects.values().get(pk=HERO) == before


def test_save_that_waited_does_not_undo_a_newer_one(redis_client: redis.Redis) -> None:
    """It read the cache first, and gets the row last."""
    put(redis_client, hp=1, vitals_at=END_MS)
    with ThreadPoolExecutor(1) as pool, psycopg.connect(database_url()) as other:
        other.execute(
            "UPDATE characters SET hp = 2, vitals_at = %s WHERE id = %s",
            [moment(END_MS + 1), HERO],
        )
        late = pool.submit(in_threads, save)
        wait_until_blocked(1)
        other.commit()
        late.result()

    assert vitals()[0] == 2
    assert vitals_at() == moment(END_MS + 1)


def test_many_saves_at_once_leave_the_newest(redis_client: redis.Redis) -> None:
    def heal_and_save(step: int) -> None:
        put(redis_client, hp=step, vitals_at=END_MS + step)
        save()

    in_threads(*[partial(heal_and_save, step) for step in range(1, 9)])
    newest = int(redis_client.hget(redis_keys.account(HERO), "vitals_at") or 0)
    save()

    found = vitals_at()
    assert found is not None
    assert found >= moment(newest)
    assert found == moment(END_MS + vitals()[0])


GARBAGE: dict[str, tuple[dict[str, Any], str]] = {
    "no number": ({"hp": "lots"}, "hp"),
    "empty": ({"hp": ""}, "hp"),
    "negative": ({"energy": -1}, "energy"),
    "fraction": ({"hp": "1.5"}, "hp"),
    "too large": ({"hp": 2**70}, "hp"),
    "moment is no number": ({"vitals_at": "now"}, "vitals_at"),
    "moment in seconds": ({"vitals_at": SAMPLE_END}, "vitals_at"),
    "moment in microseconds": ({"vitals_at": END_MS * 1000}, "vitals_at"),
    "moment before 2001": ({"vitals_at": 978_307_199_999}, "vitals_at"),
    "moment of 1970": ({"vitals_at": 0}, "vitals_at"),
    "moment of no calendar": ({"vitals_at": 10**17}, "vitals_at"),
    "long location": ({"location": "x" * 101}, "location"),
    "long state": ({"state": "x" * 41}, "state"),
    "NUL": ({"location": "a\0b"}, "location"),
    "NUL in a number": ({"hp": "\0"}, "hp"),
    "far future": (
        {"vitals_at": round(time.time() * 1000) + 3_600_000},
        "vitals_at",
    ),
}


@pytest.mark.parametrize(("bad", "named"), GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_is_parked_until_the_next_good_snapshot(
    redis_client: redis.Redis, bad: dict[str, Any], named: str
) -> None:
    before = vitals()
    good: dict[str, Any] = {
        "hp": 7,
        "energy": 8,
        "location": "inn",
        "state": "",
        "vitals_at": END_MS,
    }
    put(redis_client, **{**good, **bad})

    assert save().counts == {"parked": 1}
    assert save().counts == {"parked": 1}

    assert vitals() == before
    row = parked()
    assert (row.code, row.times_seen) == ("invalid_operation", 2)
    assert row.detail.startswith(named)
    assert "pydantic" not in row.detail
    assert set(row.operation) == set(good)

    put(redis_client, **good)
    save()

    assert vitals() == (7, 8, "inn", "")
    assert parked().resolution == "applied"


def test_vitals_without_a_moment_are_parked_unless_they_say_nothing_new(
    redis_client: redis.Redis,
) -> None:
    hp, energy, *_ = vitals()
    put(redis_client, hp=hp, energy=energy)
    assert save().counts == {"absent": 1}

    put(redis_client, hp=7)
    assert save().counts == {"parked": 1}

    assert parked().detail == "vitals_at: is missing"
    assert vitals()[0] == hp


def test_bytes_that_are_no_text_still_save_what_is(redis_client: redis.Redis) -> None:
    put(redis_client, hp=7, location=b"\xff\xfe", vitals_at=END_MS)

    save()

    assert vitals()[0] == 7


def test_a_clock_that_is_a_little_ahead_is_believed(redis_client: redis.Redis) -> None:
    put(redis_client, hp=7, vitals_at=round(time.time() * 1000) + 60_000)

    assert save().counts["saved"] == 1


def test_unknown_character_is_parked_until_it_is_there(
    redis_client: redis.Redis,
) -> None:
    redis_client.hset(
        redis_keys.account(STRANGER), mapping={"hp": 7, "vitals_at": END_MS}
    )

    assert save(STRANGER).counts == {"parked": 1}

    assert parked().code == "unknown_character"
    factories.add_character(STRANGER)
    save(STRANGER)
    assert Character.objects.get(pk=STRANGER).hp == 7
    assert parked().resolution == "applied"
