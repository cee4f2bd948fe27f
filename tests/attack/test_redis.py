"""As whoever reaches Redis: with the rights of each user there, and with none.

Beside tests/integration/test_redis_users.py, which tries what each may not.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import random
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis

from combat_history.models import CombatHistory, ParkedOperation, RejectedPayload
from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.contract.signing import EngineKeys
from tests.attack.stack import KEYS, Stack
from tests.support.documents import HERO, PELT, hero_fight, op
from tests.support.forging import forge
from tests.support.fuzz import Fuzz, call, envelope, raw
from tests.support.ids import new_session_id
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db

TIMES = int(os.environ.get("ATTACK_TIMES", "1"))

OURS = EngineKeys.parse(KEYS)
OTHERS = EngineKeys.parse("game-1:what-a-forger-guesses")

WRITERS = pytest.mark.parametrize("name", ["engine", "worker", "web"])
"""Who may write results and operations; no key to sign them by comes with the right."""

SID = new_session_id()
LINES: list[tuple[Any, ...]] = [
    ("HSET", redis_keys.result(SID), "raw", json.dumps(hero_fight(session_id=SID))),
    ("ZADD", redis_keys.INBOX, 1, str(SID)),
    ("RPUSH", redis_keys.inventory_delta(HERO), json.dumps(op("a", "add"))),
    ("HSET", redis_keys.account(HERO), "hp", 999_999_999),
    ("SET", redis_keys.tombstone(SID), "{}"),
    ("LPUSH", "celery", raw(envelope(call(hero_fight())))),
    ("DEL", redis_keys.INBOX, redis_keys.ACTIVE),
    ("EVAL", "return redis.call('DEL', 'combat:inbox')", 0),
    ("CONFIG", "SET", "dir", "/tmp"),
    ("FLUSHALL",),
    ("SHUTDOWN", "NOSAVE"),
]
BROADCASTS: list[tuple[str, dict[str, Any]]] = [
    ("shutdown", {}),
    ("pool_shrink", {"n": 10}),
    ("pool_restart", {"modules": ["os"], "reload": True}),
    ("cancel_consumer", {"queue": "celery"}),
    ("add_consumer", {"queue": "of-the-attacker"}),
    ("time_limit", {"task_name": "settle_combat", "soft": 0.001, "hard": 0.001}),
    ("rate_limit", {"task_name": "settle_inbox", "rate_limit": "1/h"}),
    ("revoke_by_stamped_headers", {"headers": {"x": "y"}, "terminate": True}),
    ("autoscale", {"max": 0, "min": 0}),
]


@pytest.mark.parametrize("name", [None, "probe", "bot", "flower"])
def test_who_has_no_part_in_it_can_write_nothing(
    stack: Stack, name: str | None
) -> None:
    for line in LINES:
        with (
            stack.redis_as(name) as client,
            pytest.raises(
                (redis.AuthenticationError, redis.exceptions.NoPermissionError)
            ),
        ):
            client.execute_command(*line)  # type: ignore[no-untyped-call]


@WRITERS
def test_a_result_that_is_written_there_is_worthless(stack: Stack, name: str) -> None:
    documents = [hero_fight(xp_gained=10**6, gold_gained=10**6) for _ in range(5)]
    documents[4]["meta"] |= {"finish_reason": "abandoned", "forced": True}
    stolen = OURS.sign(json.dumps(hero_fight()))
    marks: list[dict[str, str]] = [
        {},
        {"signature": stolen},
        {"signature": OTHERS.sign(json.dumps(documents[2]))},
        {"forced": "1", "replay": "1", "signature": "forced"},
        {},
    ]
    with stack.redis_as(name) as client:
        for document, fields in zip(documents, marks, strict=True):
            forge(client, document, **fields)

    must_have_failed(documents)


def test_a_result_that_is_sent_unsigned_is_worthless(stack: Stack) -> None:
    documents = [hero_fight(gold_gained=10**6) for _ in range(4)]
    texts = [json.dumps(document) for document in documents]
    signatures = ["", OTHERS.sign(texts[1]), OURS.sign(json.dumps(hero_fight())), None]
    with stack.celery_as("engine") as app:
        for text, signature in zip(texts, signatures, strict=True):
            app.send_task("settle_combat", args=[text, signature])

    must_have_failed(documents)


@WRITERS
def test_an_operation_that_is_written_there_is_worthless(
    stack: Stack, name: str
) -> None:
    grow = {"item_template_id": PELT, "qty": 1000}
    forged = [
        op("a", "add", **grow),
        op(f"admin:{uuid4()}", "add", **grow),
        OTHERS.sign_operation(HERO, op("b", "add", **grow)),
        OURS.sign_operation(102, op("c", "add", **grow)),
        {**OURS.sign_operation(HERO, op("d", "add", **grow)), "qty": 10**6},
    ]
    with stack.redis_as(name) as client, stack.celery_as("engine") as app:
        client.rpush(redis_keys.inventory_delta(HERO), *map(json.dumps, forged))
        app.send_task("task_sync_state", args=["inventory", HERO])

    wait_until(lambda: ParkedOperation.objects.count() == len(forged), "all are parked")
    codes = ParkedOperation.objects.values_list("code", flat=True)
    assert set(codes) == {"bad_signature"}


@pytest.mark.parametrize("name", ["worker", "flower"])
def test_a_broadcast_of_who_may_publish_does_nothing(stack: Stack, name: str) -> None:
    with stack.celery_as(name) as app:
        for command, arguments in BROADCASTS:
            app.control.broadcast(command, arguments=arguments)
        app.control.revoke([str(uuid4())], terminate=True, signal="SIGKILL")


@pytest.mark.parametrize("name", ["engine", "web", "bot", "probe"])
def test_nobody_else_may_publish(stack: Stack, name: str) -> None:
    with stack.redis_as(name) as client:
        for channel in ("/0.celery.pidbox", "/0.celeryev/worker.heartbeat"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.publish(channel, '{"method": "shutdown"}')


class Touch:
    """What a pickle does as it is read."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.file}",)


def test_no_message_runs_code_or_ends_a_worker(stack: Stack, tmp_path: Path) -> None:
    mark = tmp_path / "was-here"
    body = base64.b64encode(pickle.dumps([[Touch(mark)], {}, {}])).decode()
    pickled = [
        envelope(call(), body=body, **{"content-type": kind, "content-encoding": how})
        for kind in ("application/x-python-serialize", "application/x-yaml")
        for how in ("binary", "utf-8")
    ]
    fuzz = Fuzz(random.randrange(10**6))
    hostile = [fuzz.item()[2] for _ in range(20 * TIMES)]
    with stack.redis_as("engine") as client:
        for item in [*pickled, envelope([1]), b"\xff", *hostile]:
            client.lpush("celery", raw(item))

    with stack.redis_as("admin") as admin:
        wait_until(lambda: not admin.exists("celery"), "all are taken")
    assert RejectedPayload.objects.count() >= len(pickled)
    assert not mark.exists()


def must_have_failed(documents: list[Document]) -> None:
    ids = {document["session_id"] for document in documents}

    def found() -> dict[str, tuple[str, str | None]]:
        rows = CombatHistory.objects.filter(pk__in=ids)
        return {str(row.pk): (row.settlement_status, row.failure_code) for row in rows}

    wait_until(lambda: found().keys() == ids, "each has its row")
    assert set(found().values()) == {("failed", "bad_signature")}
