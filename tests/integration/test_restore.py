"""An account that Redis lost comes back from PostgreSQL, and overwrites nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest
import redis
from asgiref.sync import async_to_sync

from combat_history.models import Character, CombatParticipant, ScenarioSession
from combat_history.reading import redis_clients
from combat_history.reading.accounts import arestore_account, restore_account
from persistence.contract import redis_keys
from persistence.engine.handoff import checked
from persistence.savers.scenario_saver import ScenarioStateSaver
from persistence.savers.vitals_saver import VitalsStateSaver
from persistence.worker import inbox
from persistence.worker.transactions import open_cursor
from tests.conftest import Settle
from tests.support.documents import HERO, SAMPLE_END, hero_fight
from tests.support.ids import new_session_id

pytestmark = pytest.mark.usefixtures("world")

ACCOUNT = redis_keys.account(HERO)
END_MS = SAMPLE_END * 1000
ROUNDS = 25

Restore = Callable[..., bool]


def restore_in_a_loop(char_id: int) -> bool:
    async def restored() -> bool:
        try:
            return await arestore_account(char_id)
        finally:
            await redis_clients.aclose()

    return async_to_sync(restored)()


@pytest.fixture(params=[restore_account, restore_in_a_loop], ids=["sync", "async"])
def restore(request: pytest.FixtureRequest) -> Restore:
    found: Restore = request.param
    return found


def account(client: redis.Redis) -> dict[str, str]:
    fields = cast("dict[bytes, bytes]", client.hgetall(ACCOUNT))
    return {name.decode(): value.decode() for name, value in fields.items()}


def know(**vitals: Any) -> None:
    """What PostgreSQL holds of the hero."""
    known = {"hp": 70, "energy": 30, "location": "Лес", "state": "travel", **vitals}
    known.setdefault("vitals_at", moment(SAMPLE_END))
    Character.objects.filter(pk=HERO).update(**known)


def travel(version: int = 4, **over: Any) -> str:
    saved = ScenarioSession.objects.create(
        **{
            "session_id": new_session_id(),
            "character_id": HERO,
            "version": version,
            "progress": {"node": "bridge", "bag": '{"wood": 2}'},
            **over,
        }
    )
    return str(saved.session_id)


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def progress(client: redis.Redis, session_id: str) -> dict[bytes, bytes]:
    found = client.hgetall(redis_keys.scenario(session_id))
    return cast("dict[bytes, bytes]", found)


VITALS = {
    "hp": "70",
    "energy": "30",
    "location": "Лес",
    "state": "travel",
    "vitals_at": str(END_MS),
}


def test_missing_account_comes_back_whole(
    settle_here: Settle, redis_client: redis.Redis, restore: Restore
) -> None:
    settle_here(
        hero_fight(hp=1), last := hero_fight(hp=2, end_timestamp=SAMPLE_END + 9)
    )
    know()
    sid = travel()
    redis_client.flushdb()

    assert restore(HERO) is True

    assert account(redis_client) == {
        **VITALS,
        "last_combat_session_id": last["session_id"],
        "last_combat_finished_at": str(SAMPLE_END + 9),
        "scenario_session_id": sid,
    }
    assert progress(redis_client, sid) == {
        b"version": b"4",
        b"node": b"bridge",
        b"bag": b'{"wood": 2}',
    }
    assert redis_client.ttl(ACCOUNT) == -1


def test_second_restore_finds_nothing_missing(
    redis_client: redis.Redis, restore: Restore
) -> None:
    know()
    travel()
    restore(HERO)
    before = account(redis_client)

    assert restore(HERO) is False

    assert account(redis_client) == before


def test_fight_that_was_refused_is_not_the_last_one(
    settle_here: Settle, redis_client: redis.Redis
) -> None:
    """The clock of its engine was a day ahead: it would hide each real one."""
    refused = hero_fight(hp=1, end_timestamp=int(time.time()) + redis_keys.DAY_SECONDS)
    settle_here(last := hero_fight(hp=2), refused)
    redis_client.flushdb()

    restore_account(HERO)

    found = account(redis_client)
    assert found["last_combat_session_id"] == last["session_id"]
    assert found["last_combat_finished_at"] == str(SAMPLE_END)


def test_newcomer_has_no_fight_no_travel_and_no_moment(
    redis_client: redis.Redis, restore: Restore
) -> None:
    restore(HERO)

    assert account(redis_client) == {
        "hp": "500",
        "energy": "100",
        "location": "",
        "state": "",
    }


def test_unknown_character_is_an_error(
    redis_client: redis.Redis, restore: Restore
) -> None:
    with pytest.raises(Character.DoesNotExist):
        restore(909)

    assert redis_client.keys("*") == []


def test_live_account_is_never_overwritten(redis_client: redis.Redis) -> None:
    know()
    travel()
    CombatParticipant.objects.create(
        character_id=HERO, finished_at=moment(SAMPLE_END), session_id=new_session_id()
    )
    live: dict[Any, Any] = {
        "hp": "1",
        "energy": "2",
        "vitals_at": "3",
        "location": "inn",
        "state": "rest",
        "last_combat_session_id": str(new_session_id()),
        "last_combat_finished_at": "4",
    }
    redis_client.hset(ACCOUNT, mapping=live)

    assert restore_account(HERO) is False

    assert account(redis_client) == live


@pytest.mark.parametrize("field", ["hp", "energy", "vitals_at"])
def test_vitals_are_never_mixed(redis_client: redis.Redis, field: str) -> None:
    know()
    redis_client.hset(ACCOUNT, mapping={field: "5", "state": "rest"})

    restore_account(HERO)

    found = account(redis_client)
    held = {name: found.get(name) for name in ("hp", "energy", "vitals_at")}
    assert held == {"hp": None, "energy": None, "vitals_at": None, field: "5"}


def test_account_that_a_hand_off_made_is_completed(redis_client: redis.Redis) -> None:
    know(hp=500, vitals_at=moment(SAMPLE_END - 60))
    sid = travel()
    document = hero_fight(hp=450)
    inbox.record(checked(document))

    assert restore_account(HERO) is True

    assert account(redis_client) == {
        **VITALS,
        "hp": "450",
        "energy": "20",
        "last_combat_session_id": document["session_id"],
        "last_combat_finished_at": str(SAMPLE_END),
        "scenario_session_id": sid,
    }


@pytest.mark.parametrize("per_second", [1, 1000, 10**6, 10**9])
def test_the_end_of_a_last_fight_is_compared_in_any_unit(
    settle_here: Settle, redis_client: redis.Redis, per_second: int
) -> None:
    settle_here(last := hero_fight(hp=70, end_timestamp=SAMPLE_END))
    redis_client.flushdb()
    older: dict[str, Any] = {
        "last_combat_session_id": str(new_session_id()),
        "last_combat_finished_at": (SAMPLE_END - 60) * per_second,
    }
    redis_client.hset(ACCOUNT, mapping=cast("dict[Any, Any]", older))

    restore_account(HERO)

    assert account(redis_client)["last_combat_session_id"] == last["session_id"]


def test_a_moment_of_1970_that_was_stored_once_is_not_restored(
    redis_client: redis.Redis,
) -> None:
    know(vitals_at=moment(1_763_700))

    restore_account(HERO)

    assert "vitals_at" not in account(redis_client)


def test_hand_off_of_an_old_fight_does_not_hide_what_came_after_it(
    settle_here: Settle, redis_client: redis.Redis
) -> None:
    settle_here(last := hero_fight(hp=70, end_timestamp=SAMPLE_END))
    know(energy=20)
    redis_client.flushdb()
    inbox.record(checked(hero_fight(hp=450, end_timestamp=SAMPLE_END - 60)))

    restore_account(HERO)

    found = account(redis_client)
    assert found["last_combat_session_id"] == last["session_id"]
    assert found["last_combat_finished_at"] == str(SAMPLE_END)
    assert (found["hp"], found["vitals_at"]) == ("70", str(END_MS))


def test_combat_that_is_going_on_is_kept_and_nothing_opened_beside_it(
    redis_client: redis.Redis,
) -> None:
    know()
    travel()
    combat = str(new_session_id())
    redis_client.hset(ACCOUNT, "combat_session_id", combat)

    restore_account(HERO)

    assert account(redis_client) == {**VITALS, "combat_session_id": combat}


@pytest.mark.parametrize("mode", ["scenario", "inventory"])
def test_session_that_a_switch_opened_is_kept(
    redis_client: redis.Redis, mode: str
) -> None:
    know()
    old = travel()
    sid = str(new_session_id())
    redis_client.hset(ACCOUNT, f"{mode}_session_id", sid)

    restore_account(HERO)

    assert account(redis_client) == {**VITALS, f"{mode}_session_id": sid}
    assert not progress(redis_client, old)


def test_session_that_is_being_closed_is_not_opened_again(
    redis_client: redis.Redis,
) -> None:
    know()
    sid = travel()
    closing = f"{new_session_id()},{sid}"
    redis_client.hset(ACCOUNT, "scenario_closing_session_id", closing)

    restore_account(HERO)

    assert account(redis_client) == {**VITALS, "scenario_closing_session_id": closing}
    assert not progress(redis_client, sid)


def test_player_who_travels_no_more_is_not_sent_back(redis_client: redis.Redis) -> None:
    """A live account without a session has none, whatever is not saved yet."""
    know()
    travel()
    redis_client.hset(ACCOUNT, "state", "idle")

    restore_account(HERO)

    assert "scenario_session_id" not in account(redis_client)


def test_closed_travel_stays_closed_and_the_newest_open_one_goes_on(
    redis_client: redis.Redis,
) -> None:
    know()
    travel(saved_at=moment(SAMPLE_END))
    newest = travel(saved_at=moment(SAMPLE_END + 1))
    travel(saved_at=moment(SAMPLE_END + 2), closed_at=moment(SAMPLE_END + 2))
    travel(saved_at=moment(SAMPLE_END + 3), character_id=HERO + 1)

    restore_account(HERO)

    assert account(redis_client)["scenario_session_id"] == newest


def test_lost_progress_of_a_live_session_comes_back(redis_client: redis.Redis) -> None:
    know()
    sid = travel()
    restore_account(HERO)
    redis_client.delete(redis_keys.scenario(sid))

    assert restore_account(HERO) is True

    assert progress(redis_client, sid)[b"version"] == b"4"


def test_foreign_key_type_is_left_alone(redis_client: redis.Redis) -> None:
    know()
    travel()
    redis_client.set(ACCOUNT, "foreign")

    assert restore_account(HERO) is False

    assert redis_client.get(ACCOUNT) == b"foreign"


def test_restored_session_is_saved_again_as_it_was(redis_client: redis.Redis) -> None:
    know()
    sid = travel()
    before = ScenarioSession.objects.values().get(pk=sid)
    restore_account(HERO)

    with open_cursor() as cursor:
        ScenarioStateSaver(cursor).save(HERO).confirm()
    with open_cursor() as cursor:
        VitalsStateSaver(cursor).save(HERO)

    assert ScenarioSession.objects.values().get(pk=sid) == before
    hero = Character.objects.get(pk=HERO)
    assert (hero.hp, hero.location, hero.vitals_at) == (70, "Лес", moment(SAMPLE_END))


def test_very_long_progress_fits(redis_client: redis.Redis) -> None:
    long = {f"step {number}": "x" for number in range(9000)}
    sid = travel(progress=long)

    restore_account(HERO)

    assert len(progress(redis_client, sid)) == len(long) + 1


def test_progress_that_redis_still_has_is_left_alone(redis_client: redis.Redis) -> None:
    know()
    sid = travel()
    redis_client.hset(redis_keys.scenario(sid), mapping={"version": 9})

    restore_account(HERO)

    assert progress(redis_client, sid) == {b"version": b"9"}
    assert account(redis_client)["scenario_session_id"] == sid


def test_fight_of_another_player_is_not_mine(redis_client: redis.Redis) -> None:
    CombatParticipant.objects.create(
        character_id=102, finished_at=moment(SAMPLE_END), session_id=new_session_id()
    )

    restore_account(HERO)

    assert "last_combat_session_id" not in account(redis_client)
