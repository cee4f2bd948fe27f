"""What puts entries back into the inbox: when, and whether the delivery counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from uuid import UUID

import psycopg
import pytest
import redis
from django.db import connection
from pytest_django import Settings

from combat_history.models import Character, CombatHistory
from persistence.contract import redis_keys
from persistence.engine.handoff import Receipt, checked
from persistence.savers.registry import combat_saver
from persistence.tasks import settle_inbox
from persistence.worker import inbox
from persistence.worker.drain import ISOLATE_WITHIN_SECONDS, settle_entries
from tests.support.documents import HERO, make_document
from tests.support.parallel import character_locked

pytestmark = pytest.mark.usefixtures("world")


@pytest.fixture(autouse=True)
def _long_lease(settings: Settings) -> None:
    settings.SETTLEMENT_LEASE_MS = 60_000


def submit() -> UUID:
    handoff = checked(make_document())
    inbox.record(handoff)
    return handoff.session_id


def claims(client: redis.Redis, session_id: UUID) -> int:
    return int(client.hget(redis_keys.result(session_id), "claims") or 0)


def deliver(client: redis.Redis, session_id: UUID, times: int) -> None:
    """As if so many deliveries had come before."""
    client.hset(redis_keys.result(session_id), "claims", times)


def due_in_ms(client: redis.Redis, session_id: UUID) -> float:
    score = client.zscore(redis_keys.INBOX, str(session_id))
    assert score is not None, "the entry is gone"
    seconds, microseconds = client.time()
    return float(score) - (seconds * 1000 + microseconds / 1000)


@contextmanager
def waiting_connections_end() -> Iterator[None]:
    """Whoever waits for a lock in PostgreSQL loses the connection, again and again."""
    parameters = connection.get_connection_params()
    for name in ("cursor_factory", "context"):
        parameters.pop(name, None)
    over = Event()

    def end_them() -> None:
        with psycopg.connect(**parameters, autocommit=True) as other:
            while not over.wait(0.02):
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE wait_event_type = 'Lock' AND datname = current_database()"
                )

    ending = Thread(target=end_them)
    ending.start()
    try:
        yield
    finally:
        over.set()
        ending.join()


def test_a_lost_connection_is_no_delivery(
    settings: Settings, redis_client: redis.Redis
) -> None:
    settings.SETTLEMENT_BACKOFF_MS = 10_000
    first, again = submit(), submit()
    deliver(redis_client, again, 3)
    with character_locked(HERO), waiting_connections_end():
        settle_inbox()
    assert (claims(redis_client, first), claims(redis_client, again)) == (0, 3)
    assert 15_000 < due_in_ms(redis_client, first) <= 20_000
    assert due_in_ms(redis_client, again) <= 0

    inbox.put([first, again], override=True)
    settle_inbox()
    assert Character.objects.get(pk=HERO).gold == 10
    assert set(CombatHistory.objects.values_list("attempts", flat=True)) == {0}


def test_the_wait_after_a_transient_error_grows_to_a_bound(
    settings: Settings, redis_client: redis.Redis
) -> None:
    settings.SETTLEMENT_BACKOFF_MS = 10_000
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '50ms'")
    waits = {1: 20_000, 4: 160_000, 5: 320_000, 6: 320_000, 40: 320_000}
    with character_locked(HERO):
        for delivery, wait in waits.items():
            session_id = submit()
            deliver(redis_client, session_id, delivery - 1)
            settle_inbox()
            due = due_in_ms(redis_client, session_id)
            assert wait - 5_000 < due <= wait, delivery
            assert claims(redis_client, session_id) == delivery


def test_every_entry_is_put_back_for_its_moment(redis_client: redis.Redis) -> None:
    sessions = {submit() for _ in range(3)}
    entries, _ = inbox.claim(3)

    def now_ms() -> int:
        seconds, microseconds = redis_client.time()
        return seconds * 1000 + microseconds // 1000

    before = now_ms()
    inbox.release(entries, 10_000, uncount=True)
    after = now_ms()

    assert {entry.session_id for entry in entries} == sessions
    for session_id in sessions:
        score = redis_client.zscore(redis_keys.INBOX, str(session_id))
        assert before + 10_000 <= (score or 0) <= after + 10_000
        assert claims(redis_client, session_id) == 0


def test_isolation_that_used_its_time_puts_the_rest_back_at_once(
    redis_client: redis.Redis,
) -> None:
    session_id = submit()
    deliver(redis_client, session_id, 1)
    entries, _ = inbox.claim(1)
    assert due_in_ms(redis_client, session_id) > 30_000

    settle_entries(
        entries, time.monotonic() - ISOLATE_WITHIN_SECONDS - 0.1, combat_saver
    )

    assert due_in_ms(redis_client, session_id) <= 0
    assert claims(redis_client, session_id) == 2
    assert not CombatHistory.objects.exists()

    entries, _ = inbox.claim(1)
    settle_entries(
        entries, time.monotonic() - ISOLATE_WITHIN_SECONDS + 10, combat_saver
    )
    assert Character.objects.get(pk=HERO).gold == 5


def test_a_duplicate_that_waits_does_not_expire(redis_client: redis.Redis) -> None:
    document = make_document()
    handoff = checked(document)
    key = redis_keys.result(handoff.session_id)
    inbox.record(handoff)
    assert redis_client.ttl(key) == -1
    settle_inbox()
    assert 0 < redis_client.ttl(key) <= redis_keys.DAY_SECONDS

    receipt, _ = inbox.record(handoff)

    assert receipt is Receipt.DUPLICATE
    assert redis_client.ttl(key) == -1
    settle_inbox()
    assert 0 < redis_client.ttl(key) <= redis_keys.DAY_SECONDS


def test_claims_alone_do_not_let_a_result_expire(redis_client: redis.Redis) -> None:
    """A hash may be there before its document, with a life of its own."""
    handoff = checked(make_document())
    key = redis_keys.result(handoff.session_id)
    redis_client.hset(key, "claims", 1)
    redis_client.expire(key, 60)
    inbox.record(handoff)
    assert redis_client.ttl(key) == -1
