"""The connections an engine keeps open between its calls."""

from __future__ import annotations

import multiprocessing

import pytest
import redis
from django.conf import settings

from persistence.dispatcher import SyncDispatcher
from persistence.engine.handoff import Receipt
from tests.support.documents import make_document
from tests.support.parallel import in_threads

pytestmark = pytest.mark.usefixtures("redis_client")

THREADS = 4


def _submit_at_once(engine: SyncDispatcher) -> list[Receipt]:
    """One hand-off a thread, all at the same moment: a connection for each."""
    receipts: list[Receipt] = []

    def submit() -> None:
        receipts.append(engine.submit_combat_sync(make_document()))

    in_threads(*[submit] * THREADS)
    return receipts


def test_a_call_is_answered_after_every_idle_connection_was_closed(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    assert _submit_at_once(engine) == [Receipt.ACCEPTED] * THREADS
    redis_client.client_kill_filter(_type="normal", skipme=True)

    assert _submit_at_once(engine) == [Receipt.ACCEPTED] * THREADS


def test_parent_and_child_of_a_fork_each_hear_their_own_answers() -> None:
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    known, new = make_document(), [make_document() for _ in range(50)]
    engine = SyncDispatcher(settings.REDIS_URL)
    engine.submit_combat_sync(known)

    def repeat() -> None:
        there.send([engine.submit_combat_sync(known) for _ in range(50)])

    child = context.Process(target=repeat)
    child.start()
    assert {engine.submit_combat_sync(one) for one in new} == {Receipt.ACCEPTED}
    assert set(here.recv()) == {Receipt.DUPLICATE}
    child.join()
    engine.close()
