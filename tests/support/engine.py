"""What an engine's calls leave in Redis and at the broker."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any
from uuid import UUID

import redis
from django.conf import settings

from persistence.contract import redis_keys


def account(client: redis.Redis, char_id: int) -> dict[str, str]:
    return texts(client.hgetall(redis_keys.account(char_id)))


def live(client: redis.Redis, session_id: UUID) -> dict[str, str]:
    return texts(client.hgetall(redis_keys.session(session_id)))


def texts(found: Any) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in found.items()}


def intents(client: redis.Redis) -> set[str]:
    members: Any = client.zrange(redis_keys.INTENTS, 0, -1)
    return {member.decode() for member in members}


def let_time_pass(client: redis.Redis, seconds: int = 60) -> None:
    """What was noted, and its messages sent, is that much longer ago."""
    for key in (redis_keys.INTENTS, redis_keys.INTENTS_SENT):
        held: Any = client.zrange(key, 0, -1, withscores=True)
        if held:
            ago = {member: score - seconds * 1_000_000 for member, score in held}
            client.zadd(key, ago)


def messages(client: redis.Redis) -> list[tuple[str, list[Any]]]:
    """Task and arguments of what waits in the default queue and in that of saves."""
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        raw: Any = [*broker.lrange("celery", 0, -1), *broker.lrange("saves", 0, -1)]
    sent = map(json.loads, raw)
    return [
        (message["headers"]["task"], json.loads(b64decode(message["body"]))[0])
        for message in sent
    ]
