"""Undoing settled combats, and the tables before and after it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.models import Permission, User
from django.db import connection

from combat_history.actions.undo import (
    UndoResult,
    undo_combat,
)
from combat_history.models import (
    AppliedOperation,
    AuditEntry,
    Character,
    CombatHistory,
    InventoryItem,
    LedgerLine,
    SettlementDiscrepancy,
)

REASON = "The boss was bugged that evening"


def permitted() -> User:
    """May undo combats, and nothing else."""
    user = User.objects.create_user("admin", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="compensate_combat"))
    return User.objects.get(pk=user.pk)


def undo(session_id: UUID, actor: User, on_shortage: Any = "refuse") -> UndoResult:
    return undo_combat(session_id, actor=actor, reason=REASON, on_shortage=on_shortage)


def lose_character(char_id: int) -> None:
    """As somebody could before the database refused it."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE characters DISABLE TRIGGER characters_stay")
        cursor.execute("DELETE FROM characters WHERE id = %s", [char_id])
        cursor.execute("ALTER TABLE characters ENABLE TRIGGER characters_stay")


def world_now() -> tuple[list[Any], list[Any]]:
    """Balances, and rows as players know them."""
    people = Character.objects.order_by("pk").values_list("pk", "xp", "gold")
    rows = InventoryItem.objects.order_by("pk").values_list(
        "pk",
        "character_id",
        "item_template_id",
        "quantity",
        "is_equipped",
        "slot",
        "durability",
        "max_durability",
        "opening_quantity",
    )
    return list(people), list(rows)


def everything() -> list[Any]:
    """Every table that an undo writes, but for the audit."""
    tables = (
        CombatHistory,
        Character,
        InventoryItem,
        LedgerLine,
        SettlementDiscrepancy,
        AppliedOperation,
    )
    return [list(table.objects.order_by("pk").values()) for table in tables]


def entries(session_id: UUID) -> list[tuple[str, str]]:
    rows = AuditEntry.objects.filter(target_id=str(session_id)).order_by("pk")
    return list(rows.values_list("outcome", "detail"))
