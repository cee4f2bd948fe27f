"""Tells database errors that a retry may cure from all others: a closed list."""

from __future__ import annotations

from enum import Enum, auto

import psycopg
from django.db.utils import InterfaceError, OperationalError

from persistence.contract.errors import ReceiptRaced

_CONNECTION_CLASSES = ("08", "53", "57P", "25P", "26000", "42P05")
"""Lost connections, exhausted resources, shutdown, idle-in-transaction timeout; and
prepared statements that a proxy has given to another client: no combat is at fault."""

_CONTENTION_CLASSES = ("40", "55P03", "57014")
"""Serialization, deadlock, lock timeout, statement timeout."""


class Transience(Enum):
    CONNECTION = auto()
    """PostgreSQL is not to be had: the whole batch waits."""
    CONTENTION = auto()
    """Somebody holds a row: others of the batch may be settled."""


def transience(error: BaseException) -> Transience | None:
    """The way in which `error` may pass; None where another attempt cannot help."""
    if isinstance(error, ReceiptRaced):
        return Transience.CONTENTION
    # Django wraps psycopg's error, which alone carries the SQLSTATE.
    cause = error.__cause__ if isinstance(error.__cause__, psycopg.Error) else error
    sqlstate = getattr(cause, "sqlstate", None)
    # Without one the server said nothing: the connection broke, or was never made.
    if sqlstate is None:
        lost = (
            OperationalError,
            InterfaceError,
            psycopg.OperationalError,
            psycopg.InterfaceError,
        )
        return Transience.CONNECTION if isinstance(error, lost) else None
    if sqlstate.startswith(_CONNECTION_CLASSES):
        return Transience.CONNECTION
    if sqlstate.startswith(_CONTENTION_CLASSES):
        return Transience.CONTENTION
    return None
