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
from persistence.engine.doorbell import Doorbell
from tests.support.brokers import Broker, RedisBroker, running_amqp_worker
from tests.support.documents import make_document
from tests.support.events import events
from tests.support.fuzz import call, envelope, headers
from tests.support.waiting import wait_until
from tests.support.worker import CeleryProcess

WAITING = 30


@pytest.fixture(scope="module", params=["redis", "classic", "quorum"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Broker]:
    if request.param == "redis":
        worker = request.getfixturevalue("worker")
        with redis.Redis.from_url(settings.BROKER_URL) as client:
            yield RedisBroker(worker, client)
        return
    url = request.getfixturevalue("rabbitmq")
    folder = tmp_path_factory.mktemp(request.param)
    with running_amqp_worker(url, folder, queues=request.param) as broker:
        yield broker


@pytest.fixture
def broker(world: None, served: Broker) -> Iterator[Broker]:
    yield served
    assert served.worker.is_alive, served.worker.output()


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
    broker: Broker,
) -> None:
    documents = [make_document() for _ in range(WAITING)]
    with stopped(broker.worker):
        sent = [
            broker.send(d if number % 2 else json.dumps(d))
            for number, d in enumerate(documents)
        ]

    broker.worker.wait_succeeded(sent)
    broker.wait_idle()

    assert settled() == {document["session_id"] for document in documents}
    # All but what the worker had asked for, one for each of its pool processes.
    wait_until(lambda: taken_along() >= WAITING // 2, "the count says so")


def test_a_ring_of_the_engine_reaches_queues_of_every_type(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """Which it does not declare: it does not know their type."""
    bell = Doorbell(broker.url)
    bell.press("settle_inbox")
    bell.close(5)

    assert "ring failed" not in caplog.text
    broker.wait_idle()


def test_flower_is_told_of_every_one_with_its_session(
    broker: Broker,
) -> None:
    documents = [make_document() for _ in range(WAITING)]

    with events(broker.url) as seen:
        with stopped(broker.worker):
            sent = [broker.send(d) for d in documents]

        def all_told() -> bool:
            ended = {e["uuid"] for e in list(seen) if e["type"] == "task-succeeded"}
            return ended >= set(sent)

        wait_until(all_told, "every task has succeeded")

    broker.wait_idle()
    told = {e["uuid"]: e["args"] for e in seen if e["type"] == "task-received"}
    assert {told[id_] for id_ in sent} == {f"({d['session_id']},)" for d in documents}
    assert {e["uuid"] for e in seen if e["type"] == "task-started"} >= set(sent)
    names = {e["hostname"] for e in seen if e.get("uuid") in sent}
    assert names == {f"celery@{os.uname().nodename}"}


def test_a_queue_of_everything_loses_nothing(
    broker: Broker,
) -> None:
    broker.delete("engine.settled")
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
    items: list[object] = [envelope(call(document)) for document in plain]
    for number, other in enumerate(others):
        items.insert(4 * number, other)

    broker.put(*items)

    wait_until(
        lambda: settled() == {d["session_id"] for d in [*plain, *odd]},
        "all results are settled",
    )
    broker.wait_idle()
    wait_until(
        lambda: RejectedPayload.objects.count() == len(unreadable),
        "what cannot be read is kept",
    )
    wait_until(lambda: broker.length("engine.settled") == 1, "the callback is sent")
    wait_until(taken_along, "some of them were taken along")


def test_a_result_that_comes_twice_is_settled_once(broker: Broker) -> None:
    documents = [make_document() for _ in range(WAITING)]
    items = [envelope(call(document)) for document in documents for _ in range(2)]

    broker.put(*items)

    wait_until(
        lambda: settled() == {d["session_id"] for d in documents}, "all are settled"
    )
    broker.wait_idle()
    assert not RejectedPayload.objects.exists()


def test_while_somebody_else_takes_celery_delivers_each(
    world: None, worker: CeleryProcess
) -> None:
    documents = [make_document() for _ in range(5)]
    with redis.Redis.from_url(settings.BROKER_URL) as client:
        client.set(redis_keys.taker("celery"), "somebody", px=60_000)
        broker = RedisBroker(worker, client)
        sent = [broker.send(document) for document in documents]
        worker.wait_succeeded(sent)
        broker.wait_idle()
        assert client.get(redis_keys.taker("celery")) == b"somebody"

    assert settled() == {document["session_id"] for document in documents}
    lines = [x for x in worker.output().splitlines() if "taken along" in x]
    assert not [line for line in lines for id_ in sent if id_ in line]
