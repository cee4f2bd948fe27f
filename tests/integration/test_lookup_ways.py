"""Every way through a look-up, each by the shortest: what is said, counted, remembered.

`find` is `find_result` and its asynchronous twin.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
import redis
from asgiref.sync import async_to_sync
from django.db import ProgrammingError, connection
from django.db.models import Sum
from pytest_django import Settings

from combat_history.models import CombatHistory, MinuteCount
from combat_history.reading import redis_clients
from combat_history.reading.lookup import (
    ACTIVE,
    CANNOT_SAY,
    UNKNOWN,
    Credit,
    Lookup,
    afind_result,
)
from persistence.contract import redis_keys
from persistence.contract.ids import short_id
from persistence.tasks import settle_inbox
from persistence.worker import counts
from tests.support.api import NOBODY_LISTENS
from tests.support.documents import HERO, sample_document
from tests.support.ids import new_session_id
from tests.support.lookups import (
    Find,
    finished,
    hand_off,
    id_of,
    start,
    unknown_loot,
)
from tests.support.redis_server import running_redis
from tests.support.waiting import is_about

STRANGER = 102
NOTHING_MORE = finished(Credit.PENDING, None)

pytestmark = pytest.mark.usefixtures("world")


@pytest.fixture
def settled() -> UUID:
    document = sample_document()
    hand_off(document)
    settle_inbox()
    return id_of(document)


@contextmanager
def postgresql_away() -> Iterator[None]:
    known = connection.settings_dict["HOST"]
    connection.close()
    connection.settings_dict["HOST"] = "/nonexistent"
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["HOST"] = known


@pytest.fixture
def _away(world: None) -> Iterator[None]:
    """Whoever asks PostgreSQL cannot say."""
    with postgresql_away():
        yield


def counted() -> dict[str, int]:
    assert counts.flush()
    found = MinuteCount.objects.filter(name__startswith="lookup.")
    sums = found.values_list("name").annotate(total=Sum("count"))
    told = {name.removeprefix("lookup."): total for name, total in sums}
    MinuteCount.objects.all().delete()
    return told


def fight(client: redis.Redis, **fields: str) -> UUID:
    """A running one, of which the engine has written this and no more."""
    session_id = new_session_id()
    for name, value in {"status": "active", **fields}.items():
        client.hset(redis_keys.session(session_id), name, value)
    return session_id


@pytest.mark.usefixtures("_away")
@pytest.mark.parametrize("again", [False, True], ids=["known script", "forgotten one"])
def test_a_running_fight_is_told_to_whom_it_names(
    find: Find, redis_client: redis.Redis, again: bool
) -> None:
    by_id = fight(redis_client, participants=f"[{HERO}]")
    by_actor = fight(redis_client, **{redis_keys.actor_field(HERO): "{}"})
    last = fight(redis_client)
    account = redis_keys.account(HERO)
    redis_client.hset(account, "last_combat_session_id", str(last))

    for session_id in (by_id, by_actor, last):
        if again:
            redis_client.script_flush()
        assert find(session_id, HERO) == ACTIVE
        assert find(session_id, STRANGER) == UNKNOWN
        assert find(short_id(session_id), HERO) == ACTIVE
    assert find("no id", HERO) == UNKNOWN


@pytest.mark.usefixtures("_away")
@pytest.mark.parametrize("listed", ["5", "{", '"101"', '{"101": 1}', ""])
def test_participants_that_are_no_list_name_nobody(
    find: Find, redis_client: redis.Redis, listed: str
) -> None:
    assert find(fight(redis_client, participants=listed), HERO) == UNKNOWN


@pytest.mark.usefixtures("_away")
def test_what_is_handed_off_is_being_credited(
    find: Find, redis_client: redis.Redis
) -> None:
    document = sample_document()
    start(redis_client, document)
    hand_off(document)

    assert find(id_of(document), HERO) == finished(Credit.PENDING)
    assert find(id_of(document), STRANGER) == UNKNOWN


@pytest.mark.usefixtures("_away")
@pytest.mark.parametrize("raw", [None, "{"])
def test_of_a_fight_that_is_over_the_readable_is_told(
    find: Find, redis_client: redis.Redis, raw: str | None
) -> None:
    over = fight(redis_client, status="finished", participants=f"[{HERO}]")
    if raw is not None:
        redis_client.hset(redis_keys.result(over), "raw", raw)
        redis_client.hset(redis_keys.result(over), "sha256", "ab")
        assert find(over, HERO) == NOTHING_MORE
        assert find(over, STRANGER) == CANNOT_SAY, "it may be theirs"


def test_of_a_fight_that_is_over_and_not_handed_off_its_players_are_told_so(
    find: Find, redis_client: redis.Redis
) -> None:
    over = fight(redis_client, status="finished", participants=f"[{HERO}]")
    last, net = new_session_id(), sample_document()
    account = redis_keys.account(HERO)
    redis_client.hset(account, "last_combat_session_id", str(last))

    assert find(over, HERO) == NOTHING_MORE
    assert find(over, STRANGER) == UNKNOWN
    assert find(last, HERO) == NOTHING_MORE
    assert find(last, STRANGER) == UNKNOWN

    key = start(redis_client, net, result=str(net).replace("'", '"'))
    redis_client.hset(key, "status", "finished")
    assert find(id_of(net), STRANGER) == UNKNOWN


def test_a_fight_that_runs_is_not_theirs_whom_an_account_names_alone(
    find: Find, redis_client: redis.Redis
) -> None:
    """Accepted, forgotten by PostgreSQL, and the session is not marked as over."""
    session_id = fight(redis_client, participants=f"[{HERO}]")
    redis_client.hset(redis_keys.result(session_id), "sha256", "ab")

    assert find(session_id, HERO) == CANNOT_SAY


def test_a_settled_fight_is_told_and_remembered(
    find: Find, settled: UUID, redis_client: redis.Redis
) -> None:
    key = redis_keys.tombstone(settled)
    told = redis_client.get(key)

    with postgresql_away():
        assert find(settled, HERO) == finished(Credit.CREDITED)
        assert find(settled, STRANGER) == UNKNOWN
    redis_client.flushdb()
    assert find(settled, STRANGER) == UNKNOWN
    assert redis_client.get(key) == told
    assert is_about(redis_client.ttl(key), redis_keys.DAY_SECONDS)
    redis_client.flushdb()
    assert find(settled, HERO) == finished(Credit.CREDITED)
    assert redis_client.get(key) == told


def test_what_cannot_be_read_is_asked_beyond_and_overwritten(
    find: Find, settled: UUID, redis_client: redis.Redis
) -> None:
    key = redis_keys.tombstone(settled)
    told = redis_client.get(key)
    redis_client.set(key, "{")

    assert find(settled, HERO) == finished(Credit.CREDITED)
    assert redis_client.get(key) == told

    running = fight(redis_client, **{redis_keys.actor_field(HERO): "{}"})
    redis_client.set(redis_keys.tombstone(running), "{")
    assert find(running, HERO) == ACTIVE
    assert find(running, STRANGER) == UNKNOWN


def test_a_fight_that_is_not_settled_leaves_no_tombstone_and_takes_a_foreign_one(
    find: Find, redis_client: redis.Redis
) -> None:
    document = unknown_loot()
    hand_off(document)
    settle_inbox()
    key = redis_keys.tombstone(id_of(document))

    assert find(id_of(document), HERO).credit is Credit.UNDER_REVIEW
    assert find(id_of(document), STRANGER) == UNKNOWN
    assert not redis_client.exists(key)
    redis_client.set(key, "{")
    assert find(id_of(document), HERO).credit is Credit.UNDER_REVIEW
    assert not redis_client.exists(key)


def test_an_undone_fight_is_told_so(
    find: Find, settled: UUID, redis_client: redis.Redis
) -> None:
    # As an undo leaves the row; see test_undo for how it comes there.
    redis_client.flushdb()
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE combat_history SET compensated_at = now() WHERE session_id = %s",
            [settled],
        )

    assert find(settled, HERO) == finished(Credit.REVERSED)


def test_the_unknown_is_asked_of_postgresql_once_and_yields_to_what_is_known(
    find: Find, redis_client: redis.Redis
) -> None:
    document = sample_document()
    key = redis_keys.unknown(id_of(document))

    assert find(id_of(document), HERO) == UNKNOWN
    assert 0 < redis_client.ttl(key) <= redis_keys.UNKNOWN_TTL_SECONDS
    redis_client.expire(key, 60)
    with postgresql_away():
        assert find(id_of(document), HERO) == UNKNOWN
    hand_off(document)
    assert find(id_of(document), HERO) == finished(Credit.PENDING)
    CombatHistory.objects.all().delete()
    assert redis_client.ttl(key) > redis_keys.UNKNOWN_TTL_SECONDS


def test_where_one_is_away_the_other_is_believed_as_far_as_it_knows(
    find: Find, settled: UUID, settings: Settings
) -> None:
    settings.REDIS_URL = NOBODY_LISTENS

    assert find(settled, HERO) == finished(Credit.CREDITED)
    assert find(settled, STRANGER) == UNKNOWN
    assert find(new_session_id(), HERO) == CANNOT_SAY
    with postgresql_away():
        assert find(settled, HERO) == CANNOT_SAY


@pytest.mark.usefixtures("_away")
def test_what_redis_does_not_know_nobody_can_say_while_postgresql_is_away(
    find: Find, redis_client: redis.Redis
) -> None:
    assert find(new_session_id(), HERO) == CANNOT_SAY
    assert redis_client.dbsize() == 0


def test_an_error_that_does_not_pass_is_raised(find: Find) -> None:
    rename = "ALTER TABLE {} RENAME TO {}"
    with connection.cursor() as cursor:
        cursor.execute(rename.format("combat_history", "combat_histories"))
    try:
        with pytest.raises(ProgrammingError):
            find(new_session_id(), HERO)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(rename.format("combat_histories", "combat_history"))


def test_a_replica_may_not_have_heard_and_a_full_redis_has(
    find: Find, settings: Settings, tmp_path: Path
) -> None:
    with running_redis(tmp_path, appendonly="no") as url:
        settings.REDIS_URL = url
        with redis.Redis.from_url(url) as client:
            client.config_set("maxmemory", 1)
            assert find(new_session_id(), HERO) == UNKNOWN
            client.config_set("maxmemory", 0)
            client.replicaof("127.0.0.1", 1)
            assert find(new_session_id(), HERO) == CANNOT_SAY


def test_each_answer_is_counted_by_its_source(
    find: Find, settled: UUID, redis_client: redis.Redis
) -> None:
    counted()
    running = fight(redis_client, participants=f"[{HERO}]")
    unknown = new_session_id()

    find(settled, HERO)
    find(running, HERO)
    assert counted() == {"tombstone": 1, "redis": 1}
    find(running, STRANGER)
    find(unknown, HERO)
    assert counted() == {"unknown": 2}
    redis_client.flushdb()
    find(settled, HERO)
    with postgresql_away():
        find(unknown, HERO)
    assert counted() == {"postgresql": 1, "cannot_say": 1}


class Refused(Exception):
    pass


def ask(session_id: UUID, told: list[bool], *, refuse: bool = False) -> Lookup:
    async def before(redis_answered: bool) -> None:
        told.append(redis_answered)
        if refuse:
            raise Refused

    async def find() -> Lookup:
        try:
            return await afind_result(session_id, HERO, before_database=before)
        finally:
            await redis_clients.aclose()

    return async_to_sync(find)()


def test_who_asks_may_refuse_before_postgresql_is_asked(
    settled: UUID, redis_client: redis.Redis, settings: Settings
) -> None:
    told: list[bool] = []

    assert ask(settled, told) == finished(Credit.CREDITED)
    assert told == [], "Redis knew"
    redis_client.flushdb()
    assert ask(settled, told) == finished(Credit.CREDITED)
    with pytest.raises(Refused):
        ask(new_session_id(), told, refuse=True)
    settings.REDIS_URL = NOBODY_LISTENS
    assert ask(settled, told) == finished(Credit.CREDITED)
    assert told == [True, True, False]
