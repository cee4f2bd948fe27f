"""The tokens of the table as one process knows them, by digest.

Read as a whole, off the event loop: an unknown token costs no statement, and a known
one none but every `READ_AGAIN_SECONDS`. While PostgreSQL does not answer, what was read
last stands: nobody can revoke anything there either.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import Error, connection
from django.db.models import Q
from django.db.models.functions import Now

from combat_history.callers import Caller
from combat_history.models import ApiToken
from persistence.worker.transactions import renew_connection

logger = logging.getLogger(__name__)

OBEYED_WITHIN_SECONDS = 5.0
"""A token that was revoked, rotated or made is so in every web process by then."""

READ_AGAIN_SECONDS = 2.0

WAIT_SECONDS = 0.5
"""A request waits that long for the table, then takes what is known."""

USED_EVERY = timedelta(minutes=1)
"""How often the use of a token is written down, at most."""


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    caller: Caller


class KnownTokens:
    def __init__(self) -> None:
        self._rows: Mapping[str, _Row] | None = None
        # One thread: a PostgreSQL that hangs takes no more than that.
        self._thread = ThreadPoolExecutor(1, "api-tokens")
        self._reading: Future[None] | None = None
        self._asked_at = 0.0
        self._used: dict[int, datetime] = {}

    async def find(self, digest: str) -> Caller | None:
        """The holder of a token that is good.

        Raises LookupError where nobody knows: the table was never read.
        """
        await self._renew()
        if self._rows is None:
            raise LookupError
        row = self._rows.get(digest)
        if row is None:
            return None
        self._note_use(row.id)
        return row.caller

    def close(self) -> None:
        """What is being read or written is so afterwards."""
        self._thread.shutdown()

    async def _renew(self) -> None:
        now = time.monotonic()
        reading = self._reading
        is_old = now - self._asked_at >= READ_AGAIN_SECONDS
        if reading is None or (reading.done() and is_old):
            self._asked_at = now
            reading = self._reading = self._thread.submit(self._read)
        elif self._rows is not None:
            return
        await asyncio.wait([asyncio.wrap_future(reading)], timeout=WAIT_SECONDS)

    def _read(self) -> None:
        try:
            renew_connection()
            rows = list(
                ApiToken.objects.filter(revoked_at=None).values_list(
                    "id", "name", "scopes", "digest", "last_used_at"
                )
            )
        except Error:
            logger.warning("tokens were not read", exc_info=True)
            return
        finally:
            connection.close()
        for id_, *_, used_at in rows:
            if used_at is not None:
                self._used[id_] = max(used_at, self._used.get(id_, used_at))
        self._rows = {
            digest: _Row(id_, Caller(name, frozenset(scopes), digest))
            for id_, name, scopes, digest, _ in rows
        }

    def _note_use(self, id_: int) -> None:
        """Nobody waits until it is written; what is lost is written a minute later."""
        now = datetime.now(UTC)
        noted = self._used.get(id_)
        if noted is None or now - noted >= USED_EVERY:
            self._used[id_] = now
            self._thread.submit(_write_use, id_)


def _write_use(id_: int) -> None:
    try:
        renew_connection()
        used_long_ago = Q(last_used_at=None) | Q(last_used_at__lt=Now() - USED_EVERY)
        ApiToken.objects.filter(used_long_ago, pk=id_).update(last_used_at=Now())
    except Error:
        logger.warning("the use of a token was not written", exc_info=True)
    finally:
        connection.close()


known = KnownTokens()
