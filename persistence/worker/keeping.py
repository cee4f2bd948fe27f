"""Writes what only PostgreSQL can keep; the message is retried until it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from django.db import DatabaseError, InterfaceError, connection

from persistence.worker.sql import Row
from persistence.worker.transactions import open_cursor, renew_connection

RETRY_SECONDS = 5
"""Far below the visibility timeout, or the broker would deliver it twice."""


def keep(task: Any, write: Callable[[psycopg.Cursor[Row]], object]) -> None:
    """Write inside one transaction; `task`, which runs, comes again where that fails.

    Raises Retry then.
    """
    renew_connection()
    try:
        with open_cursor() as cursor:
            write(cursor)
    except (DatabaseError, InterfaceError, psycopg.Error) as error:
        connection.close()
        # No other task of ours counts down (docs/decisions/0029): what else is retried
        # has an entry or an intent that comes due again, this has the message alone.
        raise task.retry(
            exc=error, countdown=RETRY_SECONDS, max_retries=None
        ) from error
