"""A dispatcher of a Redis that forgets, and what that Redis holds of its calls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import redis

from devservers.ports import HOST
from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.dispatcher import SyncDispatcher
from persistence.engine.remembered import Limits
from tests.support.documents import op

PLAYER = 7


@contextmanager
def connected(port: int, remembered: Limits | None = None) -> Iterator[SyncDispatcher]:
    dispatcher = SyncDispatcher(
        f"redis://{HOST}:{port}/0", timeout=1, remembered=remembered
    )
    yield dispatcher
    dispatcher.close()


def port_of(client: redis.Redis) -> int:
    port: int = client.connection_pool.connection_kwargs["port"]
    return port


def add(op_id: str) -> Document:
    return op(op_id, "add", item_template_id="wolf_pelt", qty=1)


def is_recorded(client: redis.Redis, document: Document) -> bool:
    session_id = UUID(document["session_id"])
    return (
        client.hexists(redis_keys.result(session_id), "raw")
        and client.zscore(redis_keys.INBOX, str(session_id)) is not None
    )


def queued(client: redis.Redis, char_id: int = PLAYER) -> list[str]:
    """Without the repetitions, which are harmless: each is applied once."""
    raw: Any = client.lrange(redis_keys.inventory_delta(char_id), 0, -1)
    return list(dict.fromkeys(json.loads(one)["op_id"] for one in raw))
