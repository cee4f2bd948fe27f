"""The inbox: leases, removal with our lease alone, redelivery, backoff."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from uuid import UUID

import pytest
import redis
from django.db import connection
from pytest_django import Settings

from combat_history.models import (
    Character,
    CombatHistory,
    RejectedPayload,
    SettlementAttempt,
    Status,
)
from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.engine.handoff import Receipt, checked
from persistence.savers.registry import combat_saver
from persistence.tasks import settle_combat, settle_inbox
from persistence.worker import entries, inbox
from persistence.worker.drain import settle_entries
from persistence.worker.entries import Entry
from tests.support.documents import HERO, make_document, make_participant
from tests.support.factories import add_character
from tests.support.ids import new_session_id
from tests.support.parallel import character_locked
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("world")

LONG_MS = 60_000


@pytest.fixture(autouse=True)
def _long_lease(settings: Settings) -> None:
    """No lease runs out by itself; what needs one to says so."""
    settings.SETTLEMENT_LEASE_MS = LONG_MS


def submit(count: int = 1) -> list[Document]:
    documents = [make_document() for _ in range(count)]
    for document in documents:
        inbox.record(checked(document))
    return documents


def claim() -> list[Entry]:
    entries, _ = inbox.claim(100)
    return entries


def claim_once_due() -> Entry:
    found: list[Entry] = []

    def is_due() -> bool:
        entries = claim()
        found.extend(entries)
        return bool(entries)

    wait_until(is_due, "an entry is due")
    return found[0]


def settle_now(entries: Sequence[Entry]) -> None:
    settle_entries(entries, time.monotonic(), combat_saver)


def due_in_ms(client: redis.Redis, session_id: str) -> float:
    score = client.zscore(redis_keys.INBOX, session_id)
    assert score is not None, "the entry is gone"
    seconds, microseconds = client.time()
    return float(score) - (seconds * 1000 + microseconds / 1000)


def statuses() -> set[str]:
    return set(CombatHistory.objects.values_list("settlement_status", flat=True))


def test_lease_is_honoured_until_it_runs_out(
    settings: Settings, redis_client: redis.Redis
) -> None:
    settings.SETTLEMENT_LEASE_MS = 300
    (document,) = submit()

    (entry,) = claim()
    assert claim() == []
    assert 0 < due_in_ms(redis_client, document["session_id"]) <= 300

    again = claim_once_due()
    assert (entry.claims, again.claims) == (1, 2)
    assert (entry.session_id, entry.raw) == (again.session_id, again.raw)


def test_late_worker_removes_nothing_of_the_one_who_holds_it_now(
    settings: Settings, redis_client: redis.Redis
) -> None:
    settings.SETTLEMENT_LEASE_MS = 1
    (document,) = submit()
    (late,) = claim()
    settings.SETTLEMENT_LEASE_MS = LONG_MS
    holder = claim_once_due()

    settle_now([late])
    inbox.release([late], 0, uncount=True)

    assert due_in_ms(redis_client, document["session_id"]) > LONG_MS / 2
    assert not redis_client.exists(redis_keys.tombstone(late.session_id))
    settle_now([holder])
    assert redis_client.exists(redis_keys.tombstone(late.session_id))
    assert not redis_client.exists(redis_keys.INBOX)
    assert Character.objects.get().gold == 5


def test_replay_put_in_between_claim_and_finish_survives(
    redis_client: redis.Redis,
) -> None:
    (document,) = submit()
    entries = claim()
    assert inbox.put([UUID(document["session_id"])], override=True) == 1

    settle_now(entries)

    assert statuses() == {"processed"}
    assert due_in_ms(redis_client, document["session_id"]) <= 0
    settle_inbox()
    assert Character.objects.get().gold == 5
    assert not redis_client.exists(redis_keys.INBOX)


def test_sweep_puts_nothing_over_a_held_lease(redis_client: redis.Redis) -> None:
    (document,) = submit()
    claim()

    assert inbox.put([UUID(document["session_id"])]) == 0

    assert due_in_ms(redis_client, document["session_id"]) > LONG_MS / 2


def test_conflict_between_claim_and_finish_is_recorded(
    redis_client: redis.Redis,
) -> None:
    (document,) = submit()
    entries = claim()
    other = {**document, "note": "other"}
    assert inbox.record(checked(other))[0] is Receipt.CONFLICT

    settle_now(entries)

    assert not RejectedPayload.objects.exists()
    settle_inbox()
    conflict = RejectedPayload.objects.get()
    assert (conflict.code, str(conflict.session_id)) == (
        "payload_conflict",
        document["session_id"],
    )
    assert json.loads(bytes(conflict.raw or b"")) == other
    assert Character.objects.get().gold == 5
    assert not redis_client.exists(redis_keys.INBOX)


def test_at_most_five_conflicts_are_held_and_all_are_refused() -> None:
    (document,) = submit()
    receipts = {
        inbox.record(checked({**document, "note": number}))[0] for number in range(8)
    }

    settle_inbox()

    assert receipts == {Receipt.CONFLICT}
    assert RejectedPayload.objects.count() == redis_keys.MAX_CONFLICTS_HELD
    assert Character.objects.get().gold == 5


def test_original_is_a_duplicate_even_where_redis_met_another_body_first(
    redis_client: redis.Redis,
) -> None:
    """After 24 h Redis has forgotten; PostgreSQL's body is the one that counts."""
    original = make_document()
    settle_combat(original)
    redis_client.flushdb()
    settle_combat({**original, "note": "other"})
    assert RejectedPayload.objects.count() == 1

    receipt, _ = inbox.record(checked(original))
    settle_inbox()

    assert receipt is Receipt.DUPLICATE
    assert RejectedPayload.objects.count() == 1


