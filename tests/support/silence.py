"""Combats whose engine is heard of no more, and what the sweep makes of them."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import redis

from combat_history.models import RejectedPayload
from persistence.contract import redis_keys
from persistence.tasks import settle_inbox, sweep
from tests.support.documents import POTION

LONG_AGO_MS = 1_735_460_000_000
USED = {"inventory_id": POTION, "item_template_id": "hp_pot_small", "qty": 2}


def fall_silent(
    client: redis.Redis, session_id: UUID, since_ms: int = LONG_AGO_MS
) -> None:
    """The engine died long ago: its heartbeat stands where it was."""
    client.hset(redis_keys.session(session_id), "heartbeat", since_ms)
    client.zadd(redis_keys.ACTIVE, {str(session_id): since_ms})


def sweep_and_settle() -> None:
    sweep()
    settle_inbox()


def put_actor(client: redis.Redis, session_id: UUID, **container: Any) -> None:
    actor = {"team": "blue", "hp": 7, "energy": 3, "belt_items": [], "consumed": []}
    client.hset(
        redis_keys.session(session_id), "actor:101", json.dumps({**actor, **container})
    )


def reports() -> list[tuple[str, UUID | None]]:
    return list(RejectedPayload.objects.values_list("code", "session_id"))
