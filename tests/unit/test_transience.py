"""Which errors another attempt may cure: by SQLSTATE, never by message."""

from __future__ import annotations

import psycopg
import pytest
from django.db.utils import IntegrityError, InterfaceError, OperationalError
from psycopg import errors as pg

from persistence.contract.errors import DomainFailure, ReceiptRaced
from persistence.worker.transience import Transience, transience


def wrapped(error: psycopg.Error) -> OperationalError:
    """As Django raises it."""
    outer = OperationalError(str(error))
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    "error",
    [
        pg.ConnectionFailure(),
        pg.TooManyConnections(),
        pg.DiskFull(),
        pg.AdminShutdown(),
        pg.CannotConnectNow(),
        pg.IdleInTransactionSessionTimeout(),
        pg.InFailedSqlTransaction(),
        pg.ProtocolViolation(),
        pg.InvalidSqlStatementName(),
        pg.DuplicatePreparedStatement(),
    ],
    ids=lambda e: type(e).__name__,
)
def test_a_lost_server_is_waited_for(error: psycopg.Error) -> None:
    assert transience(error) is Transience.CONNECTION
    assert transience(wrapped(error)) is Transience.CONNECTION


@pytest.mark.parametrize(
    "error",
    [
        pg.SerializationFailure(),
        pg.DeadlockDetected(),
        pg.LockNotAvailable(),
        pg.QueryCanceled(),
    ],
    ids=lambda e: type(e).__name__,
)
def test_contention_passes(error: psycopg.Error) -> None:
    assert transience(error) is Transience.CONTENTION
    assert transience(wrapped(error)) is Transience.CONTENTION


def test_a_raced_receipt_is_run_again() -> None:
    assert transience(ReceiptRaced(["x"])) is Transience.CONTENTION


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("server closed the connection unexpectedly"),
        InterfaceError("connection already closed"),
        psycopg.OperationalError("consuming input failed"),
        psycopg.InterfaceError("the connection is closed"),
    ],
    ids=lambda e: f"{type(e).__module__}.{type(e).__name__}",
)
def test_a_connection_error_without_a_state_is_a_lost_server(error: Exception) -> None:
    assert transience(error) is Transience.CONNECTION


@pytest.mark.parametrize(
    "error",
    [
        pg.UniqueViolation(),
        pg.NumericValueOutOfRange(),
        pg.UntranslatableCharacter(),
        wrapped(pg.UndefinedTable()),
        IntegrityError("duplicate key"),
        DomainFailure("x", "unknown_item", "deadlock detected"),
        RuntimeError("deadlock detected"),
        ValueError("connection already closed"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_anything_else_is_permanent(error: Exception) -> None:
    assert transience(error) is None
