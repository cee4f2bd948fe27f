"""Results that wait in the broker's queue are recorded along with a delivered one."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis
from django.conf import settings
from django.db.models import Sum

from combat_history.models import CombatHistory, MinuteCount, RejectedPayload
from persistence.contract import redis_keys
from settlement_project.celery import app
from tests.support.documents import make_document
from tests.support.events import events
from tests.support.fuzz import call, envelope, headers, raw
from tests.support.waiting import wait_until
from tests.support.worker import CeleryProcess, wait_idle

WAITING = 30


@pytest.fixture
def queue(world: None, worker: CeleryProcess) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        yield broker
    assert worker.is_alive, worker.output()


@contextmanager
def stopped(worker: CeleryProcess) -> Iterator[None]:
    """What is sent meanwhile waits in the queue, all but what it has asked for."""
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker.pid, signal.SIGCONT)


def settled() -> set[str]:
    rows = CombatHistory.objects.filter(settlement_status="processed")
    return {str(session_id) for session_id in rows.values_list("pk", flat=True)}


def taken_along() -> int:
    counted = MinuteCount.objects.filter(name="message.taken_along")
    return counted.aggregate(total=Sum("count"))["total"] or 0


def test_what_waits_behind_a_result_is_recorded_along_with_it(
    queue: redis.Redis, worker: CeleryProcess
) -> None:
    documents = [make_document() for _ in range(WAITING)]
    with stopped(worker):
        sent = [
            app.send_task("settle_combat", args=[d if number % 2 else json.dumps(d)]).id
            for number, d in enumerate(documents)
        ]

    worker.wait_succeeded(sent)
    wait_idle()

    assert settled() == {document["session_id"] for document in documents}
    # All but what the worker had asked for, one for each of its pool processes.
    wait_until(lambda: taken_along() >= WAITING // 2, "the count says so")


def test_flower_is_told_of_every_one_with_its_session(
    queue: redis.Redis, worker: CeleryProcess
) -> None:
    documents = [make_document() for _ in range(WAITING)]

    with events() as seen:
        with stopped(worker):
            sent = [app.send_task("settle_combat", args=[d]).id for d in documents]

        def all_told() -> bool:
            ended = {e["uuid"] for e in list(seen) if e["type"] == "task-succeeded"}
            return ended >= set(sent)

        wait_until(all_told, "every task has succeeded")

    wait_idle()
    told = {e["uuid"]: e["args"] for e in seen if e["type"] == "task-received"}
    assert {told[id_] for id_ in sent} == {f"({d['session_id']},)" for d in documents}
    assert {e["uuid"] for e in seen if e["type"] == "task-started"} >= set(sent)
    names = {e["hostname"] for e in seen if e.get("uuid") in sent}
    assert names == {f"celery@{os.uname().nodename}"}


def test_a_queue_of_everything_loses_nothing(
    queue: redis.Redis, worker: CeleryProcess
) -> None:
    queue.delete("engine.settled")
    follower = {
        "task": "engine.settled",
        "args": ["done"],
        "kwargs": {},
        "options": {"queue": "engine.settled"},
        "immutable": True,
    }
    plain = [make_document() for _ in range(WAITING)]
    odd = [make_document() for _ in range(3)]
    unreadable: list[object] = [b"no envelope", envelope(call(7)), [1]]
    others: list[object] = [
        envelope(call("vitals", 7), headers=headers(task="task_sync_state")),
        envelope(call(odd[0], callbacks=[follower])),
        envelope(call(odd[1]), headers=headers(eta="2020-01-01T00:00:00+00:00")),
        envelope(call(odd[2]), headers=headers(expires="2020-01-01T00:00:00+00:00")),
        *unreadable,
    ]
    items = [raw(envelope(call(document))) for document in plain]
    for number, other in enumerate(others):
        items.insert(4 * number, raw(other))

    queue.lpush("celery", *items)

    wait_until(
        lambda: settled() == {d["session_id"] for d in [*plain, *odd]},
        "all results are settled",
    )
    wait_idle()
    assert RejectedPayload.objects.count() == len(unreadable)
    assert queue.llen("engine.settled") == 1
    wait_until(taken_along, "some of them were taken along")


def test_a_result_that_comes_twice_is_settled_once(queue: redis.Redis) -> None:
    documents = [make_document() for _ in range(WAITING)]
    items = [raw(envelope(call(document))) for document in documents for _ in range(2)]

    queue.lpush("celery", *items)

    wait_until(
        lambda: settled() == {d["session_id"] for d in documents}, "all are settled"
    )
    wait_idle()
    assert not RejectedPayload.objects.exists()


def test_while_somebody_else_takes_celery_delivers_each(
    queue: redis.Redis, worker: CeleryProcess
) -> None:
    queue.set(redis_keys.taker("celery"), "somebody", px=60_000)
    documents = [make_document() for _ in range(5)]

    sent = [app.send_task("settle_combat", args=[d]).id for d in documents]
    worker.wait_succeeded(sent)
    wait_idle()

    assert settled() == {document["session_id"] for document in documents}
    lines = [x for x in worker.output().splitlines() if "taken along" in x]
    assert not [line for line in lines for id_ in sent if id_ in line]
    assert queue.get(redis_keys.taker("celery")) == b"somebody"
