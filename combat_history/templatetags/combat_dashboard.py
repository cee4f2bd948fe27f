"""The dashboard on the admin's first page."""

from __future__ import annotations

from typing import Any

from django import template
from django.http import HttpRequest

from combat_history.admin import dashboard

register = template.Library()


@register.inclusion_tag("admin/combat_history/includes/dashboard.html")
def combat_dashboard(request: HttpRequest) -> dict[str, Any]:
    """Empty for who may not view combats."""
    return dashboard.context(request) if dashboard.is_allowed(request) else {}
