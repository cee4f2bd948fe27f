"""The Lua scripts by what their headers promise, without a database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import redis

from persistence.contract import redis_keys
from persistence.worker import inbox
from tests.support.ids import new_session_id

Fields = Mapping[str, str | bytes | int]


def run(name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
    return inbox.script(name)(keys=keys, args=args)


def now_ms(client: redis.Redis) -> int:
    """As the scripts read it."""
    seconds, microseconds = client.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


@contextmanager
def at_work(client: redis.Redis) -> Iterator[list[int]]:
    """The moments (ms) within which everything happened, once it has."""
    moments = [now_ms(client)]
    yield moments
    moments.append(now_ms(client))


def enter(client: redis.Redis, due: int, fields: Fields | None = None) -> UUID:
    """An entry of the inbox, and of its result what `fields` say."""
    session_id = new_session_id()
    client.zadd(redis_keys.INBOX, {str(session_id): due})
    for name, value in (fields or {}).items():
        client.hset(
            redis_keys.result(session_id), name, value
        )  # one at a time: ordered
    return session_id


def due(client: redis.Redis, session_id: UUID) -> int | None:
    score = client.zscore(redis_keys.INBOX, str(session_id))
    return None if score is None else int(score)


def result(client: redis.Redis, session_id: UUID) -> dict[Any, Any]:
    return client.hgetall(redis_keys.result(session_id))
