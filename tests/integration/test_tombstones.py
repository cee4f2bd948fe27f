"""What Redis tells of a settled fight is true, or it tells nothing."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
import redis
from django.contrib.auth.models import User
from django.db import connection, connections
from pytest_django import Settings

from combat_history.models import CombatHistory
from combat_history.reading.lookup import Credit, find_result
from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.contract.outcome import summary, undone_tombstone
from persistence.protocols import Delivery
from persistence.savers.registry import open_combat_saver
from persistence.sweeping import tombstones
from persistence.tasks import sweep
from persistence.worker import inbox
from tests.conftest import Settle
from tests.support.crash import Crash, Tell, When, run
from tests.support.documents import HERO, hero_fight
from tests.support.lookups import (
    Find,
    finished,
    hand_off,
    id_of,
    tombstone,
    unknown_loot,
)
from tests.support.redis_server import redis_away
from tests.support.undoing import permitted, undo

pytestmark = pytest.mark.usefixtures("world")


@pytest.fixture
def admin(world: None) -> User:
    return permitted()


def elsewhere(act: Callable[[], object]) -> None:
    """On a connection of its own, as another process does it."""

    def work() -> None:
        try:
            act()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


def test_late_effects_of_a_duplicate_tell_nothing_of_what_was_undone_since(
    find: Find, document: Document, settled: UUID, admin: User
) -> None:
    hand_off(document)
    (entry,), _ = inbox.claim(1)
    with open_combat_saver() as saver:
        (verdict,) = saver.settle([Delivery(settled, entry.raw, entry.sha256)])

    undo(settled, admin)
    assert inbox.finish([(entry, verdict)]) == 1

    assert find(settled, HERO).credit is Credit.REVERSED


def test_first_effects_that_come_after_an_undo_tell_nothing_of_it(
    find: Find, document: Document, admin: User
) -> None:
    hand_off(document)
    (entry,), _ = inbox.claim(1)
    with open_combat_saver() as saver:
        (verdict,) = saver.settle([Delivery(id_of(document), entry.raw, entry.sha256)])

    undo(id_of(document), admin)
    inbox.finish([(entry, verdict)])

    assert find(id_of(document), HERO).credit is Credit.REVERSED


@contextmanager
def after_the_row_is_read(act: Callable[[], object]) -> Iterator[None]:
    todo = [act]

    def wrapper(execute: Any, sql: str, *call: Any) -> Any:
        result = execute(sql, *call)
        if todo and '"combat_history"."participant_ids"' in sql:
            elsewhere(todo.pop())
        return result

    with connection.execute_wrapper(wrapper):
        yield
    assert not todo


def test_a_look_up_that_read_the_row_before_an_undo_brings_nothing_back(
    find: Find, settled: UUID, admin: User, redis_client: redis.Redis
) -> None:
    redis_client.delete(redis_keys.tombstone(settled))

    with after_the_row_is_read(lambda: undo(settled, admin)):
        assert find(settled, HERO).credit is Credit.CREDITED

    assert find(settled, HERO).credit is Credit.REVERSED


def test_an_undo_that_is_killed_anywhere_leaves_nothing_untrue(
    settle_here: Settle, admin: User
) -> None:
    for operation in itertools.count(1):
        document = hero_fight(gold_gained=1)
        settle_here(document)
        session_id = id_of(document)

        def work(tell: Tell, session_id: UUID = session_id) -> None:
            undo(session_id, admin)

        connections.close_all()
        inbox.client().connection_pool.disconnect()
        ended = run(work, Crash(operation, When.AFTER))

        is_undone = CombatHistory.objects.get(pk=session_id).compensated_at is not None
        expected = Credit.REVERSED if is_undone else Credit.CREDITED
        assert find_result(session_id, HERO).credit is expected, operation
        if not ended.is_killed:
            break
    assert operation > 5


def test_an_undo_while_redis_was_away_is_told_after_one_sweep(
    find: Find, settled: UUID, admin: User, settings: Settings
) -> None:
    with redis_away(settings):
        assert not undo(settled, admin).announced

    sweep()

    assert find(settled, HERO).credit is Credit.REVERSED
    assert tombstones.raise_undone() == 0


def test_a_worker_of_an_older_release_is_put_right_by_the_sweep(
    find: Find,
    document: Document,
    settled: UUID,
    admin: User,
    redis_client: redis.Redis,
) -> None:
    """It writes over anything, and what it writes has no revision."""
    undo(settled, admin)
    redis_client.set(redis_keys.tombstone(settled), old_form(document))
    assert find(settled, HERO).credit is Credit.CREDITED

    sweep()

    assert find(settled, HERO).credit is Credit.REVERSED


def old_form(document: Document) -> bytes:
    told = json.loads(summary(document))
    del told["revision"]
    return json.dumps(told).encode()


def test_a_tombstone_of_an_older_release_is_read_and_yields_to_any_newer(
    find: Find,
    document: Document,
    settled: UUID,
    admin: User,
    redis_client: redis.Redis,
) -> None:
    redis_client.set(redis_keys.tombstone(settled), old_form(document))
    assert find(settled, HERO) == finished(Credit.CREDITED)

    undo(settled, admin)

    assert find(settled, HERO).credit is Credit.REVERSED


def test_an_older_one_replaces_no_newer_whatever_the_order(
    document: Document, redis_client: redis.Redis
) -> None:
    session_id = id_of(document)
    in_order = [
        b"",
        old_form(document),
        summary(document, revision=1),
        undone_tombstone(1),
        summary(document, revision=2),
        summary(document, revision=10),
        undone_tombstone(10),
    ]
    for first, second in itertools.permutations(in_order[1:], 2):
        redis_client.flushdb()
        inbox.remember({session_id: first})
        inbox.remember({session_id: second})
        newest = max(first, second, key=in_order.index)
        assert tombstone(redis_client, session_id) == newest
        assert 0 < redis_client.ttl(redis_keys.tombstone(session_id)) <= 86_400


def test_a_restored_postgresql_is_believed_before_redis(
    find: Find, settle_here: Settle, settled: UUID, redis_client: redis.Redis
) -> None:
    """Restored from before the fight: its row is gone, its tombstone is not."""
    later = hero_fight(gold_gained=1)
    settle_here(later)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE combat_history DISABLE TRIGGER USER")
        cursor.execute("DELETE FROM combat_history WHERE session_id = %s", [settled])
        cursor.execute("ALTER TABLE combat_history ENABLE TRIGGER USER")

    sweep()

    assert tombstone(redis_client, settled) is None
    assert find(settled, HERO).credit is not Credit.CREDITED
    assert tombstone(redis_client, id_of(later)) is not None


def test_the_sweep_looks_through_all_tombstones_in_turn(
    redis_client: redis.Redis, settle_here: Settle, document: Document
) -> None:
    failed = unknown_loot()
    settle_here(document, failed)
    redis_client.set(redis_keys.tombstone(id_of(failed)), summary(failed))
    with redis_client.pipeline() as pipeline:
        for number in range(3 * tombstones.PAGE_KEYS):
            pipeline.set(f"another:{number}", "")
        pipeline.set(tombstones.CURSOR, "no cursor")
        pipeline.execute()

    found = sum(tombstones.forget_untrue() for _ in range(2))

    assert found == 1
    assert tombstone(redis_client, id_of(failed)) is None
    assert tombstone(redis_client, id_of(document)) == summary(document)
