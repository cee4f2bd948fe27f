"""What whoever reaches Redis can write there, past every script."""

from __future__ import annotations

import json

import redis

from persistence.contract import redis_keys
from persistence.contract.document import Document


def forge(client: redis.Redis, document: Document, **fields: str) -> None:
    """A result, as if an engine had handed it over."""
    key = redis_keys.RESULT_PREFIX + document["session_id"]
    client.hset(key, "raw", json.dumps(document))
    for name, value in fields.items():
        client.hset(key, name, value)
    client.zadd(redis_keys.INBOX, {document["session_id"]: 1})
