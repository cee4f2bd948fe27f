"""Bodies at the edge of what can be read: the pool reads them again, from deeper."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import redis
from django.conf import settings

from combat_history.models import CombatHistory, RejectedPayload
from tests.support.documents import make_document
from tests.support.fuzz import envelope, raw
from tests.support.waiting import wait_until
from tests.support.worker import running_worker, wait_idle

DEPTHS = range(900, 1000)


def body(depth: int) -> str:
    """As a sender writes it whose own stack is no matter."""
    document = json.dumps(make_document(note=0))[:-2]
    return f"[[{document}{'[' * depth}{']' * depth}}}], {{}}, {{}}]"


def test_no_body_that_only_the_consumer_can_read_is_lost(
    world: None, tmp_path: Path
) -> None:
    with (
        running_worker(tmp_path) as worker,
        redis.Redis.from_url(settings.BROKER_URL) as broker,
    ):
        first = worker.children()
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        # Their successors are forked from deep within the event loop.
        wait_until(
            lambda: len(set(worker.children()) - set(first)) == len(first),
            "the pool is whole again",
        )
        broker.lpush("celery", *(raw(envelope(body(depth))) for depth in DEPTHS))

        def ended() -> int:
            return CombatHistory.objects.count() + RejectedPayload.objects.count()

        wait_until(lambda: ended() == len(DEPTHS), "all have ended")
        wait_idle()
        # From 3.12 on, Python's own frames take nothing of what a parser may nest.
        is_read_from_anywhere = sys.version_info >= (3, 12)
        assert is_read_from_anywhere or "DecodeError" in worker.output()
