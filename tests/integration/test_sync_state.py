"""`task_sync_state`: what was asked for is saved once, whatever gets lost."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import UUID

import pytest
import redis

from combat_history.models import (
    Character,
    CombatHistory,
    ParkedOperation,
    RejectedPayload,
)
from persistence.contract import redis_keys
from persistence.dispatcher import SyncDispatcher
from persistence.protocols import SyncScope
from persistence.tasks import sweep, task_sync_state
from tests.support.documents import HERO, make_document
from tests.support.engine import let_time_pass, messages
from tests.support.ids import new_session_id
from tests.support.parallel import character_locked, in_threads, wait_until_blocked
from tests.support.waiting import wait_until
from tests.support.worker import CeleryProcess

pytestmark = pytest.mark.usefixtures("world")

NOW_MS = 1_763_700_000_000


def set_vitals(client: redis.Redis, **fields: str | int) -> None:
    vitals: dict[str, str | int] = {
        "hp": 42,
        "energy": 7,
        "location": "forest",
        "vitals_at": NOW_MS,
    }
    for name, value in ({"location": "forest"} | vitals | fields).items():
        client.hset("ac:101", name, value)


def is_idle(client: redis.Redis) -> bool:
    return not client.exists(redis_keys.INTENTS)


def test_a_dispatched_scope_is_saved_and_its_intent_struck_out(
    engine: SyncDispatcher, redis_client: redis.Redis, worker: CeleryProcess
) -> None:
    set_vitals(redis_client)

    engine.dispatch_sync(SyncScope.VITALS, char_id=HERO)

    wait_until(lambda: is_idle(redis_client), "the intent is struck out")
    hero = Character.objects.get(pk=HERO)
    assert (hero.hp, hero.energy, hero.location) == (42, 7, "forest")


def test_a_dispatch_whose_ring_is_lost_is_delivered_by_the_sweep(
    unheard: SyncDispatcher, redis_client: redis.Redis, worker: CeleryProcess
) -> None:
    set_vitals(redis_client)
    unheard.dispatch_sync(SyncScope.VITALS, char_id=HERO)

    sweep()
    assert not is_idle(redis_client), "the ring may still be on its way"
    let_time_pass(redis_client)
    sweep()

    wait_until(lambda: is_idle(redis_client), "the intent is struck out")
    assert Character.objects.get(pk=HERO).hp == 42


def test_an_intent_that_nobody_can_read_is_put_aside(
    redis_client: redis.Redis,
) -> None:
    unreadable = ["karma:101", "belts:x", "\xff", "vitals:0", f"inventory:{2**63}"]
    redis_client.zadd(redis_keys.INTENTS, dict.fromkeys(unreadable, 1))

    sweep()

    assert is_idle(redis_client)
    assert not messages(redis_client)


def test_accounts_that_no_player_can_have_ask_for_nothing(
    redis_client: redis.Redis,
) -> None:
    for name in ("ac:0101", f"ac:{2**63}", "ac:\u0667"):
        redis_client.hset(name, "inventory_closing_session_id", str(new_session_id()))

    sweep()

    assert is_idle(redis_client)


def test_the_clock_of_a_worker_holds_no_intent_back(
    unheard: SyncDispatcher, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    unheard.dispatch_sync(SyncScope.VITALS, char_id=HERO)
    let_time_pass(redis_client)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 660)

    sweep()

    assert ("task_sync_state", ["vitals", HERO]) in messages(redis_client)


def test_what_was_asked_for_during_a_save_is_saved_again(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    set_vitals(redis_client)
    engine.dispatch_sync(SyncScope.VITALS, char_id=HERO)

    def save() -> None:
        in_threads(partial(task_sync_state, "vitals", HERO))

    with ThreadPoolExecutor() as pool:
        with character_locked(HERO):
            saving = pool.submit(save)
            # The save has read the account by now, and waits for the row.
            wait_until_blocked(1)
            set_vitals(redis_client, hp=41, vitals_at=NOW_MS + 1)
            engine.dispatch_sync(SyncScope.VITALS, char_id=HERO)
        saving.result()

    assert not is_idle(redis_client)
    task_sync_state("vitals", HERO)
    assert is_idle(redis_client)
    assert Character.objects.get(pk=HERO).hp == 41


def test_a_bare_task_needs_no_dispatch_before_it(redis_client: redis.Redis) -> None:
    set_vitals(redis_client)

    task_sync_state("vitals", HERO)

    assert Character.objects.get(pk=HERO).hp == 42
    assert is_idle(redis_client)


def test_a_save_that_breaks_is_a_row_and_the_next_good_one_resolves_it(
    redis_client: redis.Redis,
) -> None:
    # PostgreSQL holds no NUL: nothing of the snapshot can be written.
    set_vitals(redis_client, location="for\x00est")

    task_sync_state("vitals", HERO)

    parked = ParkedOperation.objects.get()
    assert (parked.scope, parked.character_id) == ("vitals", HERO)
    assert parked.resolved_at is None
    assert is_idle(redis_client)

    set_vitals(redis_client, location="forest", vitals_at=NOW_MS + 1)
    task_sync_state("vitals", HERO)

    parked.refresh_from_db()
    assert parked.resolution == "applied"
    assert Character.objects.get(pk=HERO).location == "forest"


def test_the_combat_scope_settles_what_the_engine_left_in_its_session(
    redis_client: redis.Redis,
) -> None:
    document = make_document()
    session_id = UUID(document["session_id"])
    redis_client.hset(
        redis_keys.session(session_id),
        mapping={"status": "finished", "result": json.dumps(document)},
    )
    redis_client.hset("ac:101", "combat_session_id", str(session_id))

    task_sync_state("combat_result", HERO)

    assert CombatHistory.objects.get(pk=session_id).settlement_status == "processed"
    assert redis_client.hget("ac:101", "combat_session_id") is None
    assert not redis_client.exists(redis_keys.session(session_id))
    task_sync_state("combat_result", HERO)
    assert Character.objects.get(pk=HERO).xp == 10


def test_an_unusable_result_of_the_session_is_kept_as_a_row(
    redis_client: redis.Redis,
) -> None:
    document = make_document()
    session_id = UUID(document["session_id"])
    other = make_document()
    redis_client.hset(
        redis_keys.session(session_id),
        mapping={"status": "finished", "result": json.dumps(other)},
    )
    redis_client.hset("ac:101", "combat_session_id", str(session_id))

    task_sync_state("combat_result", HERO)

    assert not CombatHistory.objects.exists()
    assert not redis_client.hexists(redis_keys.session(session_id), "result")


def test_the_cleanup_scope_sweeps(redis_client: redis.Redis) -> None:
    document = make_document()
    session_id = UUID(document["session_id"])
    redis_client.hset(
        redis_keys.session(session_id),
        mapping={"status": "finished", "result": json.dumps(document)},
    )

    task_sync_state("cleanup", HERO)

    assert CombatHistory.objects.get(pk=session_id).settlement_status == "processed"
    assert is_idle(redis_client)


def test_a_scope_that_does_not_exist_is_kept_where_people_look(world: None) -> None:
    task_sync_state("karma", HERO)

    kept = RejectedPayload.objects.get()
    assert kept.code == "unreadable_message"
    assert "karma" in kept.errors[0]["message"]
