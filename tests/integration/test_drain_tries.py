"""Every way a try of a drain may end: what is written, counted and logged of it.

Errors are PostgreSQL's own: a trigger raises the first so many times, and a sequence,
which no rollback takes back, counts how often it was asked.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import redis
from django.db import connection
from django.db.models import Sum
from pytest_django import Settings

from combat_history.models import (
    Character,
    CombatHistory,
    MinuteCount,
    RejectedPayload,
    SettlementAttempt,
)
from persistence.contract import redis_keys
from persistence.engine.handoff import checked
from persistence.savers.registry import combat_saver
from persistence.worker import counts, drain, inbox
from persistence.worker.inbox import Entry
from tests.support.documents import HERO, make_document, make_participant
from tests.support.redis_server import redis_away

pytestmark = pytest.mark.usefixtures("world")

CONTENTION, CONNECTION, UNFORESEEN = "40001", "08006", "23514"

LOST = "57P01"
"""As CONNECTION; and the connection is really gone."""

ALWAYS = 1000

REFUSE = """
CREATE SEQUENCE refused_{table};
CREATE FUNCTION refuse_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('refused_{table}') <= {times} THEN
        IF '{sqlstate}' = '{lost}' THEN
            PERFORM pg_terminate_backend(pg_backend_pid());
        END IF;
        RAISE EXCEPTION 'not now' USING ERRCODE = '{sqlstate}';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER refuse BEFORE {verb} ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_{table}();
