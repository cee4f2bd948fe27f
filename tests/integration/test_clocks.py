"""Whose clock says that a fight has not ended yet: the door's, and nobody else's."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import redis
from django.contrib.auth.models import User

from combat_history.actions.replay import replay
from combat_history.models import CombatHistory, RejectedPayload
from persistence.contract import redis_keys
from persistence.contract.errors import PayloadInvalid
from persistence.dispatcher import SyncDispatcher
from persistence.engine.handoff import Receipt, checked
from persistence.protocols import Delivery
from persistence.savers.combat_saver import CombatStateSaver
from persistence.tasks import settle_combat, settle_inbox, sweep
from persistence.worker.transactions import open_cursor
from settlement_project.celery import app
from tests.support.actions import REASON, status
from tests.support.api import NOBODY_LISTENS, post
from tests.support.documents import HERO, make_document
from tests.support.worker import running_worker, wait_idle

pytestmark = pytest.mark.usefixtures("world", "api")

SHIFTED = """
import time
_real = time.time
time.time = lambda: _real() + {shift}
"""


def now() -> int:
    return int(time.time())


def test_a_fight_of_the_future_is_refused_and_nothing_recorded(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    document = make_document(end_timestamp=now() + 400)

    with pytest.raises(PayloadInvalid, match="minutes in the future"):
        engine.submit_combat_sync(document)
    answer = post(document)

    assert answer.status_code == 422
    assert b"meta.end_timestamp" in answer.content
    assert not redis_client.exists(redis_keys.INBOX)
    assert not redis_client.keys(f"{redis_keys.RESULT_PREFIX}*")
    assert not CombatHistory.objects.exists()


def test_an_end_a_little_ahead_is_accepted(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    first, second, third = (make_document(end_timestamp=now() + 240) for _ in range(3))

    assert engine.submit_combat_sync(first) is Receipt.ACCEPTED
    assert post(second).status_code == 202
    settle_combat(third)
    settle_inbox()

    assert CombatHistory.objects.filter(settlement_status="processed").count() == 3


def test_a_task_of_the_future_fails_visibly_and_changes_no_account(
    redis_client: redis.Redis,
) -> None:
    document = make_document(end_timestamp=now() + 400)

    settle_combat(document)

    row = CombatHistory.objects.get()
    assert (row.settlement_status, row.failure_code) == ("failed", "invalid_payload")
    assert "in the future" in (row.failure_detail or "")
    assert not redis_client.exists(redis_keys.account(HERO))


def test_what_was_accepted_is_a_duplicate_whatever_the_clock_says(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    document = make_document(end_timestamp=now() + 400)
    handoff = checked(document)
    key = redis_keys.result(handoff.session_id)
    redis_client.hset(key, mapping={"sha256": handoff.sha256})

    assert engine.submit_combat_sync(document) is Receipt.DUPLICATE


def test_without_redis_the_clock_of_postgresql_judges(
    settings: pytest.FixtureRequest, redis_client: redis.Redis
) -> None:
    settings.REDIS_URL = NOBODY_LISTENS  # type: ignore[attr-defined]

    assert post(make_document(end_timestamp=now() + 400)).status_code == 422
    assert not CombatHistory.objects.exists()
    assert post(make_document(end_timestamp=now() + 240)).status_code == 202
    assert CombatHistory.objects.count() == 1


def test_an_entry_without_a_time_is_judged_by_postgresql(
    redis_client: redis.Redis,
) -> None:
    for ahead, session in ((240, "processed"), (400, "failed")):
        document = make_document(end_timestamp=now() + ahead)
        handoff = checked(document)
        key = redis_keys.result(handoff.session_id)
        redis_client.hset(key, mapping={"raw": handoff.raw, "sha256": handoff.sha256})
        redis_client.zadd(redis_keys.INBOX, {document["session_id"]: 0})
        settle_inbox()
        assert status(UUID(document["session_id"])) == session


def test_a_fight_that_failed_for_a_wrong_clock_settles_when_it_is_replayed(
    admin: User,
) -> None:
    """Judged long ago by a clock that was behind; the moment is past by now."""
    document = make_document(end_timestamp=now() - 60)
    session_id = UUID(document["session_id"])
    handoff = checked(document)
    behind = datetime.now(UTC) - timedelta(hours=1)
    with open_cursor() as cursor:
        CombatStateSaver(cursor).settle(
            [Delivery(session_id, handoff.raw, handoff.sha256, behind)]
        )
    assert status(session_id) == "failed"

    replay([session_id], actor=admin, reason=REASON)
    settle_inbox()

    assert status(session_id) == "processed"


@pytest.mark.parametrize("shift", [-600, 600])
def test_a_worker_with_a_wrong_clock_judges_like_any_other(
    redis_client: redis.Redis, tmp_path: Path, shift: int
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SHIFTED.format(shift=shift))
    late = make_document(end_timestamp=now() + 400)
    documents = [make_document(end_timestamp=now() - ago) for ago in (0, 5, 3600)]

    with running_worker(tmp_path, PYTHONPATH=str(tmp_path)) as worker:
        sent = [
            app.send_task("settle_combat", args=[document]).id
            for document in [*documents, late]
        ]
        worker.wait_succeeded(sent)
        wait_idle()

    assert {status(UUID(d["session_id"])) for d in documents} == {"processed"}
    assert status(UUID(late["session_id"])) == "failed"
    assert not RejectedPayload.objects.exists()


def test_a_row_that_waited_is_judged_when_it_was_received(
    redis_client: redis.Redis,
) -> None:
    document = make_document(end_timestamp=now() + 240)
    handoff = checked(document)
    with open_cursor() as cursor:
        CombatStateSaver(cursor).receive(
            Delivery(handoff.session_id, handoff.raw, handoff.sha256)
        )
    CombatHistory.objects.update(due_at=datetime(2020, 1, 1, tzinfo=UTC))

    sweep()
    settle_inbox()

    assert status(handoff.session_id) == "processed"
