"""The groups of people who work in the admin, with what each of them may do."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, Permission
from django.core.management.base import BaseCommand
from django.db import transaction
from django.db.models import Q

APP = "combat_history"
LOOK = Q(content_type__app_label=APP, codename__startswith="view_")

GAME_ADMIN = (
    "replay_combat",
    "correct_combat",
    "void_combat",
    "compensate_combat",
    "replay_parkedoperation",
    "discard_parkedoperation",
    "change_triage",
    "note_player",
    "export_combathistory",
    "export_auditentry",
    "add_itemtemplate",
    "change_itemtemplate",
    "add_balancetemplate",
    "change_balancetemplate",
    "change_inventoryitem",
    "add_reviewrule",
    "change_reviewrule",
)
SUPPORT = ("note_player",)
OPERATOR = ("replay_combat", "replay_parkedoperation", "control_settlement")

GROUPS = {
    "Support": LOOK | Q(content_type__app_label=APP, codename__in=SUPPORT),
    "Game admin": LOOK | Q(content_type__app_label=APP, codename__in=GAME_ADMIN),
    "Operator": LOOK | Q(content_type__app_label=APP, codename__in=OPERATOR),
}
"""Support looks, and notes; a game admin decides; an operator keeps combats flowing."""


class Command(BaseCommand):
    help = (
        "Create the groups Support, Game admin and Operator, or set their permissions."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            for name, condition in GROUPS.items():
                group, created = Group.objects.get_or_create(name=name)
                permissions = Permission.objects.filter(condition)
                group.permissions.set(permissions)
                word = "created" if created else "updated"
                self.stdout.write(f"{name}: {word}, {permissions.count()} permissions")
