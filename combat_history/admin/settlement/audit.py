"""The audit: who did what to which, why, and what came of it. Read-only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import Func, IntegerField, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from combat_history.actions import audit
from combat_history.admin.audit_words import target_of, verb_of
from combat_history.admin.base import ReadOnlyAdmin, column
from combat_history.admin.export import ExportPage
from combat_history.admin.rendering import EMPTY, preformatted, pretty, visible
from combat_history.models import AuditEntry, ReplayRequest
from persistence.contract.ids import parse_session_id, short_id

if TYPE_CHECKING:
    from django.utils.safestring import SafeString


MAX_MEMBERS = 500
"""Targets of one decision that its page names."""

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
    "player": "character",
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
    """Its kind, and its short id with the way to it; of several, how many they are."""
    page = TARGET_PAGES.get(entry.target_type)
    kind = target_of(entry.target_type)
    number = getattr(entry, "number", None)
    if number:
        url = reverse("admin:combat_history_auditentry_change", args=[entry.pk])
        return format_html('<a href="{}">{} × {}</a>', url, kind, number)
    if page is None or not entry.target_id:
        return format_html("{} {}", kind, visible(entry.target_id))
    return format_html("{} {}", kind, _link(page, entry.target_id))


@admin.display(description=_("members"))
def members(entry: AuditEntry) -> SafeString | str:
    """The targets of one decision about several, with the way to each."""
    ids = entry.members or []
    page = TARGET_PAGES.get(entry.target_type)
    if not ids:
        return EMPTY
    shown = [(_link(page, id_) if page else visible(id_),) for id_ in ids[:MAX_MEMBERS]]
    rest = max(0, len(ids) - MAX_MEMBERS)
    text = ngettext("… and %(count)s more", "… and %(count)s more", rest)
    more = [(text % {"count": rest},)] if rest else []
    return format_html_join(" ", "{}", [*shown, *more])


def _link(page: str, id_: str) -> SafeString:
    try:
        shown = short_id(parse_session_id(id_))
    except ValueError:
        shown = visible(id_)
    url = reverse(f"admin:combat_history_{page}_change", args=[quote(id_)])
    return format_html(
        '<a class="combat-id" href="{}" title="{}">{}</a>', url, id_, shown
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
        members,
        column(_("reason"), "reason"),
        column(_("outcome"), "get_outcome_display"),
        column(_("detail"), "detail"),
        before,
        after,
        column(_("request id"), "request_id"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        number = Func("members", function="cardinality", output_field=IntegerField())
        rows: QuerySet[Any] = super().get_queryset(request).annotate(number=number)
        return rows

    def narrow(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.defer("members", "before", "after")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        found = list(audit.about(*_ids(term)).values_list("pk", flat=True))
        if found:
            return queryset.filter(pk__in=found), False
        return queryset.filter(actor_name=term), False


def _ids(term: str) -> list[str]:
    """Of a combat, and of the batches that have replayed it; or the term itself."""
    try:
        session_id = parse_session_id(term)
    except ValueError:
        return [term]
    requests = ReplayRequest.objects.filter(session_id=session_id)
    batches = requests.exclude(batch_id=None).values_list("batch_id", flat=True)
    return [str(session_id), *map(str, batches)]


def _pretty(value: Any) -> str:
    return EMPTY if value is None else preformatted(pretty(value))