"""

FORGET = """
DROP TRIGGER refuse ON {table};
DROP FUNCTION refuse_{table};
DROP SEQUENCE refused_{table};
"""

HISTORY, LEDGER = ("combat_history", "INSERT"), ("settlement_ledger", "INSERT")
TRIES = ("settlement_attempts", "UPDATE")


@contextmanager
def refused(
    where: tuple[str, str], sqlstate: str, times: int = ALWAYS
) -> Iterator[Callable[[], int]]:
    """So many statements end in that error. Yields how many there were, with others."""
    table, verb = where

    def asked() -> int:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT last_value, is_called FROM refused_{table}")
            value, is_called = cursor.fetchone()
        return int(value) if is_called else 0

    with connection.cursor() as cursor:
        cursor.execute(
            REFUSE.format(
                table=table, verb=verb, times=times, sqlstate=sqlstate, lost=LOST
            )
        )
    try:
        yield asked
    finally:
        with connection.cursor() as cursor:
            cursor.execute(FORGET.format(table=table))


@pytest.fixture(autouse=True)
def _long_waits(settings: Settings) -> None:
    settings.SETTLEMENT_LEASE_MS = 60_000
    settings.SETTLEMENT_BACKOFF_MS = 60_000


def submitted(count: int = 1, claims: int = 0) -> list[Entry]:
    """Entries as a drain claims them; `claims`: deliveries before this one."""
    entries: list[Entry] = []
    for _ in range(count):
        handoff = checked(make_document())
        inbox.record(handoff)
        key = redis_keys.result(handoff.session_id)
        inbox.client().hset(key, "claims", claims)
        entries += inbox.claim(1)[0]
    return entries


def settle(entries: Sequence[Entry]) -> bool:
    return drain.settle_entries(entries, time.monotonic(), combat_saver)


def row_of(entry: Entry) -> CombatHistory:
    return CombatHistory.objects.get(pk=entry.session_id)


def is_in_the_inbox(entry: Entry) -> bool:
    members = inbox.client().zrange(redis_keys.INBOX, 0, -1)
    return str(entry.session_id).encode() in members


def claims_of(entry: Entry) -> bytes | None:
    key = redis_keys.result(entry.session_id)
    found: bytes | None = inbox.client().hget(key, "claims")  # type: ignore[assignment]
    return found


def live(entry: Entry) -> str:
    key = redis_keys.session(entry.session_id)
    inbox.client().hset(key, "status", "finished")
    return key


def ends() -> dict[UUID, tuple[str, str, bool]]:
    """Of the tries: outcome, code, and whether they ended."""
    return {
        each.session_id: (each.outcome, each.code, each.ended_at is not None)
        for each in SettlementAttempt.objects.all()
    }


def counted() -> dict[str, int]:
    assert counts.flush()
    found = MinuteCount.objects.values_list("name").annotate(total=Sum("count"))
    return {name: total for name, total in found if total}


Line = tuple[str, str, int, int]
Lines = Callable[[Sequence[Entry]], list[Line]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """Of the try of each entry: outcome, code, attempt, level."""
    caplog.set_level(logging.INFO, "persistence.worker.drain")
    began = time.monotonic()

    def found(entries: Sequence[Entry]) -> list[Line]:
        records: list[Any] = [r for r in caplog.records if r.message == "combat"]
        assert [r.session_id for r in records] == [e.session_id for e in entries]
        most = (time.monotonic() - began) * 1000
        for record in records:
            assert isinstance(record.duration_ms, float)
            assert 0 < record.duration_ms <= most + 0.1
            assert record.duration_ms == round(record.duration_ms, 1)
        return [(r.outcome, r.code, r.attempt, r.levelno) for r in records]

    return found


def test_a_batch_is_settled_counted_and_logged(
    lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    counted()
    MinuteCount.objects.all().delete()
    entries = submitted(2)

    assert settle(entries) is True

    assert {row_of(entry).settlement_status for entry in entries} == {"processed"}
    assert not ends()
    assert counted() == {"combat.processed": 2, "effects.applied": 2}
    assert lines(entries) == [("processed", "", 1, logging.INFO)] * 2
    assert "refused" not in caplog.text, "these stand: no account is put right"


def test_the_receipt_is_of_the_moment_and_the_hash_that_the_door_recorded() -> None:
    (entry,) = submitted()
    assert entry.accepted_at_ms is not None
    of_another_version = replace(entry, sha256="f" * 64)

    settle([of_another_version])

    row = row_of(entry)
    recorded = datetime.fromtimestamp(entry.accepted_at_ms / 1000, UTC)
    assert (row.received_at, row.payload_sha256) == (recorded, "f" * 64)


@pytest.mark.parametrize("claims", [0, 1])
def test_without_a_moment_the_receipt_is_postgresqls(
    redis_client: redis.Redis, claims: int
) -> None:
    handoff = checked(make_document())
    inbox.record(handoff)
    key = redis_keys.result(handoff.session_id)
    redis_client.hset(key, "accepted_at", "yesterday")
    redis_client.hset(key, "claims", claims)
    (entry,), _ = inbox.claim(1)

    settle([entry])

    assert row_of(entry).settlement_status == "processed"


def test_a_batch_that_met_others_is_tried_again_as_a_whole(
    caplog: pytest.LogCaptureFixture,
) -> None:
    entries = submitted(2)

    with refused(LEDGER, CONTENTION, times=1) as asked:
        assert settle(entries) is True
        assert asked() == 2

    assert {row_of(entry).settlement_status for entry in entries} == {"processed"}
    assert not ends()
    (record,) = rolled_back(caplog)
    assert (record.transient, record.combats) == ("contention", 2)
    assert record.error.startswith("SerializationFailure: not now")
    assert not record.exc_info


def rolled_back(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [r for r in caplog.records if r.message == "batch rolled back"]


def test_a_batch_that_met_them_again_is_taken_apart() -> None:
    entries = submitted(2)

    with refused(LEDGER, CONTENTION, times=2) as asked:
        assert settle(entries) is True
        assert asked() == 4

    assert {row_of(entry).settlement_status for entry in entries} == {"processed"}
    assert ends() == {e.session_id: ("processed", "", True) for e in entries}


def test_a_batch_with_an_unforeseen_error_is_taken_apart_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    entries = submitted(2)

    with refused(LEDGER, UNFORESEEN, times=1) as asked:
        assert settle(entries) is True
        assert asked() == 3

    assert {row_of(entry).settlement_status for entry in entries} == {"processed"}
    (record,) = rolled_back(caplog)
    assert (record.transient, record.combats) == ("no", 2)
    assert record.exc_info


def test_where_postgresql_is_away_all_goes_back_and_nothing_counts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, again = submitted(2), submitted(claims=3)

    with refused(LEDGER, CONNECTION) as asked:
        assert settle([*first, *again]) is False
        assert asked() == 2

    assert [claims_of(entry) for entry in (*first, *again)] == [b"0", b"0", b"3"]
    assert all(map(is_in_the_inbox, (*first, *again)))
    assert not CombatHistory.objects.exists()
    assert [record.transient for record in rolled_back(caplog)] == ["connection"] * 2


def test_a_batch_that_lost_its_connection_is_tried_again_on_another() -> None:
    entries = submitted(2)

    with refused(LEDGER, LOST, times=1):
        assert settle(entries) is True

    assert {row_of(entry).settlement_status for entry in entries} == {"processed"}
    assert not ends()


def backend() -> int:
    """The process of PostgreSQL's that we talk to."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    return int(pid)


