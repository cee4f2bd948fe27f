"""Connections that outlive the threads that use them, and no more than there may be.

Not psycopg's own pool: after a restart of the server that one draws its dead
connections one by one and waits longer after each, so that requests fail while
PostgreSQL is up; and after an outage it connects only when its own next try is due.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import BoundedSemaphore
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from psycopg.pq import TransactionStatus

WAIT_SECONDS = 5
"""For a connection while all of them are in use."""

SIZE = "pool_size"
"""The key of OPTIONS that says how many connections there may be."""

Connection = psycopg.Connection[Any]


class Pool:
    """At most `size` connections at once; those not in use are kept open."""

    def __init__(self, size: int) -> None:
        self._free = BoundedSemaphore(size)
        self._idle: list[Connection] = []

    def take(self, connect: Callable[[], Connection]) -> Connection:
        """A connection that has just answered, or else the error of `connect`."""
        if not self._free.acquire(timeout=WAIT_SECONDS):
            raise psycopg.OperationalError(
                f"every connection was in use for {WAIT_SECONDS} s"
            )
        try:
            return self._alive() or connect()
        except BaseException:
            self._free.release()
            raise

    def give_back(self, connection: Connection) -> None:
        """Take it back, or close it where its next user would meet what is left."""
        try:
            status = connection.info.transaction_status
            if status is TransactionStatus.IDLE and connection.autocommit:
                self._idle.append(connection)
            else:
                connection.close()
        finally:
            self._free.release()

    def close_idle(self) -> None:
        while (connection := self._pop()) is not None:
            connection.close()

    def _alive(self) -> Connection | None:
        connection = self._pop()
        if connection is None:
            return None
        try:
            connection.execute("")
        except psycopg.Error:
            connection.close()
            # What ended this one has ended the others: none is worth a try.
            self.close_idle()
            return None
        return connection

    def _pop(self) -> Connection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None


_pools: dict[str, Pool] = {}
"""By database: the test runner and the nameless alias go to others."""

# What a parent had opened is the parent's: two processes on one connection would read
# each other's answers.
os.register_at_fork(after_in_child=_pools.clear)


class DatabaseWrapper(base.DatabaseWrapper):
    def get_connection_params(self) -> dict[str, Any]:
        parameters = super().get_connection_params()
        parameters.pop(SIZE)
        return parameters

    def get_new_connection(self, conn_params: dict[str, Any]) -> Connection:
        connect = super().get_new_connection
        return self._pool().take(lambda: connect(conn_params))

    def close_pool(self) -> None:
        self._pool().close_idle()

    def _close(self) -> None:
        if self.connection is not None:
            self._pool().give_back(self.connection)
            self.connection = None

    def _pool(self) -> Pool:
        name = str(self.settings_dict["NAME"])
        size = self.settings_dict["OPTIONS"][SIZE]
        # Made twice at the same moment, one of the two is used by everybody.
        return _pools.get(name) or _pools.setdefault(name, Pool(size))
