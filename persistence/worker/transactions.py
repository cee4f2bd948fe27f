"""The one way into PostgreSQL for everything that saves: durable and never nested."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from billiard.exceptions import SoftTimeLimitExceeded
from celery.signals import task_prerun
from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.pq import TransactionStatus

from persistence.worker.sql import Row

logger = logging.getLogger(__name__)

_AT_REST = (TransactionStatus.IDLE, TransactionStatus.UNKNOWN)
"""Between two statements, or closed."""


@contextmanager
def open_cursor() -> Iterator[psycopg.Cursor[Row]]:
    """One durable transaction on the task's connection, and a bare cursor inside it.

    A soft time limit leaves as such from wherever it strikes, a COMMIT included, and
    the next transaction finds a connection that works.
    """
    try:
        # Durable: inside another transaction the commit would not be one, and what is
        # done after it (effects in Redis, acknowledging) would come too early.
        with transaction.atomic(durable=True):
            connection.ensure_connection()
            with psycopg.Cursor[Row](connection.connection) as cursor:
                yield cursor
    except Exception as error:
        limit = _time_limit_behind(error)
        if limit is not None and limit is not error:
            raise SoftTimeLimitExceeded from error
        raise
    finally:
        discard_wreck()


def renew_connection() -> None:
    """Start on a connection that works; inside a transaction it is what it is."""
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


@task_prerun.connect
def discard_wreck(**_: object) -> None:
    """Forget a connection that an interrupted transaction has left in the middle.

    Where a time limit strikes in the COMMIT, the connection still waits for an answer:
    undoing fails too, and Django then takes every later transaction of the process for
    a nested one. What was committed is not known; asking again is harmless.
    """
    # Before every task, too: not every transaction is one of open_cursor's.
    wrapper = connections[DEFAULT_DB_ALIAS]
    if not _is_wreck(wrapper):
        return
    del connections[DEFAULT_DB_ALIAS]
    # It would not close, or not go back to its pool, in a transaction.
    wrapper.in_atomic_block = wrapper.closed_in_transaction = False
    wrapper.close()
    logger.warning("connection given up in the middle of a transaction")


def _is_wreck(wrapper: BaseDatabaseWrapper) -> bool:
    if wrapper.atomic_blocks:  # somebody's transaction is open, and well
        return False
    raw = wrapper.connection
    return wrapper.in_atomic_block or (
        raw is not None
        and (not raw.autocommit or raw.info.transaction_status not in _AT_REST)
    )


def _time_limit_behind(error: BaseException) -> SoftTimeLimitExceeded | None:
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, SoftTimeLimitExceeded):
        behind = behind.__cause__ or behind.__context__
    return behind
