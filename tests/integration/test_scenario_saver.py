"""Travel and quest progress: the highest version stands, and only of its owner."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg
import pytest
import redis

from combat_history.models import ParkedOperation, ScenarioSession
from persistence.contract import redis_keys
from persistence.worker import accounts
from tests.support import factories
from tests.support.documents import HERO
from tests.support.parallel import in_threads, wait_until_blocked
from tests.support.scenarios import (
    counts,
    name_closing,
    name_open,
    new_id,
    row,
    save,
    write,
)
from tests.support.worker import database_url

pytestmark = pytest.mark.usefixtures("world")

OTHER = 102


def test_open_session_is_saved_and_goes_on(redis_client: redis.Redis) -> None:
    sid = new_id()
    name_open(redis_client, sid)
    write(redis_client, sid, 3, quest='{"wolves": 2}', место="Лес", empty="")

    assert save().counts == counts(saved=1)

    saved = row(sid)
    assert (saved.character_id, saved.version, saved.closed_at) == (HERO, 3, None)
    assert saved.progress == {
        "node": "step 3",
        "quest": '{"wolves": 2}',
        "место": "Лес",
        "empty": "",
    }
    assert redis_client.exists(redis_keys.scenario(sid))


def test_closing_sessions_are_saved_closed_and_removed(
    redis_client: redis.Redis,
) -> None:
    current, *left = new_id(), new_id(), new_id()
    name_closing(redis_client, *left)
    name_open(redis_client, current)
    for sid in (current, *left):
        write(redis_client, sid)

    assert save().counts == counts(saved=3)

    assert row(current).closed_at is None
    assert all(row(sid).closed_at for sid in left)
    assert redis_client.keys("scenario:session:*") == [
        redis_keys.scenario(current).encode()
    ]


def test_nothing_named_nothing_saved(redis_client: redis.Redis) -> None:
    write(redis_client, new_id())

    assert save().counts == {}

    assert not ScenarioSession.objects.exists()


@pytest.mark.parametrize("lower", [4, 5])
def test_lower_or_equal_version_never_wins(
    redis_client: redis.Redis, lower: int
) -> None:
    sid = new_id()
    name_open(redis_client, sid)
    write(redis_client, sid, 5)
    save()
    before = ScenarioSession.objects.values().get()
    write(redis_client, sid, lower, node="elsewhere")

    assert save().counts == counts(parked=1)

    assert ScenarioSession.objects.values().get() == before
    parked = ParkedOperation.objects.get()
    assert parked.detail.startswith(f"version {lower} is not above 5")
    assert parked.operation == {"version": str(lower), "node": "elsewhere"}
    write(redis_client, sid, 6, node="elsewhere")
    save()
    parked.refresh_from_db()
    assert parked.resolution == "applied"


def test_progress_that_is_lower_and_closing_is_not_removed(
    redis_client: redis.Redis,
) -> None:
    sid = new_id()
    name_open(redis_client, sid)
    write(redis_client, sid, 5)
    save()
    redis_client.hdel(redis_keys.account(HERO), "scenario_session_id")
    name_closing(redis_client, sid)
    write(redis_client, sid, 2, node="elsewhere")

    save().confirm()

    assert redis_client.exists(redis_keys.scenario(sid))
    assert ParkedOperation.objects.get().op_id == sid


def test_higher_version_replaces_the_progress(redis_client: redis.Redis) -> None:
    sid = new_id()
    name_open(redis_client, sid)
    write(redis_client, sid, 9, dropped="x")
    save()
    redis_client.delete(redis_keys.scenario(sid))
    write(redis_client, sid, 10)

    save()

    assert (row(sid).version, row(sid).progress) == (10, {"node": "step 10"})


def test_closing_takes_no_higher_version(redis_client: redis.Redis) -> None:
    sid = new_id()
    name_open(redis_client, sid)
    write(redis_client, sid, 5)
    save()
    name_closing(redis_client, sid)

    save()

    assert row(sid).closed_at is not None
    assert not redis_client.exists(redis_keys.scenario(sid))


def test_delivered_twice_changes_nothing_more(redis_client: redis.Redis) -> None:
    sid = new_id()
    name_closing(redis_client, sid)
    write(redis_client, sid)
    save()
    before = ScenarioSession.objects.values().get()

    assert save().counts == counts(closed=1)

    assert ScenarioSession.objects.values().get() == before


def test_crash_before_the_confirmation_is_made_good_by_the_next_save(
    redis_client: redis.Redis,
) -> None:
    sid = new_id()
    name_closing(redis_client, sid)
    write(redis_client, sid)
    save(confirm=False)
    assert redis_client.exists(redis_keys.scenario(sid))

    save()

    assert not redis_client.exists(redis_keys.scenario(sid))


def test_hash_that_went_on_since_is_not_removed(redis_client: redis.Redis) -> None:
    sid = new_id()
    name_closing(redis_client, sid)
    write(redis_client, sid, 5)
    saved = save(confirm=False)
    write(redis_client, sid, 6)

    assert saved.confirm() is False

    assert redis_client.hget(redis_keys.scenario(sid), "version") == b"6"
    assert save(confirm=False).confirm() is True
    assert row(sid).version == 6


def test_session_that_was_entered_again_since_is_not_removed(
    redis_client: redis.Redis,
) -> None:
    sid = new_id()
    name_closing(redis_client, sid)
    write(redis_client, sid, 5)
    saved = save(confirm=False)
    name_open(redis_client, sid)

    assert saved.confirm() is True

    assert redis_client.exists(redis_keys.scenario(sid))


def test_session_that_is_open_and_closing_is_open(redis_client: redis.Redis) -> None:
    sid = new_id()
    name_closing(redis_client, sid)
    name_open(redis_client, sid)
    write(redis_client, sid, 5)

    save()

    assert row(sid).closed_at is None
    assert redis_client.exists(redis_keys.scenario(sid))


def test_closed_session_opens_again_with_new_progress(
    redis_client: redis.Redis,
) -> None:
    sid = new_id()
    name_closing(redis_client, sid)
    write(redis_client, sid, 5)
    save()
    accounts.closed(HERO, "scenario", [sid])
    name_open(redis_client, sid)
    write(redis_client, sid, 6)

    save()

    assert (row(sid).version, row(sid).closed_at) == (6, None)


def test_save_that_saw_it_open_does_not_open_it_again(
    redis_client: redis.Redis,
) -> None:
    """It read the account before the session was closed, and gets the row last."""
    sid = new_id()
    name_open(redis_client, sid)
    write(redis_client, sid, 5)
    with ThreadPoolExecutor(1) as pool, psycopg.connect(database_url()) as other:
        other.execute("SELECT FROM characters WHERE id = %s FOR UPDATE", [HERO])
        late = pool.submit(in_threads, save)
        wait_until_blocked(1)
        other.execute(
            "INSERT INTO scenario_sessions VALUES (%s, %s, 5, '{}', now(), now())",
            [sid, HERO],
        )
        other.commit()
        late.result()

    assert row(sid).closed_at is not None


def test_many_saves_at_once_leave_the_highest_version(
    redis_client: redis.Redis,
) -> None:
    sid = new_id()
    name_open(redis_client, sid)

    def go_on_and_save() -> None:
        redis_client.hincrby(redis_keys.scenario(sid), "version", 1)
        save()

    in_threads(*[go_on_and_save] * 8)

    assert row(sid).version == 8


def test_players_who_name_the_same_sessions_do_not_deadlock(
    redis_client: redis.Redis,
) -> None:
    """Both hold what they have met so far when the middle one is let go."""
    factories.add_character(OTHER)
    first, middle, last = ids = sorted(new_id() for _ in range(3))
    for sid in ids:
        write(redis_client, sid)
    name_closing(redis_client, first, middle, last)
    save(confirm=False)
    redis_client.hset(
        redis_keys.account(OTHER),
        "scenario_closing_session_id",
        f"{last},{middle},{first}",
    )
    with ThreadPoolExecutor(2) as pool, psycopg.connect(database_url()) as other:
        other.execute(
            "SELECT FROM scenario_sessions WHERE session_id = %s FOR UPDATE", [middle]
        )
        saves = [pool.submit(in_threads, partial(save, id_)) for id_ in (HERO, OTHER)]
        wait_until_blocked(2)
        other.rollback()
        for done in saves:
            done.result()

    owners = ScenarioSession.objects.values_list("character_id", flat=True)
    assert list(owners) == [HERO] * 3


def test_closing_session_without_hash_is_simply_closed(
    redis_client: redis.Redis,
) -> None:
    known, unknown, foreign = new_id(), new_id(), new_id()
    factories.add_character(OTHER)
    for sid, char_id in ((known, HERO), (foreign, OTHER)):
        name_open(redis_client, sid, char_id)
        write(redis_client, sid)
        save(char_id)
        redis_client.delete(redis_keys.scenario(sid))
    name_closing(redis_client, known, unknown, foreign)

    assert save().counts == counts(closed=1, absent=2)

    assert row(known).closed_at is not None
    assert row(foreign).closed_at is None
    assert not ScenarioSession.objects.filter(pk=unknown).exists()


def test_open_session_without_hash_stays_open(redis_client: redis.Redis) -> None:
    sid = new_id()
    name_open(redis_client, sid)
    write(redis_client, sid)
    save()
    redis_client.delete(redis_keys.scenario(sid))

    assert save().counts == counts(absent=1)

    assert row(sid).closed_at is None
