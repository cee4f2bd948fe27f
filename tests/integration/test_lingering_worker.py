"""A worker of one process lingers, and serves whatever else comes."""

from __future__ import annotations

import re
import time
from pathlib import Path
from uuid import UUID

import pytest
import redis
from django.contrib.auth.models import User

from combat_history.actions.replay import replay
from combat_history.models import Character, CombatHistory
from persistence.contract import redis_keys
from persistence.dispatcher import SyncDispatcher
from settlement_project.celery import app
from tests.support.documents import make_document
from tests.support.events import events
from tests.support.waiting import wait_until
from tests.support.worker import running_worker

pytestmark = pytest.mark.usefixtures("world")

LONG_SECONDS = 60
"""How long a drain would wait if nothing ended it."""

STRANGER = 404

_SWEPT = re.compile(r"Task sweep\[[\w-]+\] succeeded")


def test_one_process_settles_without_messages_and_serves_all_others(
    redis_client: redis.Redis, engine: SyncDispatcher, tmp_path: Path
) -> None:
    def linger() -> None:
        if not redis_client.exists(redis_keys.LINGERER):
            app.send_task("settle_inbox")
        wait_until(lambda: redis_client.exists(redis_keys.LINGERER), "it lingers")

    def submit(document: dict[str, object]) -> str:
        engine.submit_combat_sync(document)
        session_id = str(document["session_id"])
        wait_until(lambda: _status(session_id) not in ("", "pending"), "settled")
        return session_id

    failing = make_document({str(STRANGER): make_document()["participants"]["101"]})
    worker_of_one = running_worker(
        tmp_path,
        concurrency=1,
        SETTLEMENT_LINGER="1",
        SETTLEMENT_DRAIN_SECONDS=str(LONG_SECONDS),
        SETTLEMENT_HARD_LIMIT_SECONDS="120",
        SETTLEMENT_LEASE_MS="125000",
    )
    with worker_of_one as worker:
        # Or the one that it sends itself at its start would end the waiting.
        wait_until(lambda: _SWEPT.search(worker.output()), "the first sweep has ended")
        linger()
        with events() as seen:
            assert {_status(submit(make_document())) for _ in range(3)} == {"processed"}
            assert _status(submit(failing)) == "failed"
        assert not [e for e in seen if e["type"].startswith("task-")]

        for name, *args in (("task_sync_state", "inventory", 101), ("sweep",)):
            linger()
            began = time.monotonic()
            worker.wait_succeeded([app.send_task(name, args=args).id])
            assert time.monotonic() - began < LONG_SECONDS / 2

        linger()
        Character.objects.create(id=STRANGER, name="come late")
        actor = User.objects.create_superuser("lingering")
        session_id = str(failing["session_id"])
        replay([UUID(session_id)], actor=actor, reason="the character is there now")
        wait_until(lambda: _status(session_id) == "processed", "replayed")

        linger()
        told = time.monotonic()
        assert worker.terminate() == 0
        assert time.monotonic() - told < LONG_SECONDS / 2


def _status(session_id: str) -> str:
    row = CombatHistory.objects.filter(pk=session_id).first()
    return "" if row is None else str(row.settlement_status)
