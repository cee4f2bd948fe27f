"""The admin's first page: the dashboard, then every list, the often used first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import template
from django.http import HttpRequest

from combat_history.admin.settlement import dashboard

register = template.Library()

BY_USE = (
    "CombatHistory",
    "Character",
    "LedgerLine",
    "SettlementDiscrepancy",
    "RejectedPayload",
    "ParkedOperation",
    "ReplayBatch",
    "Operation",
    "ItemTemplate",
    "BalanceTemplate",
    "InventoryItem",
    "ReviewRule",
    "AuditEntry",
    "SettlementControl",
    "ApiToken",
    "SettlementFailure",
    "SettlementAttempt",
    "SettlementEvent",
    "AppliedOperation",
)


@register.inclusion_tag("admin/combat_history/includes/dashboard.html")
def combat_dashboard(request: HttpRequest) -> dict[str, Any]:
    """Empty for who may not view combats."""
    return dashboard.context(request) if dashboard.is_allowed(request) else {}


@register.simple_tag
def by_use(app_list: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """This application first, and its models in the order of BY_USE."""
    place = {name: number for number, name in enumerate(BY_USE)}
    ordered = []
    for app in sorted(app_list, key=lambda app: app["app_label"] != "combat_history"):
        models = sorted(
            app["models"], key=lambda model: place.get(model["object_name"], len(place))
        )
        ordered.append({**app, "models": models})
    return ordered
