"""Paused and draining settlement, through the tasks: what is claimed, what waits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from combat_history.actions import mode as control
from combat_history.models import CombatHistory, MinuteCount, Status
from persistence import tasks
from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.dispatcher import SyncDispatcher
from persistence.worker import inbox
from persistence.worker import mode as settlement
from persistence.worker.mode import Mode
from settlement_project.celery import app
from tests.support.documents import make_document
from tests.support.parallel import character_locked, in_threads
from tests.support.waiting import wait_until
from tests.support.worker import running_worker, wait_idle

pytestmark = pytest.mark.usefixtures("world", "_forgotten")

REASON = "PostgreSQL gets a new disk"


@pytest.fixture
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test hears of the mode of another, and all hear of their own at once."""
    monkeypatch.setattr(settlement, "CACHE_SECONDS", 0)
    settlement.forget()
    yield
    settlement.forget()


def set_mode(mode: Mode) -> None:
    control.set_mode(mode, actor=control.Actor("settlement"), reason=REASON)


def status(document: Document) -> str | None:
    row = CombatHistory.objects.filter(pk=document["session_id"]).first()
    return None if row is None else str(row.settlement_status)


def waits(document: Document, client: redis.Redis) -> bool:
    return client.zscore(redis_keys.INBOX, document["session_id"]) is not None


def test_paused_accepts_and_settles_nothing(
    redis_client: redis.Redis, engine: SyncDispatcher
) -> None:
    by_task, by_engine = make_document(), make_document()
    set_mode(Mode.PAUSED)

    tasks.settle_combat(by_task)
    assert engine.submit_combat_sync(by_engine) == "accepted"
    tasks.settle_inbox()
    tasks.sweep()

    for document in (by_task, by_engine):
        assert status(document) is None
        assert waits(document, redis_client)
        key = redis_keys.result(document["session_id"])
        # Not even claimed: the tries of a combat are counted.
        assert redis_client.hget(key, "claims") is None

    set_mode(Mode.RUNNING)
    tasks.settle_inbox()
    assert [status(d) for d in (by_task, by_engine)] == [Status.PROCESSED] * 2


def test_a_resume_wakes_a_worker_without_beat(tmp_path: Path) -> None:
    document = make_document()
    set_mode(Mode.PAUSED)
    with running_worker(tmp_path) as worker:
        sent = app.send_task("settle_combat", args=[document])
        worker.wait_succeeded([sent.id])
        assert status(document) is None

        set_mode(Mode.RUNNING)

        wait_until(lambda: status(document) == Status.PROCESSED, "it is settled")


def test_a_pause_outlives_the_workers(tmp_path: Path) -> None:
    set_mode(Mode.PAUSED)
    for number in range(2):
        document = make_document()
        with running_worker(tmp_path / str(number), beat=True) as worker:
            sent = app.send_task("settle_combat", args=[document])
            worker.wait_succeeded([sent.id])
            assert status(document) is None


def test_draining_settles_what_was_accepted_before_and_then_pauses(
    redis_client: redis.Redis,
) -> None:
    before = [make_document() for _ in range(3)]
    set_mode(Mode.PAUSED)
    for document in before:
        tasks.settle_combat(document)
    set_mode(Mode.DRAINING)
    after = make_document()

    tasks.settle_combat(after)
    while settlement.mode() is Mode.DRAINING:
        tasks.settle_inbox()

    assert [status(document) for document in before] == [Status.PROCESSED] * 3
    assert status(after) is None
    assert waits(after, redis_client)
    assert settlement.mode() is Mode.PAUSED
    set_mode(Mode.RUNNING)
    tasks.settle_inbox()
    assert status(after) == Status.PROCESSED


