"""The one way into PostgreSQL for everything that saves: durable and never nested."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.db import connection, transaction

from persistence.savers.combat_sql import Row


@contextmanager
def open_cursor() -> Iterator[psycopg.Cursor[Row]]:
    """One durable transaction on the task's connection, and a bare cursor inside it."""
    with transaction.atomic(durable=True):
        connection.ensure_connection()
        with psycopg.Cursor[Row](connection.connection) as cursor:
            yield cursor
