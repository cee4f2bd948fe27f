"""The ceiling: the inbox drained by a bare process, as fast as these tables allow.

The same claim and effects scripts, the same SQL texts, the same hundred combats to a
transaction; no Django, no Celery, no pydantic, nothing checked. Run as a module, it
says `ready`, waits for one element of the list GO, drains and exits.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import psycopg
import redis

from benchmarks.combat import Combat, summary
from benchmarks.go import GO, WAIT_SECONDS
from benchmarks.transaction import commit
from persistence.contract import redis_keys
from persistence.engine import scripts

if TYPE_CHECKING:
    from redis.commands.core import Script

BATCH_SIZE = 100
LEASE_MS = 35_000
MAX_CLAIM_BYTES = 8 * 1024 * 1024
FRAMEWORKS = frozenset({"django", "celery", "pydantic"})

Entry = list[Any]
"""Session id, lease, claims, raw, sha256, accepted_at, as the claim script replies."""


def main() -> None:
    client = redis.Redis.from_url(os.environ["REDIS_URL"], socket_timeout=None)
    claim = client.register_script(scripts.source("claim"))
    finish = client.register_script(scripts.source("finish"))
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        loaded = FRAMEWORKS & sys.modules.keys()
        assert not loaded, f"no bare process: {loaded}"
        # Nothing here makes cycles, and looking for them costs more than parsing.
        gc.disable()
        print("ready", flush=True)
        client.blpop([GO], timeout=WAIT_SECONDS)
        while entries := _claim(claim):
            combats = [_combat(entry) for entry in entries]
            commit(connection, combats)
            _finish(finish, entries, combats)


def _claim(script: Script) -> list[Entry]:
    reply: list[Any] = script(
        keys=[redis_keys.INBOX],
        args=[BATCH_SIZE, LEASE_MS, MAX_CLAIM_BYTES, redis_keys.RESULT_PREFIX],
    )
    return reply[1:]


def _combat(entry: Entry) -> Combat:
    received_at = datetime.fromtimestamp(int(entry[5]) / 1000, UTC)
    return Combat(orjson.loads(entry[3]), entry[4].decode(), received_at)


def _finish(
    script: Script, entries: Iterable[Entry], combats: Iterable[Combat]
) -> None:
    args: list[Any] = [
        redis_keys.RESULT_PREFIX,
        redis_keys.TOMBSTONE_PREFIX,
        redis_keys.SESSION_PREFIX,
        redis_keys.DAY_SECONDS,
        0,
    ]
    for entry, combat in zip(entries, combats, strict=True):
        args += [entry[0], entry[1], summary(combat), entry[4], 0]
    script(keys=[redis_keys.INBOX], args=args)


if __name__ == "__main__":
    main()
