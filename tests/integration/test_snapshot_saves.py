"""Vitals and travels by `task_sync_state`: twice, late, at once, killed anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psycopg
import pytest
import redis
from django.conf import settings
from django.db import connections

from combat_history.models import Character, ParkedOperation, ScenarioSession
from persistence.contract import redis_keys
from persistence.dispatcher import SyncDispatcher
from persistence.tasks import task_sync_state
from persistence.worker import inbox
from tests.support import crash, scenarios
from tests.support.crash import Tell, When, every_crash
from tests.support.documents import HERO, SAMPLE_END
from tests.support.parallel import in_processes, in_threads, wait_until_blocked
from tests.support.scenarios import ACCOUNT, new_id, row
from tests.support.worker import database_url

pytestmark = pytest.mark.usefixtures("world")

END_MS = SAMPLE_END * 1000
SCOPES = ["vitals", "scenario"]


@pytest.fixture
def engine() -> Iterator[SyncDispatcher]:
    dispatcher = SyncDispatcher(settings.REDIS_URL, settings.BROKER_URL)
    yield dispatcher
    dispatcher.close()


def prepare(client: redis.Redis, step: int = 1) -> str:
    """The hero has left a road `step` steps along it, and walks another."""
    left, current = new_id(), new_id()
    scenarios.name_closing(client, left)
    scenarios.name_open(client, current)
    for sid in (left, current):
        scenarios.write(client, sid, step)
    set_vitals(client, step)
    return left


def set_vitals(client: redis.Redis, step: int) -> None:
    client.hset(ACCOUNT, mapping={"hp": step, "vitals_at": END_MS + step})


def rows() -> object:
    return (
        list(Character.objects.values_list("hp", "vitals_at")),
        list(ScenarioSession.objects.order_by("session_id").values()),
    )


def assert_saved(client: redis.Redis, left: str, step: int = 1) -> None:
    hero = Character.objects.get(pk=HERO)
    assert hero.hp == step
    assert row(left).version == step
    assert row(left).closed_at is not None
    assert ScenarioSession.objects.filter(closed_at=None).count() == 1
    assert not client.exists(redis_keys.scenario(left))
    assert not client.hexists(ACCOUNT, "scenario_closing_session_id")
    assert not client.exists(redis_keys.INTENTS)
    assert not ParkedOperation.objects.exists()


def test_delivered_twice_is_saved_once(redis_client: redis.Redis) -> None:
    left = prepare(redis_client)
    for scope in SCOPES:
        task_sync_state(scope, HERO)
    before = rows()

    for scope in SCOPES:
        task_sync_state(scope, HERO)

    assert rows() == before
    assert_saved(redis_client, left)


def test_message_that_comes_late_undoes_nothing(redis_client: redis.Redis) -> None:
    """It is asked for again and again, and the last message carries the first word."""
    left = prepare(redis_client, step=7)
    for scope in SCOPES:
        task_sync_state(scope, HERO)
    before = rows()
    # Redis came back from an older file.
    scenarios.name_closing(redis_client, left)
    scenarios.write(redis_client, left, 3)
    set_vitals(redis_client, 3)

    for scope in reversed(SCOPES):
        task_sync_state(scope, HERO)

    assert rows() == before


def test_two_workers_at_once(redis_client: redis.Redis, tmp_path: Path) -> None:
    left = prepare(redis_client)
    messages = [[scope, HERO] for scope in SCOPES] * 3

    save = "from persistence import tasks; tasks.task_sync_state(*argument)"
    in_processes(save, [messages] * 2, tmp_path)

    assert_saved(redis_client, left)


def test_progress_after_the_save_and_before_its_confirmation_is_saved_too(
    redis_client: redis.Redis, engine: SyncDispatcher
) -> None:
    """The road's last step is written while the worker waits for the row."""
    left = prepare(redis_client)
    engine.dispatch_sync("scenario", char_id=HERO)
    message = partial(task_sync_state, "scenario", HERO)
    with ThreadPoolExecutor(1) as pool, psycopg.connect(database_url()) as other:
        other.execute("SELECT FROM characters WHERE id = %s FOR UPDATE", [HERO])
        late = pool.submit(in_threads, message)
        wait_until_blocked(1)
        scenarios.write(redis_client, left, 2)
        other.rollback()
        late.result()

    # The intent stands, and so does the session's name: the sweep sends this one.
    assert redis_client.exists(redis_keys.INTENTS)
    task_sync_state("scenario", HERO)
    assert row(left).version == 2
    assert not redis_client.exists(redis_keys.scenario(left))


@pytest.mark.parametrize("scope", SCOPES)
def test_killed_anywhere_the_next_delivery_saves_it(
    redis_client: redis.Redis, engine: SyncDispatcher, scope: str
) -> None:
    def work(_: Tell) -> None:
        inbox.client.cache_clear()
        inbox.script.cache_clear()
        task_sync_state(scope, HERO)

    for at in every_crash([When.BEFORE, When.AFTER]):
        ScenarioSession.objects.all().delete()
        Character.objects.filter(pk=HERO).update(vitals_at=None, hp=500)
        redis_client.flushdb()
        left = prepare(redis_client)
        other = "vitals" if scope == "scenario" else "scenario"
        engine.dispatch_sync(scope, char_id=HERO)
        connections.close_all()

        killed = crash.run(work, at).is_killed
        if killed and at.when is When.BEFORE:
            assert redis_client.zscore(redis_keys.INTENTS, f"{scope}:{HERO}"), at
        task_sync_state(scope, HERO)
        task_sync_state(other, HERO)

        assert_saved(redis_client, left)
        if not killed:
            break
    assert at.operation > 5
