"""What is to follow a task goes to its queue, or is kept where people look."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import chain
from celery.exceptions import QueueNotFound
from django.conf import settings

from combat_history.models import CombatHistory, RejectedPayload
from settlement_project.celery import app
from tests.support.documents import make_document
from tests.support.waiting import wait_until
from tests.support.worker import CeleryProcess, wait_idle


@pytest.fixture
def broker() -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        yield broker


def settling(document: dict[str, Any]) -> Any:
    return app.signature("settle_combat", args=[document], immutable=True)


def kept(number: int = 1) -> list[RejectedPayload]:
    wait_until(lambda: RejectedPayload.objects.count() >= number, "all are kept")
    wait_idle()
    return list(RejectedPayload.objects.order_by("id"))


@pytest.mark.parametrize(
    "options",
    [
        {"queue": "engine_cb", "serializer": "engine"},
        {"queue": "engine_cb", "compression": "engine"},
    ],
)
def test_a_callback_that_cannot_be_written_is_kept_and_its_fight_is_settled(
    world: None, worker: CeleryProcess, options: dict[str, str]
) -> None:
    link = app.signature("engine.settled", immutable=True, **options)
    app.send_task("settle_combat", args=[make_document()], link=link)

    (row,) = kept()
    assert (row.code, row.errors[0]["path"]) == ("unreadable_message", "callbacks")
    assert b"engine.settled" in bytes(row.raw or b"")
    assert CombatHistory.objects.get().settlement_status == "processed"


def test_a_fight_of_a_chain_whose_queue_nobody_reads_is_kept(
    world: None, worker: CeleryProcess
) -> None:
    first, second = make_document(), make_document()
    chain(settling(first), settling(second).set(queue="combats")).apply_async()

    (row,) = kept()
    assert str(row.session_id) == second["session_id"]
    assert "QueueNotFound" in row.errors[0]["message"]
    assert str(CombatHistory.objects.get().pk) == first["session_id"]


def test_the_same_arguments_of_two_tasks_are_two_messages(
    world: None, worker: CeleryProcess
) -> None:
    for task in ("engine.settled", "engine.refunded", "engine.settled"):
        app.send_task(task, args=[101], queue="celery")

    # Two processes may write them, in either order.
    seen = {row.errors[1]["message"]: row.times_seen for row in kept(2)}
    assert seen == {"engine.settled": 2, "engine.refunded": 1}


def test_a_callback_goes_to_any_queue_that_its_sender_names(
    world: None, broker: redis.Redis, worker: CeleryProcess
) -> None:
    link = app.signature("engine.settled", immutable=True, queue="engine_cb")
    sent = app.send_task("settle_combat", args=[make_document()], link=link)
    worker.wait_succeeded([sent.id])

    (delivered,) = (json.loads(item) for item in broker.lrange("engine_cb", 0, -1))
    assert delivered["headers"]["task"] == "engine.settled"
    assert CombatHistory.objects.get().settlement_status == "processed"


def test_a_chain_goes_on_in_another_queue(
    world: None, broker: redis.Redis, worker: CeleryProcess
) -> None:
    first = app.signature("settle_combat", args=[make_document()], immutable=True)
    second = app.signature("engine.settled", immutable=True, queue="engine_cb")
    parts: Any = chain(first, second).apply_async()
    worker.wait_succeeded([parts.parent.id])

    assert broker.llen("engine_cb") == 1


def test_a_misspelt_queue_of_a_task_of_ours_is_refused() -> None:
    with pytest.raises(QueueNotFound):
        app.send_task("settle_inbox", queue="celerry")
    assert "celerry" not in app.amqp.queues
