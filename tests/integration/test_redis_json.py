"""Accounts that the game keeps as RedisJSON: the same rules, in the form of their key.

Skipped where no Redis with the JSON type can be had; see `tests.support.json_redis`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings
from pytest_django import Settings

from combat_history.models import Character, ParkedOperation, ScenarioSession
from combat_history.reading.accounts import restore_account
from combat_history.reading.lookup import State, find_result
from persistence.contract import redis_keys
from persistence.contract.errors import CombatInProgress
from persistence.dispatcher import SyncDispatcher
from persistence.engine.handoff import Receipt, checked
from persistence.savers.scenario_saver import ScenarioStateSaver
from persistence.savers.vitals_saver import VitalsStateSaver
from persistence.worker import accounts, inbox
from persistence.worker.transactions import open_cursor
from tests.support.documents import HERO, SAMPLE_END, hero_fight
from tests.support.factories import add_small_world
from tests.support.ids import new_session_id
from tests.support.json_redis import NoJson, has_json, running_json_redis
from tests.support.parallel import in_threads

pytestmark = pytest.mark.usefixtures("world")

ACCOUNT = redis_keys.account(HERO)
END_MS = SAMPLE_END * 1000


@pytest.fixture(scope="module")
def json_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if has_json(django_settings.REDIS_URL):
        yield django_settings.REDIS_URL
        return
    try:
        with running_json_redis(tmp_path_factory.mktemp("json")) as url:
            yield url
    except NoJson as reason:
        # No server that this project may bring along has the type (licence, size).
        pytest.skip(f"{reason}; `make test-json`, which CI runs, brings one")


@pytest.fixture
def redis_client(json_url: str, settings: Settings) -> Iterator[redis.Redis]:
    """In place of the suite's own."""
    settings.REDIS_URL = json_url
    _forget_clients()
    with redis.Redis.from_url(json_url) as client:
        client.flushdb()
        yield client
    _forget_clients()


@pytest.fixture
def world(transactional_db: None, redis_client: redis.Redis) -> None:
    add_small_world()


@pytest.fixture
def engine(redis_client: redis.Redis) -> Iterator[SyncDispatcher]:
    dispatcher = SyncDispatcher(django_settings.REDIS_URL, django_settings.BROKER_URL)
    yield dispatcher
    dispatcher.close()


def _forget_clients() -> None:
    inbox.client.cache_clear()
    inbox.script.cache_clear()


def game_account(**over: Any) -> dict[str, Any]:
    """As the game's own session service creates it."""
    return {
        "state": "exploration",
        "bio": {"name": "Aragorn", "created_at": "2025-01-20T10:30:00Z"},
        "location": {"current": "dark_forest", "prev": None},
        "stats": {
            "hp": {"cur": 85, "max": 100},
            "mp": {"cur": 50, "max": 50},
            "energy": {"cur": 60, "max": 100},
        },
        "sessions": {"combat_id": None, "inventory_id": None},
        "skills": {},
        **over,
    }


def store(client: redis.Redis, document: Any) -> None:
    client.json().set(ACCOUNT, "$", document)


def stored(client: redis.Redis) -> Any:
    return client.json().get(ACCOUNT)


def test_hand_off_writes_its_snapshot_and_nothing_else(
    redis_client: redis.Redis,
) -> None:
    before = game_account()
    store(redis_client, before)
    document = hero_fight()

    inbox.record(checked(document))

    before["stats"]["hp"]["cur"], before["stats"]["energy"]["cur"] = 450, 20
    before["vitals_at"] = END_MS
    before["sessions"]["last_combat_id"] = document["session_id"]
    before["sessions"]["last_combat_finished_at"] = SAMPLE_END
    assert stored(redis_client) == before


def test_hand_off_frees_the_account_of_its_fight(redis_client: redis.Redis) -> None:
    document = hero_fight()
    sessions = {"combat_id": document["session_id"], "arena_id": "a1"}
    store(redis_client, game_account(sessions=sessions))

    inbox.record(checked(document))

    after = stored(redis_client)
    assert after["sessions"]["combat_id"] is None
    assert after["sessions"]["arena_id"] == "a1"


def test_hand_off_leaves_an_account_in_another_fight_alone(
    redis_client: redis.Redis,
) -> None:
    before = game_account(sessions={"combat_id": str(new_session_id())})
    store(redis_client, before)

    inbox.record(checked(hero_fight()))

    assert stored(redis_client) == before


