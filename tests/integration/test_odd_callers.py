"""Callers and writers that keep to no contract: told apart, kept, harmful to nobody."""

from __future__ import annotations

import json
import math
from typing import Any
from uuid import UUID

import pytest
import redis
from billiard.exceptions import SoftTimeLimitExceeded
from django.db import connection

from combat_history.actions import mode as control
from combat_history.models import CombatHistory, RejectedPayload
from combat_history.reading.lookup import State, find_result
from persistence import tasks
from persistence.belts import tasks as belt_tasks
from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.protocols import SyncScope
from persistence.worker import inbox
from persistence.worker.mode import Mode
from settlement_project.celery import app
from tests.conftest import Settle
from tests.support import factories
from tests.support.documents import HERO, make_document
from tests.support.ids import new_session_id
from tests.support.worker import CeleryProcess, wait_idle
from tests.unit.strategies import nested


def insert(session_id: str | UUID, text: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO combat_history (session_id, participant_ids, result_payload, "
            "due_at) VALUES (%s, %s, %s, now() - interval '1 hour')",
            [session_id, [HERO], text],
        )


@pytest.mark.parametrize(("depth", "kind"), [(600, list), (450, dict), (900, dict)])
@pytest.mark.parametrize("inside", [1, math.nan, "nul\x00"])
def test_a_deep_document_is_rejected_and_its_worker_lives(
    settle: Settle, depth: int, kind: type, inside: Any
) -> None:
    deep = make_document(note=nested(depth, inside, "[" if kind is list else "{"))
    settle(deep, make_document())

    assert CombatHistory.objects.get().settlement_status == "processed"
    rejected = RejectedPayload.objects.get()
    assert rejected.code == "invalid_payload"
    assert deep["session_id"].encode() in bytes(rejected.raw or b"")


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [(["x", "y"], {}), ([], {"result": {"a": 1}}), ([{}, {}], {"attempt": 2})],
)
def test_a_call_with_more_than_a_document_is_rejected_whole(
    world: None, worker: CeleryProcess, args: list[Any], kwargs: dict[str, Any]
) -> None:
    document = make_document()
    call = app.send_task("settle_combat", args=[document, *args], kwargs=kwargs)
    worker.wait_succeeded([call.id])
    wait_idle()

    rejected = RejectedPayload.objects.get()
    assert rejected.code == "not_an_object"
    kept = json.loads(bytes(rejected.raw or b""))
    assert kept == [document, *args, kwargs]
    assert not CombatHistory.objects.exists()


@pytest.mark.parametrize("text", ["[1, 2]", '"x"', "null"])
def test_a_row_that_holds_no_object_fails_alone(world: None, text: str) -> None:
    odd, sound = new_session_id(), make_document()
    insert(odd, text)
    insert(sound["session_id"], json.dumps(sound))

    assert find_result(odd, HERO).state is State.FINISHED
    tasks.sweep()
    tasks.settle_inbox()

    failed = CombatHistory.objects.get(pk=odd)
    assert (failed.settlement_status, failed.failure_code) == (
        "failed",
        "bad_session_id",
    )
    assert CombatHistory.objects.get(pk=sound["session_id"]).settled_at is not None


def test_a_row_with_the_document_of_another_fight_fails(world: None) -> None:
    odd, document = new_session_id(), make_document()
    insert(odd, json.dumps(document))

    tasks.sweep()
    tasks.settle_inbox()

    failed = CombatHistory.objects.get(pk=odd)
    assert (failed.settlement_status, failed.failure_code) == (
        "failed",
        "bad_session_id",
    )
    assert str(odd) in (failed.failure_detail or "")


@pytest.fixture
def in_a_transaction(db: None, redis_client: redis.Redis) -> None:
    """The small world in a test's own transaction, which is rolled back."""
    factories.add_small_world()


@pytest.mark.usefixtures("in_a_transaction")
def test_every_task_runs_inside_the_transaction_of_a_test() -> None:
    document: Document = make_document()

    calls: list[tuple[Any, tuple[object, ...]]] = [
        (tasks.settle_combat, (document,)),
        (tasks.settle_combat, ("no document",)),
        (tasks.settle_inbox, ()),
        (tasks.sweep, ()),
        (tasks.task_sync_state, (SyncScope.VITALS, HERO)),
        (belt_tasks.assemble_belts, (str(new_session_id()),)),
    ]
    for task, args in calls:
        task.apply(args=args, throw=True)

    assert CombatHistory.objects.get().settlement_status == "processed"
    assert RejectedPayload.objects.get().code == "invalid_payload"


def test_a_time_limit_between_a_command_and_its_answer_mixes_up_no_answers(
    redis_client: redis.Redis, world: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis_client.hset(redis_keys.account(HERO), "hp", 7)
    client = inbox.client()
    client.connection_pool.reset()  # other tests had threads
    client.ping()
    (line,) = client.connection_pool._available_connections
    send = line.send_command

    def strike(*args: Any, **options: Any) -> None:
        send(*args, **options)
        raise SoftTimeLimitExceeded

    with monkeypatch.context() as patch:
        patch.setattr(line, "send_command", strike)
        struck = tasks.settle_inbox.apply()

    assert isinstance(struck.result, SoftTimeLimitExceeded)
    assert client.hgetall(redis_keys.account(HERO)) == {b"hp": b"7"}
    assert inbox.claim(10) == ([], False)


def test_foreign_text_in_an_entry_keeps_nobody_from_being_claimed(
    redis_client: redis.Redis, world: None
) -> None:
    documents = [make_document() for _ in range(2)]
    odd = redis_keys.result(UUID(documents[0]["session_id"]))
    reason = "foreign text in an entry"
    control.set_mode(Mode.PAUSED, actor=control.Actor("settlement"), reason=reason)
    for document in documents:
        tasks.settle_combat(document)
    redis_client.hset(odd, mapping={"accepted_at": "soon", "claims": "many"})

    for mode in (Mode.DRAINING, Mode.RUNNING):
        control.set_mode(mode, actor=control.Actor("settlement"), reason=reason)
        tasks.settle_inbox()

    rows = CombatHistory.objects.filter(settlement_status="processed")
    assert rows.count() == 2