@pytest.mark.parametrize("claims", [0, 1], ids=["together", "alone"])
@pytest.mark.parametrize(
    ("sqlstate", "stays"), [(CONTENTION, True), (CONNECTION, False)]
)
def test_who_is_sent_away_comes_back_on_another_connection(
    claims: int, sqlstate: str, stays: bool
) -> None:
    """As a server does that shuts down, or a pooler whose server is gone."""
    entries = submitted(claims=claims)
    before = backend()

    with refused(LEDGER, sqlstate, times=1):
        settle(entries)
        assert (backend() == before) is stays


def test_alone_a_try_that_lost_its_connection_is_taken_back_on_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (entry,) = submitted(claims=1)

    with refused(LEDGER, LOST, times=1):
        settle([entry])

    row = row_of(entry)
    assert (row.settlement_status, row.attempts) == ("pending", 0)
    assert "try not taken back" not in caplog.text


def test_alone_each_is_a_try_of_this_worker_with_a_lease(lines: Lines) -> None:
    (entry,) = submitted(claims=1)

    with refused(LEDGER, CONTENTION):
        assert settle([entry]) is True

    row = row_of(entry)
    assert (row.settlement_status, row.attempts) == ("pending", 0)
    assert row.due_at is not None
    assert row.due_at > row.received_at
    attempt = SettlementAttempt.objects.get()
    assert attempt.worker == f"{os.uname().nodename}:{os.getpid()}"
    assert ends() == {entry.session_id: ("failed", "transient", True)}
    assert attempt.detail.startswith("SerializationFailure: not now")
    assert (is_in_the_inbox(entry), claims_of(entry)) == (True, b"2")
    assert lines([entry]) == [("retry", "transient", 2, logging.WARNING)]


def test_alone_and_at_the_second_try_it_is_settled(lines: Lines) -> None:
    (entry,) = submitted(claims=1)

    assert settle([entry]) is True

    assert row_of(entry).settlement_status == "processed"
    assert ends() == {entry.session_id: ("processed", "", True)}
    assert lines([entry]) == [("processed", "", 2, logging.INFO)]


def test_a_receipt_that_could_not_be_written_leaves_nothing_to_take_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (entry,) = submitted(claims=1)

    with refused(HISTORY, CONTENTION):
        settle([entry])

    assert is_in_the_inbox(entry)
    assert not ends()
    assert "try not taken back" not in caplog.text


def test_what_no_row_can_be_written_of_is_kept_with_its_error() -> None:
    (entry,) = submitted(claims=1)

    with refused(HISTORY, UNFORESEEN):
        settle([entry])

    assert not CombatHistory.objects.exists()
    rejected = RejectedPayload.objects.get()
    assert (rejected.session_id, rejected.code) == (entry.session_id, "unexpected")
    assert bytes(rejected.raw or b"") == entry.raw
    (error,) = rejected.errors
    assert error["path"] == ""
    assert error["message"].startswith("CheckViolation: not now")
    assert not is_in_the_inbox(entry)


def test_alone_an_unforeseen_error_fails_the_combat_with_all_that_is_known(
    lines: Lines,
) -> None:
    (entry,) = submitted(claims=1)
    session = live(entry)

    with refused(LEDGER, UNFORESEEN):
        assert settle([entry]) is True

    row = row_of(entry)
    assert (row.settlement_status, row.failure_code) == ("failed", "unexpected")
    assert (row.failure_detail or "").startswith("CheckViolation: not now")
    head, second, *_ = (row.failure_traceback or "").splitlines()
    assert head == "Traceback (most recent call last):"
    assert second.startswith("  File ")
    assert row.attempts == 0
    assert ends() == {entry.session_id: ("failed", "unexpected", True)}
    assert not is_in_the_inbox(entry)
    assert not inbox.client().exists(session), "it is settled: the row decides"
    assert lines([entry]) == [("failed", "unexpected", 2, logging.ERROR)]


