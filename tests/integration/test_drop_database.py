"""The benchmark drops its databases also where autovacuum is at work in them."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
from django.conf import settings
from psycopg import sql
from psycopg.conninfo import make_conninfo

from benchmarks.servers import drop_database

HELD_SECONDS = 8
"""Longer than a plain DROP DATABASE waits."""

EXISTS = "SELECT FROM pg_database WHERE datname = %s"


@pytest.fixture
def connection() -> Iterator[psycopg.Connection]:
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as connection:
        yield connection


def superuser_in(database: str) -> psycopg.Connection:
    """Whose session no other role may end, like those of autovacuum."""
    url = make_conninfo(settings.DATABASE_URL, user="postgres", dbname=database)
    try:
        return psycopg.connect(url)
    except psycopg.OperationalError:
        pytest.skip("only a superuser holds up what others may not end")


def test_a_session_that_the_role_may_not_end_is_waited_for(
    connection: psycopg.Connection,
) -> None:
    name = f"drop_{secrets.token_hex(4)}"
    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    threading.Timer(HELD_SECONDS, superuser_in(name).close).start()
    began = time.monotonic()

    drop_database(connection, name)

    assert connection.execute(EXISTS, [name]).fetchone() is None
    assert time.monotonic() - began >= HELD_SECONDS - 1
