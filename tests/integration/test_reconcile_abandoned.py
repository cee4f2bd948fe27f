"""A reconcile that nobody waits for any more ends, in PostgreSQL too."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.db import connection

from tests.support.mortal import mortal
from tests.support.waiting import wait_until
from tests.support.worker import PROJECT_ROOT, environment

NAME = "reconcile-under-test"

Process = subprocess.Popen[bytes]


def running() -> bool:
    """Whether a statement of the command waits in PostgreSQL."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM pg_stat_activity WHERE application_name = %s"
            " AND state = 'active' AND wait_event_type = 'Lock'",
            [NAME],
        )
        return cursor.fetchone() is not None


@contextmanager
def locked_table() -> Iterator[None]:
    """Stands for a check that takes an hour."""
    parameters = connection.get_connection_params()
    parameters.pop("cursor_factory", None)
    parameters.pop("context", None)
    with psycopg.connect(**parameters) as other:
        other.execute("SET idle_in_transaction_session_timeout = 0")
        other.execute("LOCK TABLE settlement_ledger IN ACCESS EXCLUSIVE MODE")
        yield
        other.rollback()


def killed(number: int) -> Callable[[Process], None]:
    return lambda process: process.send_signal(number)


def unread(process: Process) -> None:
    assert process.stdout is not None
    process.stdout.close()


@pytest.mark.parametrize(
    "leave",
    [
        pytest.param(killed(signal.SIGKILL), id="killed"),
        pytest.param(killed(signal.SIGTERM), id="terminated"),
        pytest.param(killed(signal.SIGINT), id="interrupted"),
        pytest.param(unread, id="nobody reads"),
    ],
)
def test_its_statement_is_cancelled(
    world: None, leave: Callable[[Process], None]
) -> None:
    env = environment(PGAPPNAME=NAME, SETTLEMENT_LOCK_TIMEOUT_MS="60000")
    with locked_table():
        process = subprocess.Popen(
            mortal(sys.executable, "manage.py", "reconcile"),
            cwd=PROJECT_ROOT,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(running, "the command waits for the table")
            leave(process)
            wait_until(lambda: not running(), "its statement is cancelled")
            assert process.wait(60) != 0
        finally:
            process.kill()
            process.wait(10)
            if process.stdout is not None:
                process.stdout.close()