def with_tries(entry: Entry, tries: int) -> None:
    """As if so many had killed their worker."""
    assert entry.raw is not None
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO combat_history (session_id, participant_ids, result_payload,"
            " payload_sha256, attempts) VALUES (%s, '{101}', %s, %s, %s)",
            [entry.session_id, entry.raw.decode(), entry.sha256, tries],
        )


def test_the_last_try_is_made_and_one_more_is_poison(
    settings: Settings, lines: Lines
) -> None:
    settings.SETTLEMENT_MAX_ATTEMPTS = 2
    last, poison = submitted(2, claims=1)
    with_tries(last, 1)
    with_tries(poison, 2)
    session = live(poison)

    assert settle([last, poison]) is True

    assert row_of(last).settlement_status == "processed"
    row = row_of(poison)
    assert (row.settlement_status, row.failure_code) == ("failed", "poison")
    assert row.failure_detail == "2 tries killed their worker"
    assert (row.failure_traceback, row.attempts) == (None, 2)
    assert ends() == {
        last.session_id: ("processed", "", True),
        poison.session_id: ("failed", "poison", True),
    }
    assert not is_in_the_inbox(poison)
    assert not inbox.client().exists(session)
    assert lines([last, poison]) == [
        ("processed", "", 2, logging.INFO),
        ("failed", "poison", 2, logging.ERROR),
    ]


def test_a_duplicate_is_no_try() -> None:
    (entry,) = submitted()
    settle([entry])
    (again,) = handed_over_again(entry)

    assert settle([again]) is True

    assert Character.objects.get(pk=HERO).gold == 5
    assert not ends()
    assert not RejectedPayload.objects.exists()
    assert not is_in_the_inbox(entry)


def handed_over_again(entry: Entry) -> list[Entry]:
    """To be settled alone."""
    assert entry.raw is not None
    inbox.record(checked(entry.raw))
    inbox.client().hset(redis_keys.result(entry.session_id), "claims", 1)
    return inbox.claim(1)[0]


def test_tries_that_ended_while_postgresql_was_away_are_taken_back_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    entries = submitted(3, claims=1)

    with refused(LEDGER, CONTENTION), refused(TRIES, CONNECTION):
        settle(entries)

    assert [row_of(entry).attempts for entry in entries] == [1, 1, 1]
    assert caplog.text.count("try not taken back yet") == 3

    drain.check_connection()
    drain.check_connection()

    assert [row_of(entry).attempts for entry in entries] == [0, 0, 0]


def test_effects_that_redis_did_not_confirm_are_counted_so(
    settings: Settings, lines: Lines
) -> None:
    counted()
    MinuteCount.objects.all().delete()
    entries = submitted(2)

    with redis_away(settings):
        assert settle(entries) is True

    assert {row_of(entry).settlement_status for entry in entries} == {"processed"}
    assert all(map(is_in_the_inbox, entries))
    assert counted() == {"combat.processed": 2, "effects.not_confirmed": 2}
    assert lines(entries) == [("processed", "", 1, logging.INFO)] * 2


def vitals(client: redis.Redis) -> tuple[object, object]:
    hp, energy = client.hmget(redis_keys.account(HERO), ["hp", "energy"])
    return hp, energy


def test_vitals_of_a_document_that_does_not_stand_are_put_right(
    redis_client: redis.Redis,
) -> None:
    (entry,) = submitted()
    settle([entry])
    assert vitals(redis_client) == (b"450", b"20"), "of the one that stands"
    redis_client.flushdb()
    document = json.loads(entry.raw or b"")
    hurt = make_participant(state_snapshot={"hp": 1, "energy": 2}, gold_gained=7)
    inbox.record(checked({**document, "participants": {str(HERO): hurt}}))
    (other,), _ = inbox.claim(1)
    assert vitals(redis_client) == (b"1", b"2")

    settle([other])

    assert vitals(redis_client) == (b"450", b"20")
