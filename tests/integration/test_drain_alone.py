"""A combat that is settled alone: every try is counted, and every end is told."""

from __future__ import annotations

import logging
import os

import pytest
from django.db import connection
from pytest_django import Settings

from combat_history.models import (
    Character,
    CombatHistory,
    RejectedPayload,
    SettlementAttempt,
)
from persistence.contract import redis_keys
from persistence.engine.handoff import checked
from persistence.worker import drain, inbox
from persistence.worker.entries import Entry
from tests.support.documents import HERO
from tests.support.draining import (
    CONNECTION,
    CONTENTION,
    HISTORY,
    LEDGER,
    LOST,
    TRIES,
    UNFORESEEN,
    claims_of,
    ends,
    is_in_the_inbox,
    live,
    logged,
    refused,
    row_of,
    settle,
    submitted,
)

pytestmark = pytest.mark.usefixtures("world")


@pytest.fixture(autouse=True)
def _long_waits(settings: Settings) -> None:
    settings.SETTLEMENT_LEASE_MS = 60_000
    settings.SETTLEMENT_BACKOFF_MS = 60_000


def test_alone_a_try_that_lost_its_connection_is_taken_back_on_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (entry,) = submitted(claims=1)

    with refused(LEDGER, LOST, times=1):
        settle([entry])

    row = row_of(entry)
    assert (row.settlement_status, row.attempts) == ("pending", 0)
    assert "try not taken back" not in caplog.text


def test_alone_each_is_a_try_of_this_worker_with_a_lease(
    caplog: pytest.LogCaptureFixture,
) -> None:
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
    assert logged(caplog, [entry]) == [("retry", "transient", 2, logging.WARNING)]


def test_alone_and_at_the_second_try_it_is_settled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (entry,) = submitted(claims=1)

    assert settle([entry]) is True

    assert row_of(entry).settlement_status == "processed"
    assert ends() == {entry.session_id: ("processed", "", True)}
    assert logged(caplog, [entry]) == [("processed", "", 2, logging.INFO)]


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
    caplog: pytest.LogCaptureFixture,
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
    assert logged(caplog, [entry]) == [("failed", "unexpected", 2, logging.ERROR)]


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
    settings: Settings, caplog: pytest.LogCaptureFixture
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
    assert logged(caplog, [last, poison]) == [
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
