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


@admin.display(description=_("on"), boolean=True)
def is_on(row: ReviewRule) -> bool:
    return row.is_on


class ReviewRuleAdmin(AuditedForms):
    """A rule is switched off rather than deleted: failures name its number.

    Rehearsed on its own page and not in the list: it reads a week of the ledger.
    """

    fields = ("amount", "span", "item_template_id", "limit", "is_on", "rehearsed")
    readonly_fields = ("rehearsed",)
    list_display = (
        "id",
        column(_("what"), "get_amount_display"),
        column(_("over"), "get_span_display"),
        column(_("item template"), "item_template_id"),
        column(_("limit"), "limit"),
        is_on,
    )
    ordering = ("id",)
    session_field = ""
    character_field = ""

    @admin.display(description=_("would have held, of the last week"), empty_value="—")
    def rehearsed(self, row: ReviewRule) -> str | None:
        if row._state.adding:
            return None
        held, combats = would_hold(row)
        return f"{held} / {combats}"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
