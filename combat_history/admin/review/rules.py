"""The review rules: made, changed and switched by whoever may, all of it audited."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from combat_history.admin.audited_forms import AuditedForms
from combat_history.admin.base import column
from combat_history.insight.rehearsal import would_hold
from combat_history.insight.usual import measure
from combat_history.models import CombatHistory, ReviewRule
from persistence.contract.errors import FailureCode
from persistence.savers.combat.policy import Held, held


@admin.display(description=_("on"), boolean=True)
def is_on(row: ReviewRule) -> bool:
    return row.is_on


def held_by(row: CombatHistory) -> tuple[Held, ReviewRule] | None:
    """What held a combat, as its failure says it, and the rule as it is now."""
    if row.failure_code != FailureCode.HELD_FOR_REVIEW:
        return None
    told = held(row.failure_detail or "")
    rule = ReviewRule.objects.filter(pk=told.rule_id).first() if told else None
    return (told, rule) if told and rule else None


class ReviewRuleAdmin(AuditedForms):
    """A rule is switched off rather than deleted: failures name its number.

    Rehearsed on its own page and not in the list: it reads a week of the ledger.
    """

    fields = (
        *("amount", "span", "item_template_id", "limit", "times_usual", "is_on"),
        *("usual", "rehearsed"),
    )
    readonly_fields = ("usual", "rehearsed")
    list_display = (
        "id",
        column(_("what"), "get_amount_display"),
        column(_("over"), "get_span_display"),
        column(_("item template"), "item_template_id"),
        column(_("limit"), "bound"),
        "usual",
        is_on,
    )
    ordering = ("id",)
    session_field = ""
    character_field = ""

    @admin.display(description=_("usual in the last week (p50 / p99)"), empty_value="—")
    def usual(self, row: ReviewRule) -> str | None:
        if row.usual_p99 is None:
            return None
        return f"{row.usual_p50} / {row.usual_p99}"

    @admin.display(description=_("would have held, of the last week"), empty_value="—")
    def rehearsed(self, row: ReviewRule) -> str | None:
        found = None if row._state.adding else would_hold(row)
        return None if found is None else f"{found[0]} / {found[1]}"

    def save_model(
        self, request: HttpRequest, obj: Any, form: Any, change: Any
    ) -> None:
        super().save_model(request, obj, form, change)
        measure([obj])

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
