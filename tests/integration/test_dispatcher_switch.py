"""The Separator, as far as Redis: what is open, what is closing, what was noted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from persistence.contract.errors import (
    CombatInProgress,
)
from persistence.dispatcher import SyncDispatcher
from persistence.protocols import GameMode
from tests.support.documents import HERO
from tests.support.engine import account, intents, messages
from tests.support.ids import new_session_id
from tests.support.waiting import wait_until

RIVAL = 102
TRAVEL = "018f0000-0000-7000-8000-000000000001"

pytestmark = pytest.mark.usefixtures("redis_client")


def test_opening_a_mode_closes_the_one_that_was_open(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    redis_client.hset("ac:101", "scenario_session_id", TRAVEL)

    switch = engine.switch_context_sync(char_id=HERO, to=GameMode.INVENTORY)

    assert switch.changed
    assert switch.closed == {GameMode.SCENARIO: TRAVEL}
    assert account(redis_client, HERO) == {
        "scenario_closing_session_id": TRAVEL,
        "inventory_session_id": str(switch.session_id),
    }
    assert intents(redis_client) == {"scenario:101"}
    wait_until(lambda: messages(redis_client), "the ring is sent")
    assert messages(redis_client) == [("task_sync_state", ["scenario", 101])]


def test_a_mode_that_is_open_goes_on(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    first = engine.switch_context_sync(char_id=HERO, to=GameMode.INVENTORY)

    again = engine.switch_context_sync(char_id=HERO, to=GameMode.INVENTORY)

    assert (again.session_id, again.changed) == (first.session_id, False)
    assert not intents(redis_client)


def test_another_session_of_the_same_mode_closes_the_first(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    redis_client.hset("ac:101", "scenario_session_id", TRAVEL)
    quest = new_session_id()

    switch = engine.switch_context_sync(
        char_id=HERO, to=GameMode.SCENARIO, session_id=quest
    )

    assert (switch.session_id, switch.closed) == (quest, {GameMode.SCENARIO: TRAVEL})
    assert account(redis_client, HERO) == {
        "scenario_session_id": str(quest),
        "scenario_closing_session_id": TRAVEL,
    }


def test_sessions_closed_one_after_the_other_are_all_named(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    travels = [new_session_id() for _ in range(3)]
    for travel in travels:
        engine.switch_context_sync(
            char_id=HERO, to=GameMode.SCENARIO, session_id=travel
        )

    left = engine.switch_context_sync(char_id=HERO, to=GameMode.IDLE)

    assert left.session_id is None
    assert account(redis_client, HERO) == {
        "scenario_closing_session_id": ",".join(map(str, travels))
    }


def test_a_running_combat_cannot_be_switched_away_from(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    session_id = new_session_id()
    engine.start_combat_sync(session_id, [HERO])
    before = account(redis_client, HERO)

    for mode in (GameMode.INVENTORY, GameMode.SCENARIO, GameMode.IDLE):
        with pytest.raises(CombatInProgress, match=str(session_id)):
            engine.switch_context_sync(char_id=HERO, to=mode)

    assert account(redis_client, HERO) == before
    with pytest.raises(ValueError, match="start_combat"):
        engine.switch_context_sync(char_id=HERO, to=GameMode.COMBAT)


def test_a_combat_closes_what_its_players_had_open(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    redis_client.hset("ac:101", "scenario_session_id", TRAVEL)
    session_id = new_session_id()

    engine.start_combat_sync(session_id, [HERO])

    assert account(redis_client, HERO) == {
        "combat_session_id": str(session_id),
        "scenario_closing_session_id": TRAVEL,
    }
    assert intents(redis_client) == {f"belts:{session_id}", "scenario:101"}


def test_two_switches_at_once_leave_one_winner(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    modes = [GameMode.INVENTORY, GameMode.SCENARIO] * 10
    redis_client.hset("ac:101", "scenario_session_id", TRAVEL)

    with ThreadPoolExecutor(8) as pool:
        switches = list(
            pool.map(
                lambda mode: engine.switch_context_sync(char_id=HERO, to=mode), modes
            )
        )

    left = account(redis_client, HERO)
    opened = [
        left[f] for f in left if f in ("inventory_session_id", "scenario_session_id")
    ]
    assert len(opened) == 1
    # Every session that was opened is open or named as closing, each once.
    closing = [
        sid
        for mode in ("inventory", "scenario")
        for sid in left.get(f"{mode}_closing_session_id", "").split(",")
        if sid
    ]
    everything = {str(s.session_id) for s in switches} | {TRAVEL}
    assert sorted([*opened, *closing]) == sorted(everything)
