"""Inventory operations as the engine queues them, and the tables they end in."""

from __future__ import annotations

import json
from typing import Any

from combat_history.models import (
    AppliedOperation,
    Character,
    InventoryItem,
    LedgerLine,
    ParkedOperation,
)
from persistence.contract import redis_keys
from persistence.protocols import Saved
from persistence.savers.inventory_saver import InventoryStateSaver
from persistence.worker import inbox
from persistence.worker.transactions import open_cursor
from tests.support.documents import HERO


def text(operation: object) -> bytes:
    """Bytes are sent as they are: what no engine should write."""
    if isinstance(operation, bytes):
        return operation
    return json.dumps(operation, ensure_ascii=False).encode()


def queue(*operations: object, char_id: int = HERO) -> None:
    key = redis_keys.inventory_delta(char_id)
    inbox.client().rpush(key, *map(text, operations))


def queued(char_id: int = HERO) -> list[bytes]:
    found: list[bytes] = inbox.client().lrange(  # type: ignore[assignment]
        redis_keys.inventory_delta(char_id), 0, -1
    )
    return found


def save_unconfirmed(char_id: int = HERO) -> Saved:
    with open_cursor() as cursor:
        return InventoryStateSaver(cursor).save(char_id)


def save(char_id: int = HERO) -> Saved:
    saved = save_unconfirmed(char_id)
    saved.confirm()
    return saved


def rows(char_id: int = HERO) -> dict[int, tuple[str, int, str | None]]:
    """Template, quantity and slot by inventory id."""
    found = InventoryItem.objects.filter(character_id=char_id)
    return {r.pk: (r.item_template_id, r.quantity, r.slot) for r in found}


def pieces(template_id: str, char_id: int = HERO) -> int:
    found = InventoryItem.objects.filter(
        character_id=char_id, item_template_id=template_id
    )
    return sum(row.quantity for row in found)


def parked(char_id: int = HERO) -> dict[str, str]:
    """Codes of what still waits, oldest first."""
    found = ParkedOperation.objects.filter(
        scope="inventory", character_id=char_id, resolved_at=None
    )
    return dict(found.order_by("id").values_list("op_id", "code"))


def tables() -> dict[str, list[dict[str, Any]]]:
    """All that a save may write, to tell whether anything did."""
    models: list[Any] = [
        Character,
        InventoryItem,
        AppliedOperation,
        ParkedOperation,
        LedgerLine,
    ]
    return {
        model.__name__: list(model.objects.order_by("pk").values()) for model in models
    }
