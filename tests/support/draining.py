"""Drains whose tries end as a test wants them to, and what is left of each.

Errors are PostgreSQL's own: a trigger raises the first so many times, and a sequence,
which no rollback takes back, counts how often it was asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from combat_history.models import CombatHistory, SettlementAttempt
from persistence.contract import redis_keys
from persistence.engine.handoff import checked
from persistence.savers.registry import combat_saver
from persistence.worker import drain, inbox
from persistence.worker.entries import Entry
from tests.support.documents import make_document

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


def logged(
    caplog: pytest.LogCaptureFixture, entries: Sequence[Entry]
) -> list[tuple[str, str, int, int]]:
    """Of the try of each entry: outcome, code, attempt, level."""
    told: dict[str, tuple[str, str, int, int]] = {}
    for record in (r for r in caplog.records if r.message == "combats"):
        line: Any = record
        assert isinstance(line.duration_ms, float)
        assert 0 < line.duration_ms < record.relativeCreated, "the process's age"
        assert line.duration_ms == round(line.duration_ms, 1)
        session_ids = line.session_ids.split(",")
        assert line.combats == len(session_ids)
        ended = line.outcome, line.code, line.attempt, record.levelno
        told.update(dict.fromkeys(session_ids, ended))
    assert list(told) == [str(entry.session_id) for entry in entries]
    return list(told.values())