def test_older_fight_does_not_overwrite(redis_client: redis.Redis) -> None:
    store(redis_client, game_account())
    inbox.record(checked(hero_fight(hp=2, end_timestamp=SAMPLE_END + 1)))
    before = stored(redis_client)

    inbox.record(checked(hero_fight(hp=1)))

    assert stored(redis_client) == before


@pytest.mark.parametrize("bare", [{}, {"stats": None, "sessions": None}])
def test_objects_that_are_missing_are_made(
    redis_client: redis.Redis, bare: dict[str, Any]
) -> None:
    store(redis_client, bare)
    document = hero_fight()

    inbox.record(checked(document))

    assert stored(redis_client) == {
        "stats": {"hp": {"cur": 450}, "energy": {"cur": 20}},
        "vitals_at": END_MS,
        "sessions": {
            "last_combat_id": document["session_id"],
            "last_combat_finished_at": SAMPLE_END,
        },
    }


@pytest.mark.parametrize("odd", [[], [1], 5, "text", None, True])
def test_document_that_is_no_object_never_refuses_a_hand_off(
    redis_client: redis.Redis, odd: Any
) -> None:
    store(redis_client, odd)

    assert inbox.record(checked(hero_fight()))[0] is Receipt.ACCEPTED

    assert stored(redis_client) == odd
    assert find_result(new_session_id(), HERO).state is State.UNKNOWN
    assert restore_account(HERO) is False


def test_odd_values_inside_never_refuse_a_hand_off(redis_client: redis.Redis) -> None:
    odd = {"stats": "full", "sessions": ["x"], "vitals_at": {"a": 1}}
    store(redis_client, odd)

    assert inbox.record(checked(hero_fight()))[0] is Receipt.ACCEPTED

    assert stored(redis_client) == {**odd, "vitals_at": END_MS}


def test_start_enters_the_fight_and_closes_the_travel(
    redis_client: redis.Redis, engine: SyncDispatcher
) -> None:
    combat, travel = new_session_id(), str(new_session_id())
    store(redis_client, game_account(sessions={"scenario_id": travel}))

    started = engine.start_combat_sync(combat, [HERO])

    assert stored(redis_client)["sessions"] == {
        "combat_id": str(combat),
        "scenario_id": None,
        "scenario_closing_id": travel,
    }
    assert (started.actors[HERO].hp, started.actors[HERO].energy) == (85, 60)
    with pytest.raises(CombatInProgress):
        engine.start_combat_sync(new_session_id(), [HERO])


def test_switch_closes_one_mode_and_opens_the_other(
    redis_client: redis.Redis, engine: SyncDispatcher
) -> None:
    travel, bag = str(new_session_id()), new_session_id()
    store(redis_client, game_account(sessions={"scenario_id": travel}))

    switched = engine.switch_context_sync(char_id=HERO, to="inventory", session_id=bag)

    assert switched.closed == {"scenario": travel}
    assert stored(redis_client)["sessions"] == {
        "inventory_id": str(bag),
        "scenario_id": None,
        "scenario_closing_id": travel,
    }
    assert redis_client.zscore(redis_keys.INTENTS, f"scenario:{HERO}")


def test_switch_refuses_while_the_account_fights(
    redis_client: redis.Redis, engine: SyncDispatcher
) -> None:
    before = game_account(sessions={"combat_id": str(new_session_id())})
    store(redis_client, before)

    with pytest.raises(CombatInProgress):
        engine.switch_context_sync(char_id=HERO, to="inventory")

    assert stored(redis_client) == before


def test_two_switches_at_once_leave_one_winner(
    redis_client: redis.Redis, engine: SyncDispatcher
) -> None:
    store(redis_client, game_account())
    ids = [new_session_id() for _ in range(4)]

    in_threads(
        *[
            partial(
                engine.switch_context_sync, char_id=HERO, to="scenario", session_id=sid
            )
            for sid in ids
        ]
    )

    sessions = stored(redis_client)["sessions"]
    left = sessions["scenario_closing_id"].split(",")
    assert sorted([sessions["scenario_id"], *left]) == sorted(map(str, ids))


def test_last_fight_is_found(redis_client: redis.Redis) -> None:
    sid = new_session_id()
    store(redis_client, game_account(sessions={"last_combat_id": str(sid)}))

    assert find_result(sid, HERO).state is State.FINISHED
    assert find_result(new_session_id(), HERO).state is State.UNKNOWN


