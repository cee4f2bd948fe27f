"""The audit: who did what to which, why, and what came of it. Read-only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from combat_history.admin.audit_words import target_of, verb_of
from combat_history.admin.base import ReadOnlyAdmin, column
from combat_history.admin.export import ExportPage
from combat_history.admin.rendering import EMPTY, preformatted, pretty, visible
from combat_history.models import AuditEntry
from persistence.contract.ids import parse_session_id, short_id

if TYPE_CHECKING:
    from django.utils.safestring import SafeString


TARGET_PAGES = {
    "combat": "combathistory",
    "replay batch": "replaybatch",
    "rejected": "rejectedpayload",
    "parked": "parkedoperation",
    "parked operation": "parkedoperation",
    "discrepancy": "settlementdiscrepancy",
    "itemtemplate": "itemtemplate",
    "operation": "operation",
    "balancetemplate": "balancetemplate",
    "character": "character",
}
"""Kinds of target with a page of their own."""


@admin.display(description=_("before"))
def before(entry: AuditEntry) -> str:
    return _pretty(entry.before)


@admin.display(description=_("after"))
def after(entry: AuditEntry) -> str:
    return _pretty(entry.after)


@admin.display(description=_("action"))
def verb(entry: AuditEntry) -> str:
    return verb_of(entry.verb)


@admin.display(description=_("target"))
def target(entry: AuditEntry) -> SafeString:
    """Its kind, and its short id with the way to it."""
    page = TARGET_PAGES.get(entry.target_type)
    kind = target_of(entry.target_type)
    if page is None or not entry.target_id:
        return format_html("{} {}", kind, visible(entry.target_id))
    try:
        shown = short_id(parse_session_id(entry.target_id))
    except ValueError:
        shown = visible(entry.target_id)
    url = reverse(f"admin:combat_history_{page}_change", args=[quote(entry.target_id)])
    return format_html(
        '{} <a class="combat-id" href="{}" title="{}">{}</a>',
        kind,
        url,
        entry.target_id,
        shown,
    )


class AuditEntryAdmin(ReadOnlyAdmin):
    """Search by target (a session id in any form, any other id) or by user name."""

    pages = (ExportPage,)
    list_display = (
        "at",
        "actor_name",
        verb,
        target,
        "outcome",
        "detail",
        "reason",
    )
    list_filter = ("outcome",)
    ordering = ("-id",)
    search_fields = ("target_id",)
    search_help_text = _("A session id in any form, another target's id, or a user.")
    details = (
        column(_("when"), "at"),
        column(_("who"), "actor_name"),
        verb,
        target,
        column(_("target id"), "target_id"),
        column(_("reason"), "reason"),
        column(_("outcome"), "get_outcome_display"),
        column(_("detail"), "detail"),
        before,
        after,
        column(_("request id"), "request_id"),
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            term = str(parse_session_id(term))
        except ValueError:
            named = queryset.filter(actor_name=term)
            return queryset.filter(target_id=term) | named, False
        return queryset.filter(target_id=term), False


def _pretty(value: Any) -> str:
    return EMPTY if value is None else preformatted(pretty(value))
