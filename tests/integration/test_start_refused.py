"""Starts that cannot be: of players who join late, or who do not exist."""

from __future__ import annotations

import asyncio
import json
from uuid import UUID

import pytest
import redis
from django.conf import settings

from combat_history.models import CombatHistory
from persistence.belts.tasks import assemble_belts
from persistence.contract import redis_keys
from persistence.contract.errors import (
    CharactersUnknown,
    CombatFinished,
    CombatInProgress,
    CombatRunning,
    FailureCode,
)
from persistence.dispatcher import SyncDispatcher
from persistence.tasks import settle_combat
from tests.conftest import Settle
from tests.support.belts import add_fighter, holders
from tests.support.documents import HERO, POTION, make_document, make_participant
from tests.support.engine import account, live
from tests.support.ids import new_session_id
from tests.support.worker import CeleryProcess

RIVAL = 102
STRANGER, NOBODY = 55_555, 55_556

pytestmark = pytest.mark.usefixtures("world")


def patient() -> SyncDispatcher:
    """Waits long enough for a busy machine's worker."""
    return SyncDispatcher(settings.REDIS_URL, settings.BROKER_URL, timeout=10)


def is_registered(client: redis.Redis, session_id: UUID) -> bool:
    return client.zscore(redis_keys.ACTIVE, str(session_id)) is not None


def test_a_start_again_lets_nobody_else_in(
    engine: SyncDispatcher, redis_client: redis.Redis, fight: UUID
) -> None:
    engine.start_combat_sync(fight, [HERO])
    before = live(redis_client, fight)

    with pytest.raises(CombatRunning) as refused:
        engine.start_combat_sync(fight, [HERO, RIVAL, 103])

    assert (refused.value.session_id, refused.value.char_ids) == (
        str(fight),
        [RIVAL, 103],
    )
    assert live(redis_client, fight) == before
    assert not account(redis_client, RIVAL)
    engine.start_combat_sync(new_session_id(), [RIVAL])


def test_who_fights_elsewhere_is_told_so(engine: SyncDispatcher, fight: UUID) -> None:
    engine.start_combat_sync(fight, [HERO])
    engine.start_combat_sync(new_session_id(), [RIVAL])

    with pytest.raises(CombatInProgress):
        engine.start_combat_sync(fight, [HERO, RIVAL])


def test_a_start_again_with_some_of_the_players_tells_how_they_stand(
    engine: SyncDispatcher, redis_client: redis.Redis, fight: UUID
) -> None:
    engine.start_combat_sync(fight, [HERO, RIVAL], {HERO: "blue"})
    before = live(redis_client, fight)

    again = engine.start_combat_sync(fight, [HERO], {HERO: "red"})

    assert [*again.actors] == [HERO]
    assert again.actors[HERO].team == "blue"
    changed = {**live(redis_client, fight), "begun": "1"}
    assert changed == {**before, "begun": "1"}


@pytest.mark.parametrize("field", ["participants", "actor:102"])
def test_whom_the_engine_let_in_itself_is_no_stranger(
    engine: SyncDispatcher, redis_client: redis.Redis, fight: UUID, field: str
) -> None:
    engine.start_combat_sync(fight, [HERO])
    value = json.dumps([HERO, RIVAL] if field == "participants" else {"hp": 5})
    redis_client.hset(redis_keys.session(fight), field, value)

    assert [*engine.start_combat_sync(fight, [HERO, RIVAL]).actors] == [HERO, RIVAL]


def test_characters_that_do_not_exist_are_refused_at_the_start(
    worker: CeleryProcess, redis_client: redis.Redis, fight: UUID
) -> None:
    add_fighter(RIVAL)
    engine = patient()

    with pytest.raises(CharactersUnknown) as refused:
        engine.start_combat_sync(fight, [HERO, STRANGER, RIVAL, NOBODY])

    assert refused.value.char_ids == [STRANGER, NOBODY]
    for char_id in (HERO, STRANGER, RIVAL, NOBODY):
        assert "combat_session_id" not in account(redis_client, char_id)
    assert not is_registered(redis_client, fight)
    assert not engine.heartbeat_sync(fight)
    assert 0 < redis_client.ttl(redis_keys.session(fight)) <= 10
    assert not holders()

    started = engine.start_combat_sync(fight, [HERO, RIVAL])

    assert started.belts_loaded
    assert [item.inventory_id for item in started.actors[HERO].belt_items] == [POTION]
    engine.close()


def test_the_asynchronous_start_refuses_them_too(
    worker: CeleryProcess, redis_client: redis.Redis, fight: UUID
) -> None:
    async def play() -> None:
        engine = patient()
        with pytest.raises(CharactersUnknown):
            await engine.start_combat(fight, [STRANGER])
        await engine.aclose()

    asyncio.run(play())

    assert not is_registered(redis_client, fight)


def test_a_combat_that_began_before_anyone_could_tell_goes_on_and_the_next_start_tells(
    engine: SyncDispatcher, redis_client: redis.Redis, fight: UUID
) -> None:
    started = engine.start_combat_sync(fight, [HERO, STRANGER])
    assert not started.belts_loaded

    assemble_belts(str(fight))

    assert engine.heartbeat_sync(fight)
    assert list(holders()) == [POTION]
    with pytest.raises(CharactersUnknown) as refused:
        engine.start_combat_sync(fight, [HERO, STRANGER])
    assert refused.value.char_ids == [STRANGER]
    parts = {str(HERO): make_participant(), str(STRANGER): make_participant()}
    settle_combat(make_document(parts, session_id=fight))
    row = CombatHistory.objects.get(pk=fight)
    assert row.failure_code == FailureCode.UNKNOWN_CHARACTER


def test_a_settled_combat_that_redis_has_forgotten_is_not_begun_again(
    settle: Settle, redis_client: redis.Redis, fight: UUID
) -> None:
    settle(make_document(session_id=fight))
    redis_client.flushdb()
    engine = patient()

    with pytest.raises(CombatFinished):
        engine.start_combat_sync(fight, [HERO])

    assert not is_registered(redis_client, fight)
    assert "combat_session_id" not in account(redis_client, HERO)
    engine.close()
