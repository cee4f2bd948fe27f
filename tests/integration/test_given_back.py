"""Messages that a dead worker held come back, whatever else lies beside them."""

from __future__ import annotations

import json

import redis
from django.conf import settings
from django.db.models import Sum

from combat_history.models import CombatHistory, RejectedPayload
from tests.support.documents import make_document
from tests.support.fuzz import call, envelope
from tests.support.waiting import wait_until
from tests.support.worker import CeleryProcess, wait_idle

ODD = {
    "no JSON": b"junk",
    "no list": b"null",
    "too few": b"[1]",
    "text": b'["x", "", "celery"]',
    "no address": json.dumps([envelope(call(make_document())), 1, {}]).encode(),
    "headers are none": b'[{"body": "x", "headers": 1, "properties": 2}, "", "celery"]',
    "bottomless": b"[" * 100_000,
}


def kept() -> int:
    return RejectedPayload.objects.aggregate(seen=Sum("times_seen"))["seen"] or 0


def test_what_is_no_message_holds_no_message_up_and_is_kept(
    world: None, worker: CeleryProcess
) -> None:
    message = [envelope(call(make_document())), "", "celery"]
    held = {**ODD, "sound": json.dumps(message).encode()}
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        broker.hset("unacked", mapping=held)
        # The newest first: each of the others would be in the way.
        broker.zadd("unacked_index", dict.fromkeys(ODD, 1) | {"sound": 0.5})
        broker.zadd("unacked_index", {"gone": 0.7})

        wait_until(lambda: kept() == len(ODD), "all of it is kept")
        assert CombatHistory.objects.get().settlement_status == "processed"
        wait_idle()
        assert not broker.exists("unacked_index")
    assert worker.is_alive
