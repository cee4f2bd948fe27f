"""Tries of combats that are settled alone: counted before, taken back after.

Only a try that never ended stays counted; too many of those and the document is
poison. Each function runs inside the caller's transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from persistence.protocols import Verdict
from persistence.worker import events, sql

if TYPE_CHECKING:
    from psycopg import Cursor

    from persistence.worker.sql import Row

# Should Redis forget the entry meanwhile, the sweep leaves the try as long as a lease.
BEGIN_TRY = """
UPDATE combat_history
SET attempts = attempts + 1, due_at = now() + %s * interval '1 millisecond'
WHERE session_id = %s AND settlement_status = 'pending'
RETURNING attempts
"""

RECORD_TRY = """
INSERT INTO settlement_attempts (session_id, worker) VALUES (%s, %s) RETURNING id
"""

# Not now(), which is when the transaction of the whole settlement began.
END_TRY = """
UPDATE settlement_attempts
SET ended_at = clock_timestamp(), outcome = %s, code = %s, detail = %s
WHERE id = %s
"""

# A replay that came in between has set the count to 0 already.
UNCOUNT_TRY = """
UPDATE combat_history SET attempts = attempts - 1
WHERE session_id = %s AND attempts > 0
"""

FAIL = """
UPDATE combat_history
SET settlement_status = 'failed', failure_code = %s, failure_detail = %s,
    failure_subject = '', failure_traceback = %s
WHERE session_id = %s AND settlement_status = 'pending'
RETURNING participant_ids, revision
"""

FAIL_REQUEST = """
UPDATE replay_requests
SET state = 'failed', detail = %s, finished_at = clock_timestamp()
WHERE session_id = %s AND state = 'queued'
"""


def begin(
    cursor: Cursor[Row], session_id: UUID, worker: str, lease_ms: int
) -> tuple[int, int] | None:
    """Count a try. Returns (its record's id, tries counted); None if not pending."""
    cursor.execute(BEGIN_TRY, [lease_ms, session_id])
    counted = cursor.fetchone()
    if counted is None:
        return None
    cursor.execute(RECORD_TRY, [session_id, worker])
    recorded = cursor.fetchone()
    assert recorded is not None  # RETURNING of an INSERT
    return recorded[0], counted[0]


def end(cursor: Cursor[Row], try_id: int, verdict: Verdict) -> None:
    """Close a try's record and take its count back."""
    cursor.execute(END_TRY, [verdict.outcome, verdict.code, verdict.detail, try_id])
    cursor.execute(UNCOUNT_TRY, [verdict.session_id])


def fail(
    cursor: Cursor[Row], session_id: UUID, code: str, detail: str, traceback: str | None
) -> bool:
    """pending -> failed. False where the row is not pending (any more)."""
    cursor.execute(FAIL, [code, detail, traceback, session_id])
    failed = cursor.fetchone()
    if failed is None:
        return False
    cursor.execute(FAIL_REQUEST, [f"{code}: {detail}", session_id])
    participants, revision = failed
    event = events.failure(session_id, participants, revision, code)
    sql.run(cursor.connection, [events.record([event])])
    return True
