"""A fight as an engine plays it, and what became of it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import redis

from combat_history.models import CombatHistory
from persistence.contract.document import Document
from persistence.tasks import settle_inbox
from tests.support.belts import container
from tests.support.documents import HERO


def consumed(client: redis.Redis, fight: UUID, char_id: int = HERO) -> dict[int, int]:
    entries = container(client, fight, char_id)["consumed"]
    return {entry["inventory_id"]: entry["qty"] for entry in entries}


def on_belt(client: redis.Redis, fight: UUID, char_id: int = HERO) -> dict[int, int]:
    items = container(client, fight, char_id)["belt_items"]
    return {item["inventory_id"]: item["quantity"] for item in items}


def result_of(fight: UUID) -> Document:
    settle_inbox()
    row = CombatHistory.objects.get(pk=fight)
    assert row.settlement_status == "processed", row.failure_detail
    payload: Document = row.result_payload
    return payload


def won(**hero: Any) -> Document:
    return {
        "meta": {"winner_team": "blue", "finish_reason": "victory"},
        "participants": {HERO: hero} if hero else {},
    }
