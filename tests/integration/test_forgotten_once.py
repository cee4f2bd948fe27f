"""What Redis lost and was handed over again is applied once, all the way through."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest
import redis
from django.conf import settings
from django.db.models import Sum

from combat_history.models import Character, CombatHistory, InventoryItem
from persistence.contract.errors import DispatchFailed, HandoffFailed
from persistence.dispatcher import SyncDispatcher
from settlement_project.celery import app
from tests.support.documents import HERO, make_document, make_participant, op
from tests.support.waiting import wait_until
from tests.support.worker import CeleryProcess, wait_idle

SECONDS = 3.0
PAUSE = 1 / 30
"""Of each of the two callers: sixty calls a second."""

XP = 10


@pytest.mark.usefixtures("world")
def test_results_and_operations_are_applied_once_though_redis_is_emptied(
    worker: CeleryProcess, redis_client: redis.Redis
) -> None:
    engine = SyncDispatcher(settings.REDIS_URL, settings.BROKER_URL)
    before = Character.objects.get(pk=HERO).xp
    accepted: list[str] = []
    queued: list[str] = []

    def submit() -> None:
        document = make_document({str(HERO): make_participant(xp_gained=XP)})
        with contextlib.suppress(HandoffFailed):
            engine.submit_combat_sync(document)
            accepted.append(document["session_id"])

    def add() -> None:
        op_id = str(time.monotonic_ns())
        pelt = op(op_id, "add", item_template_id="wolf_pelt", qty=1)
        with contextlib.suppress(DispatchFailed):
            engine.change_inventory_sync(HERO, [pelt])
            queued.append(op_id)

    def play(call: object) -> None:
        assert callable(call)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            call()
            time.sleep(PAUSE)

    def is_applied() -> bool:
        app.send_task("sweep")
        app.send_task("settle_inbox")
        time.sleep(0.5)
        return pelts() >= len(queued) and (
            CombatHistory.objects.filter(settlement_status="processed").count()
            >= len(accepted)
        )

    threads = [threading.Thread(target=play, args=(call,)) for call in (submit, add)]
    threads += [threading.Timer(s, redis_client.flushdb) for s in (0.8, 1.6, 2.4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.close()
    wait_until(is_applied, "all that was accepted is applied")
    wait_idle()

    assert min(len(accepted), len(queued)) > 20
    assert pelts() == len(queued)
    assert Character.objects.get(pk=HERO).xp == before + XP * len(accepted)
    settled = CombatHistory.objects.filter(settlement_status="processed")
    assert {str(row.pk) for row in settled} == set(accepted)


def pelts() -> int:
    found = InventoryItem.objects.filter(
        character_id=HERO, item_template_id="wolf_pelt"
    ).aggregate(pieces=Sum("quantity"))
    return int(found["pieces"] or 0)
