"""Counts of events by the minute: made in memory, added up in PostgreSQL.

A count is lost where its process is killed within FLUSH_SECONDS, and kept while
PostgreSQL is away. It takes part in no transaction: what must be exact is counted from
the rows themselves.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from django.db import DatabaseError, InterfaceError, connection

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 3

MAX_PENDING = 10_000
"""Minutes times names; PostgreSQL has been away for hours then."""

LOOKUP = "lookup."
COMBAT = "combat."
EFFECTS = "effects."
SWEEP = "sweep."
MESSAGE = "message."
"""How the names of counts begin: `lookup.<source>`, `combat.<outcome>`,
`effects.<how>`, `sweep.<kind>`, `message.unreadable` and `message.taken_along`."""

Key = tuple[datetime, str]

# By process, so that no two of them wait for the same row.
ADD = """
INSERT INTO minute_counts (minute, name, process, count)
SELECT minute, name, %s, count
FROM unnest(%s::timestamptz[], %s::text[], %s::bigint[])
     AS counted (minute, name, count)
ON CONFLICT (minute, name, process)
DO UPDATE SET count = minute_counts.count + excluded.count
"""

_lock = threading.Lock()
_pending: dict[Key, int] = {}
_is_away = False


def count(name: str, number: int = 1) -> None:
    """Never blocks on a server, never raises."""
    if number < 1:
        return
    key = (datetime.now(UTC).replace(second=0, microsecond=0), name)
    with _lock:
        if key in _pending:
            _pending[key] += number
        elif len(_pending) < MAX_PENDING:
            _pending[key] = number


def flush() -> bool:
    """Add what was counted; where PostgreSQL is away it is kept for the next time."""
    global _is_away
    with _lock:
        counted = dict(_pending)
        _pending.clear()
    if not counted:
        return True
    try:
        _add(counted)
    except (DatabaseError, InterfaceError) as error:
        if not _is_away:
            logger.warning("counts wait for PostgreSQL: %s", error)
        connection.close()
        _put_back(counted)
        _is_away = True
        return False
    _is_away = False
    return True


def flush_in_background(**_: object) -> None:
    """Start flushing in a process that serves for long: a pool child, the web server.

    In a thread with a connection of its own, which it holds only while it writes: no
    task and no request waits for it.
    """
    threading.Thread(target=_flush_for_ever, name="counts", daemon=True).start()
    atexit.register(flush)


def flush_at_the_end(**_: object) -> None:
    """Flush once more: a pool child leaves without running atexit."""
    flush()


def _flush_for_ever() -> None:
    while True:
        time.sleep(FLUSH_SECONDS)
        try:
            flush()
        except Exception:
            # Whatever it was, the counts of a process must not end with it.
            logger.exception("counts")
        connection.close()


def _add(counted: Mapping[Key, int]) -> None:
    # In one order everywhere, for the same process may flush from two threads.
    keys = sorted(counted)
    with connection.cursor() as cursor:
        cursor.execute(
            ADD,
            [
                f"{os.uname().nodename}:{os.getpid()}"[-100:],
                [minute for minute, _ in keys],
                [name for _, name in keys],
                [counted[key] for key in keys],
            ],
        )


def _put_back(counted: Mapping[Key, int]) -> None:
    with _lock:
        for key, number in counted.items():
            _pending[key] = _pending.get(key, 0) + number
