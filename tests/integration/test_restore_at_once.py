"""A login while the player's fight ends, or while the player does something else."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import cast
from uuid import UUID

import pytest
import redis
from django.conf import settings

from combat_history.models import Character, ScenarioSession
from combat_history.reading.accounts import restore_account
from persistence.contract import redis_keys
from persistence.dispatcher import SyncDispatcher
from persistence.engine.handoff import checked
from persistence.engine.remembered import Limits
from persistence.worker import inbox
from tests.support.documents import HERO, SAMPLE_END, make_document, make_participant
from tests.support.ids import new_session_id
from tests.support.parallel import in_threads

pytestmark = pytest.mark.usefixtures("world")

ROUNDS = 25

KNOWN = {
    "hp": "70",
    "energy": "30",
    "location": "Лес",
    "state": "travel",
    "vitals_at": str(SAMPLE_END * 1000),
}


@pytest.fixture
def road(world: None) -> UUID:
    """The travel that PostgreSQL knows of, beside the vitals."""
    vitals_at = datetime.fromtimestamp(SAMPLE_END, UTC)
    Character.objects.filter(pk=HERO).update(**{**KNOWN, "vitals_at": vitals_at})
    saved = ScenarioSession.objects.create(
        session_id=new_session_id(), character_id=HERO, version=4, progress={"at": "b"}
    )
    return saved.session_id


def account(client: redis.Redis) -> dict[str, str]:
    fields = cast("dict[bytes, bytes]", client.hgetall(redis_keys.account(HERO)))
    return {name.decode(): value.decode() for name, value in fields.items()}


def with_a_login(call: Callable[[], object]) -> None:
    """Both at once, and neither always first."""
    calls: list[Callable[[], object]] = [call, partial(restore_account, HERO)]
    in_threads(*random.sample(calls, 2))


def test_restore_beside_a_hand_off_loses_neither(
    redis_client: redis.Redis, road: UUID
) -> None:
    for number in range(1, ROUNDS):
        redis_client.flushdb()
        part = make_participant(state_snapshot={"hp": number, "energy": 9})
        document = make_document({str(HERO): part}, end_timestamp=SAMPLE_END + number)

        with_a_login(partial(inbox.record, checked(document)))

        assert account(redis_client) == {
            **KNOWN,
            "hp": str(number),
            "energy": "9",
            "vitals_at": str((SAMPLE_END + number) * 1000),
            "last_combat_session_id": document["session_id"],
            "last_combat_finished_at": str(SAMPLE_END + number),
            "scenario_session_id": str(road),
        }


def forgetful_engine() -> SyncDispatcher:
    """Each round empties Redis: it is not to hand over again what was there."""
    return SyncDispatcher(
        settings.REDIS_URL,
        settings.BROKER_URL,
        timeout=1,
        remembered=Limits(seconds=0),
    )


@pytest.mark.parametrize("mode", ["scenario", "inventory"])
def test_restore_beside_a_switch_loses_neither(
    redis_client: redis.Redis, road: UUID, mode: str
) -> None:
    dispatcher = forgetful_engine()
    for _ in range(ROUNDS):
        redis_client.flushdb()
        sid = new_session_id()

        with_a_login(
            partial(
                dispatcher.switch_context_sync, char_id=HERO, to=mode, session_id=sid
            )
        )

        found = account(redis_client)
        was_restored_first = "scenario_closing_session_id" in found
        assert found == {
            **KNOWN,
            f"{mode}_session_id": str(sid),
            **(
                {"scenario_closing_session_id": str(road)} if was_restored_first else {}
            ),
        }
        # What the switch has closed is to be saved; what it never met is not opened.
        is_asked_for = redis_client.zscore(redis_keys.INTENTS, f"scenario:{HERO}")
        assert was_restored_first == (is_asked_for is not None)
        assert was_restored_first == bool(
            redis_client.exists(redis_keys.scenario(road))
        )
    dispatcher.close()


def test_restore_beside_a_start_leaves_the_player_in_the_fight(
    redis_client: redis.Redis, road: UUID
) -> None:
    dispatcher = forgetful_engine()
    for _ in range(ROUNDS):
        redis_client.flushdb()
        sid = new_session_id()

        with_a_login(partial(dispatcher.start_combat_sync, sid, [HERO]))

        found = account(redis_client)
        assert found["combat_session_id"] == str(sid)
        assert "scenario_session_id" not in found
        assert {name: found[name] for name in KNOWN} == KNOWN
    dispatcher.close()


def test_many_restores_at_once_make_one_account(
    redis_client: redis.Redis, road: UUID
) -> None:
    in_threads(*[partial(restore_account, HERO)] * 4)

    assert account(redis_client) == {**KNOWN, "scenario_session_id": str(road)}