def save_vitals() -> dict[str, int]:
    with open_cursor() as cursor:
        return dict(VitalsStateSaver(cursor).save(HERO).counts)


def test_vitals_are_saved(redis_client: redis.Redis) -> None:
    store(redis_client, game_account(vitals_at=END_MS + 123))

    assert save_vitals() == {"saved": 1, "stale": 0}

    hero = Character.objects.get(pk=HERO)
    assert (hero.hp, hero.energy) == (85, 60)
    assert (hero.location, hero.state) == ("dark_forest", "exploration")
    assert hero.vitals_at is not None
    assert hero.vitals_at.microsecond == 123_000


@pytest.mark.parametrize("hp", [1.5, "many", -1, {"a": 1}, True, 1e30])
def test_vitals_that_are_no_points_are_parked(
    redis_client: redis.Redis, hp: Any
) -> None:
    store(redis_client, game_account(stats={"hp": {"cur": hp}}, vitals_at=END_MS))

    assert save_vitals() == {"parked": 1}

    assert ParkedOperation.objects.get().detail.startswith("hp")
    store(redis_client, game_account(vitals_at=END_MS))
    assert save_vitals() == {"saved": 1, "stale": 0}
    assert ParkedOperation.objects.get().resolution == "applied"


def test_travel_is_saved_and_its_closing_mark_cleared(
    redis_client: redis.Redis, engine: SyncDispatcher
) -> None:
    travel = str(new_session_id())
    store(redis_client, game_account(sessions={"scenario_id": travel}))
    redis_client.hset(redis_keys.scenario(travel), "version", 3)
    engine.switch_context_sync(char_id=HERO, to="idle")

    with open_cursor() as cursor:
        saved = ScenarioStateSaver(cursor).save(HERO)
    saved.confirm()
    accounts.closed(HERO, "scenario", accounts.closing(HERO, "scenario"))

    assert ScenarioSession.objects.get(pk=travel).closed_at is not None
    assert not redis_client.exists(redis_keys.scenario(travel))
    assert stored(redis_client)["sessions"]["scenario_closing_id"] is None
    assert accounts.closing(HERO, "scenario") == []


def test_travel_that_was_entered_again_is_not_removed(
    redis_client: redis.Redis,
) -> None:
    travel = str(new_session_id())
    redis_client.hset(redis_keys.scenario(travel), "version", 3)
    store(redis_client, {"sessions": {"scenario_closing_id": travel}})
    with open_cursor() as cursor:
        saved = ScenarioStateSaver(cursor).save(HERO)
    store(redis_client, {"sessions": {"scenario_id": travel}})

    saved.confirm()

    assert redis_client.exists(redis_keys.scenario(travel))


def test_session_closed_since_stays_named(redis_client: redis.Redis) -> None:
    store(redis_client, {"sessions": {"scenario_closing_id": "a,b"}})

    assert accounts.closed(HERO, "scenario", ["a"]) is False

    assert accounts.closing(HERO, "scenario") == ["b"]


def travel_in_postgresql() -> str:
    sid = str(new_session_id())
    ScenarioSession.objects.create(
        session_id=sid, character_id=HERO, version=4, progress={"node": "bridge"}
    )
    return sid


RESTORED = {"stats": {"hp": {"cur": 500}, "energy": {"cur": 100}}}


def test_missing_account_is_restored_as_json(redis_client: redis.Redis) -> None:
    sid = travel_in_postgresql()
    Character.objects.filter(pk=HERO).update(location='В "лесу"', state="travel")

    assert restore_account(HERO, as_json=True) is True

    assert stored(redis_client) == {
        **RESTORED,
        "location": {"current": 'В "лесу"'},
        "state": "travel",
        "sessions": {"scenario_id": sid},
    }
    assert redis_client.hget(redis_keys.scenario(sid), "node") == b"bridge"
    assert restore_account(HERO, as_json=True) is False


def test_live_account_is_restored_in_its_own_form_and_not_overwritten(
    redis_client: redis.Redis,
) -> None:
    travel_in_postgresql()
    before = game_account()
    store(redis_client, before)

    assert restore_account(HERO) is False

    assert stored(redis_client) == before


def test_hash_stays_a_hash(redis_client: redis.Redis) -> None:
    redis_client.hset(ACCOUNT, "hp", 5)

    restore_account(HERO, as_json=True)

    assert redis_client.type(ACCOUNT) == b"hash"
    assert redis_client.hget(ACCOUNT, "hp") == b"5"