def test_redelivered_entries_are_settled_alone(redis_client: redis.Redis) -> None:
    documents = submit(3)
    claim()
    inbox.put([UUID(d["session_id"]) for d in documents], override=True)
    submit(2)

    settle_inbox()

    tries = SettlementAttempt.objects.all()
    assert {str(each.session_id) for each in tries} == {
        document["session_id"] for document in documents
    }
    assert {each.outcome for each in tries} == {"processed"}
    assert all(each.ended_at for each in tries)
    assert statuses() == {"processed"}
    assert CombatHistory.objects.count() == 5
    assert set(CombatHistory.objects.values_list("attempts", flat=True)) == {0}
    assert not redis_client.exists(redis_keys.INBOX)


def test_tries_that_never_ended_make_a_combat_poison(settings: Settings) -> None:
    """Its worker died with it so often; see tests/chaos for real deaths."""
    (document,) = submit()
    settings.SETTLEMENT_MAX_ATTEMPTS = 2
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO combat_history (session_id, participant_ids, result_payload,"
            " attempts) VALUES (%s, '{101}', %s, 2)",
            [document["session_id"], json.dumps(document)],
        )
    claim()
    inbox.put([UUID(document["session_id"])], override=True)

    settle_inbox()

    row = CombatHistory.objects.get()
    assert (row.settlement_status, row.failure_code) == ("failed", "poison")
    assert Character.objects.get().gold == 0


def test_entry_behind_a_locked_character_goes_back_with_backoff(
    settings: Settings, redis_client: redis.Redis
) -> None:
    settings.SETTLEMENT_BACKOFF_MS = 10_000
    add_character(102)
    (blocked,) = submit()
    inbox.record(checked(make_document({"102": make_participant(gold_gained=3)})))
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '50ms'")

    with character_locked(HERO):
        settle_inbox()

        assert Character.objects.get(pk=102).gold == 3, "the other is settled"
        row = CombatHistory.objects.get(pk=blocked["session_id"])
        assert (row.settlement_status, row.attempts) == ("pending", 0)
        first = due_in_ms(redis_client, blocked["session_id"])
        assert 15_000 < first <= 20_000

        inbox.put([row.session_id], override=True)
        settle_inbox()
        second = due_in_ms(redis_client, blocked["session_id"])
        assert 35_000 < second <= 40_000

    inbox.put([row.session_id], override=True)
    settle_inbox()
    assert Character.objects.get(pk=HERO).gold == 5
    assert CombatHistory.objects.get(pk=row.pk).attempts == 0


def test_claim_takes_no_more_bytes_than_a_batch_may_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(entries, "MAX_CLAIM_BYTES", 2500)
    for _ in range(5):
        inbox.record(checked(make_document(note="x" * 1000)))

    claims = [inbox.claim(100) for _ in range(3)]

    assert [(len(entries), more) for entries, more in claims] == [
        (2, True),
        (2, True),
        (1, False),
    ]


@pytest.mark.parametrize("member", [b"garbage", b"\xff\xfe", b"A" * 36, b""])
def test_foreign_member_is_dropped_loudly(
    redis_client: redis.Redis, caplog: pytest.LogCaptureFixture, member: bytes
) -> None:
    redis_client.zadd(redis_keys.INBOX, {member: 0})
    submit(1)

    settle_inbox()

    assert statuses() == {"processed"}
    assert not redis_client.exists(redis_keys.INBOX)
    assert "inbox member is no session id" in caplog.text
    assert redis_client.keys("combat:result:*") == [
        redis_keys.result(CombatHistory.objects.get().session_id).encode()
    ]


def test_result_key_of_a_foreign_type_does_not_stop_the_others(
    redis_client: redis.Redis,
) -> None:
    session_id = new_session_id()
    redis_client.set(redis_keys.result(session_id), "foreign")
    inbox.put([session_id])
    submit(2)

    settle_inbox()

    assert Character.objects.get().gold == 10


@pytest.mark.parametrize("claims", ["x", "nan", "-3", "1.5", "9" * 20])
def test_claims_that_are_no_number_stop_nobody(
    redis_client: redis.Redis, claims: str
) -> None:
    for sid in (document["session_id"] for document in submit(2)):
        redis_client.hset(redis_keys.result(UUID(sid)), "claims", claims)

    assert [entry.claims for entry in claim()] == [1, 1]


def test_entry_without_payload_and_row_is_rejected_as_lost(
    redis_client: redis.Redis,
) -> None:
    session_id = new_session_id()
    inbox.put([session_id])

    settle_inbox()

    lost = RejectedPayload.objects.get()
    assert (lost.code, lost.session_id) == ("payload_lost", session_id)
    assert not redis_client.keys("*combat:*")


def test_lost_payload_does_not_take_the_sessions_net_along(
    redis_client: redis.Redis,
) -> None:
    document = make_document()
    key = redis_keys.session(UUID(document["session_id"]))
    redis_client.hset(key, "status", "finished")
    redis_client.hset(key, "result", json.dumps(document))
    inbox.put([UUID(document["session_id"])])

    settle_inbox()

    settled = CombatHistory.objects.filter(settlement_status="processed").exists()
    assert settled or redis_client.hget(key, "result") is not None


def test_a_message_that_no_replica_has_heard_of_is_kept_by_postgres(
    settings: Settings,
) -> None:
    settings.SETTLEMENT_SUBMIT_REPLICAS = 1
    document = make_document()

    settle_combat(document)

    row = CombatHistory.objects.get(pk=document["session_id"])
    assert row.settlement_status == Status.PENDING
