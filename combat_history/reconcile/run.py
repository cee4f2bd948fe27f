"""Run every check: the tables in one snapshot, then Redis beside the tables."""

from __future__ import annotations

from django.conf import settings
from django.db import connection, transaction

from combat_history.reconcile.combat_checks import COMBAT_CHECKS
from combat_history.reconcile.document_check import DOCUMENT_CHECKS
from combat_history.reconcile.economy_check import ECONOMY_CHECKS
from combat_history.reconcile.item_checks import ITEM_CHECKS
from combat_history.reconcile.ledger_checks import LEDGER_CHECKS
from combat_history.reconcile.operated_checks import OPERATED_CHECKS
from combat_history.reconcile.operation_checks import OPERATION_CHECKS
from combat_history.reconcile.redis_checks import REDIS_CHECKS
from combat_history.reconcile.report import Report, Result
from combat_history.reconcile.undo_checks import UNDO_CHECKS
from persistence.worker import inbox

TABLE_CHECKS = (
    *LEDGER_CHECKS,
    *OPERATED_CHECKS,
    *UNDO_CHECKS,
    *COMBAT_CHECKS,
    *ITEM_CHECKS,
    *OPERATION_CHECKS,
    *DOCUMENT_CHECKS,
    *ECONOMY_CHECKS,
)

SNAPSHOT = """
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ
"""

READ_ONLY = """
SET TRANSACTION READ ONLY
"""

# Whoever asked may be gone long before a check has read its tables: PostgreSQL looks
# now and then whether anybody still waits for the answer.
#
# A check reads whole tables: the limits of a worker's session are not for it. Sums of
# millions of movements sort on disk below some hundred megabytes, and compiling a plan
# costs more than it saves on a small world.
LIMITS = """
SET LOCAL statement_timeout = '1h';
SET LOCAL client_connection_check_interval = '1s';
SET LOCAL work_mem = '128MB';
SET LOCAL jit = off
"""


def reconcile() -> Report:
    """Compare documents, ledger, balances and Redis. Writes nothing, locks nothing."""
    overdue_ms = overdue_after_ms()
    return Report([*_check_tables(overdue_ms), *_check_redis(overdue_ms)])


def overdue_after_ms() -> int:
    """The time after which work that is due is overdue, no longer on its way.

    The sweep may just have missed a row, and the drain it rings for may be lost: the
    next one of each must have had its turn.
    """
    sweep: int = settings.SETTLEMENT_SWEEP_SECONDS
    beat: int = settings.SETTLEMENT_BEAT_SECONDS
    return (2 * sweep + 2 * beat) * 1000


def _check_tables(overdue_ms: int) -> list[Result]:
    # A caller's transaction, as of a test, has its snapshot already, or none.
    has_begun = connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        if not has_begun:
            cursor.execute(SNAPSHOT)
        cursor.execute(READ_ONLY)
        cursor.execute(LIMITS)
        parameters = {"overdue_ms": overdue_ms}
        results = [check.run(cursor, parameters) for check in TABLE_CHECKS]
        # Nothing was written; what was set ends here, in a caller's transaction too.
        transaction.set_rollback(True)
    return results


def _check_redis(overdue_ms: int) -> list[Result]:
    """Run the checks of Redis outside the snapshot: it is compared with rows of now."""
    client = inbox.client()
    with connection.cursor() as cursor:
        return [check.run(client, cursor, overdue_ms) for check in REDIS_CHECKS]
