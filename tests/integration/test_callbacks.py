"""What was to follow a task and cannot be sent is kept where people look."""

from __future__ import annotations

from typing import Any

import pytest
from celery import chain

from combat_history.models import CombatHistory, RejectedPayload
from settlement_project.celery import app
from tests.support.documents import make_document
from tests.support.waiting import wait_until
from tests.support.worker import CeleryProcess, wait_idle


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
