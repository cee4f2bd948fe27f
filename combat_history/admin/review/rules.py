"""The review rules: made, changed and switched by whoever may, all of it audited."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from combat_history.admin.audited_forms import AuditedForms
from combat_history.admin.base import column
from combat_history.insight.rehearsal import would_hold
from combat_history.models import ReviewRule


def _rehearsed(row: ReviewRule) -> str:
    held, combats = would_hold(row)
    return f"{held} / {combats}"


@admin.display(description=_("on"), boolean=True)
def is_on(row: ReviewRule) -> bool:
    return row.is_on


class ReviewRuleAdmin(AuditedForms):
    """A rule is switched off rather than deleted: failures name its number."""

    fields = ("amount", "span", "item_template_id", "limit", "is_on")
    list_display = (
        "id",
        column(_("what"), "get_amount_display"),
        column(_("over"), "get_span_display"),
        column(_("item template"), "item_template_id"),
        column(_("limit"), "limit"),
        is_on,
        column(_("would have held, of the last week"), _rehearsed, name="rehearsed"),
    )
    ordering = ("id",)
    session_field = ""
    character_field = ""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
