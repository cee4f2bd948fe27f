"""Events of the settlement: as the table has them, and as the stream tells them."""

from __future__ import annotations

from typing import Any

import redis

from combat_history.models import SettlementEvent
from persistence.contract import redis_keys
from persistence.contract.events import Event


def all_events() -> list[Event]:
    rows = SettlementEvent.objects.order_by("pk").values(*Event.model_fields)
    return [Event(**row) for row in rows]


def kinds() -> list[str]:
    return [event.kind for event in all_events()]


def only() -> Event:
    (event,) = all_events()
    return event


def streamed(client: redis.Redis) -> list[Event]:
    entries: Any = client.xrange(redis_keys.EVENTS)
    told = [Event.model_validate_json(fields[b"event"]) for _, fields in entries]
    assert [id_.decode() for id_, _ in entries] == [f"{event.id}-0" for event in told]
    return told