def test_draining_waits_for_what_another_worker_holds(
    redis_client: redis.Redis,
) -> None:
    document = make_document()
    set_mode(Mode.PAUSED)
    tasks.settle_combat(document)
    set_mode(Mode.RUNNING)
    (entry,), _ = inbox.claim(10)
    set_mode(Mode.DRAINING)

    tasks.settle_inbox()
    assert settlement.mode() is Mode.DRAINING
    assert status(document) is None

    # The other one gives it back, as it does when PostgreSQL was away: it is due later
    # than the moment of the drain, and still counts as accepted before.
    inbox.release([entry], 1, uncount=True)
    wait_until(lambda: _drained(), "what was given back is settled")
    assert status(document) == Status.PROCESSED
    tasks.settle_inbox()
    assert settlement.mode() is Mode.PAUSED


def _drained() -> bool:
    tasks.settle_inbox()
    return settlement.mode() is Mode.PAUSED


def test_many_that_come_meanwhile_do_not_hide_one_accepted_before(
    redis_client: redis.Redis, settings: Any
) -> None:
    settings.SETTLEMENT_BATCH_SIZE = 2
    old = make_document()
    set_mode(Mode.PAUSED)
    tasks.settle_combat(old)
    set_mode(Mode.RUNNING)
    (entry,), _ = inbox.claim(10)
    set_mode(Mode.DRAINING)
    later = [make_document() for _ in range(10)]
    for document in later:
        tasks.settle_combat(document)
    inbox.release([entry], 0, uncount=True)

    wait_until(_drained, "it is drained")

    assert status(old) == Status.PROCESSED
    assert [status(document) for document in later] == [None] * 10


def test_a_drain_at_work_stops_at_a_pause(
    redis_client: redis.Redis, settings: Any
) -> None:
    settings.SETTLEMENT_BATCH_SIZE = 1
    documents = [make_document() for _ in range(3)]
    set_mode(Mode.PAUSED)
    for document in documents:
        tasks.settle_combat(document)
    set_mode(Mode.RUNNING)

    def pause_while_it_waits() -> None:
        wait_until(_one_is_claimed, "a batch is at work")
        set_mode(Mode.PAUSED)

    def _one_is_claimed() -> bool:
        keys = [redis_keys.result(document["session_id"]) for document in documents]
        return any(redis_client.hget(key, "claims") for key in keys)

    with character_locked(101):
        in_threads(pause_while_it_waits, _settle_inbox_in_vain)
    states = [status(document) for document in documents]
    assert states.count(None) >= 1
    assert not any(state == Status.FAILED for state in states)


def _settle_inbox_in_vain() -> None:
    tasks.settle_inbox()


def test_a_worker_counts_what_it_settles(tmp_path: Path) -> None:
    documents = [make_document() for _ in range(3)]
    lost = make_document({"404": make_document()["participants"]["101"]})
    with running_worker(tmp_path) as worker:
        pool = worker.children()
        # The copy last: one that comes before its first is settled is one with it.
        for batch in ([*documents, lost], documents[:1]):
            sent = [app.send_task("settle_combat", args=[d]).id for d in batch]
            worker.wait_succeeded(sent)
            wait_idle()
        wait_until(lambda: _counted("combat.processed", pool) == 3, "counted")
        wait_until(lambda: _counted("combat.failed", pool) == 1, "counted")
        wait_until(lambda: _counted("combat.duplicate", pool) == 1, "counted")
        wait_until(lambda: _counted("effects.applied", pool) == 5, "counted")


def test_a_worker_that_stops_has_counted_all(tmp_path: Path) -> None:
    with running_worker(tmp_path) as worker:
        pool = worker.children()
        sent = app.send_task("settle_combat", args=[make_document()])
        worker.wait_succeeded([sent.id])
    assert _counted("combat.processed", pool) == 1


def _counted(name: str, pool: list[int]) -> int:
    """By this pool: one of an earlier test may still tell what it had counted."""
    rows = MinuteCount.objects.filter(name=name).values_list("process", "count")
    own = {str(pid) for pid in pool}
    return sum(n for process, n in rows if process.rpartition(":")[2] in own)
