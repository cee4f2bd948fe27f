"""The records around the history: ledger, discrepancies, tries, rejected payloads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.timezone import localtime
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from combat_history.admin.base import (
    SEARCH_BY_BOTH,
    SEARCH_BY_SESSION,
    ReadOnlyAdmin,
    column,
)
from combat_history.admin.naming import player, session_search, with_player
from combat_history.admin.rendering import (
    EMPTY,
    bytes_as_text,
    cut,
    failure_label,
    preformatted,
    pretty,
    session_link,
    visible,
)
from combat_history.admin.review.resubmit import ResubmitPage, resubmit_url
from combat_history.admin.review.triage import (
    TriagePage,
    may_triage,
    triage,
    triage_selected,
    with_triage,
)
from combat_history.insight import explain
from combat_history.models import (
    AppliedOperation,
    LedgerLine,
    RejectedPayload,
    SettlementAttempt,
    SettlementDiscrepancy,
    SettlementFailure,
)
from persistence.contract.errors import DiscrepancyCode, FailureCode

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise
    from django.utils.safestring import SafeString

REVISION = column(_("revision"), "revision")
RECORDED_AT = column(_("recorded"), "recorded_at")


@admin.display(description=_("combat"))
def combat(row: Any) -> str:
    # An opening balance belongs to no combat.
    return session_link(row.session_id) if row.session_id else EMPTY


def _items(line: LedgerLine) -> SafeString:
    return preformatted(pretty(line.items))


def _balances(line: LedgerLine) -> SafeString | None:
    return preformatted(pretty(line.balances)) if line.balances else None


class LedgerLineAdmin(ReadOnlyAdmin):
    columns = (
        combat,
        player,
        column(_("kind"), LedgerLine.get_kind_display, name="kind"),
        column(_("XP"), "xp_delta"),
        column(_("gold"), "gold_delta"),
        column(_("XP after"), "xp_after"),
        column(_("gold after"), "gold_after"),
        RECORDED_AT,
    )
    list_display = ("id", *columns)
    details = (
        *columns,
        REVISION,
        column(_("named balances"), _balances, name="balances"),
        column(_("items"), _items, name="items"),
    )
    ordering = ("-id",)
    search_fields = ("session_id",)
    search_help_text = SEARCH_BY_BOTH

    def narrow(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return with_player(queryset).defer("items", "balances")


@admin.display(description=_("discrepancy"))
def discrepancy(row: SettlementDiscrepancy) -> SafeString:
    known = explain.discrepancy(row.code)
    return format_html('<span title="{}">{}</span>', row.code, known.label)


def _item(row: SettlementDiscrepancy) -> str:
    """What was short: its template and the row that was named, or its balance."""
    inventory = f"#{row.inventory_id}" if row.inventory_id is not None else ""
    what = visible(row.balance_id or row.item_template_id or "")
    return f"{what} {inventory}".strip() or EMPTY


def _meaning(row: SettlementDiscrepancy) -> object:
    return explain.discrepancy(row.code).meaning


class DiscrepancyFilter(admin.SimpleListFilter):
    title = _("discrepancy")
    parameter_name = "code"

    def lookups(
        self, request: HttpRequest, model_admin: Any
    ) -> list[tuple[str, str | _StrPromise]]:
        return [(str(c), explain.discrepancy(c).label) for c in DiscrepancyCode]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[SettlementDiscrepancy]
    ) -> QuerySet[SettlementDiscrepancy]:
        code = self.value()
        return queryset.filter(code=code) if code else queryset


class SettlementDiscrepancyAdmin(ReadOnlyAdmin):
    pages = (TriagePage,)
    actions = (triage_selected,)
    has_triage_permission = may_triage
    columns = (
        combat,
        player,
        discrepancy,
        column(_("item"), _item, name="item"),
        column(_("wanted"), "wanted"),
        column(_("applied"), "applied"),
        RECORDED_AT,
    )
    list_display = ("id", *columns, triage)
    details = (*columns, column(_("meaning"), _meaning, name="meaning"), REVISION)
    list_filter = (DiscrepancyFilter,)
    ordering = ("-id",)
    search_fields = ("session_id",)
    search_help_text = SEARCH_BY_BOTH

    def narrow(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return with_player(with_triage(queryset))


def _outcome(row: SettlementAttempt) -> object:
    return explain.OUTCOMES.get(row.outcome, row.outcome)


def _code(row: SettlementAttempt | SettlementFailure) -> str:
    return failure_label(row.code)


def _detail(row: SettlementAttempt | SettlementFailure) -> SafeString | None:
    return preformatted(cut(visible(row.detail))) if row.detail else None


def _traceback(row: SettlementFailure) -> SafeString | None:
    return preformatted(cut(visible(row.traceback))) if row.traceback else None


class SettlementAttemptAdmin(ReadOnlyAdmin):
    columns = (
        combat,
        column(_("started"), "started_at"),
        column(_("ended"), "ended_at"),
        column(_("outcome"), _outcome, name="outcome"),
        column(_("failure"), _code, name="failure"),
        column(_("worker"), "worker"),
    )
    list_display = ("id", *columns)
    details = (*columns, column(_("detail"), _detail, name="detail"))
    ordering = ("-id",)
    search_fields = ("session_id",)
    search_help_text = SEARCH_BY_SESSION
    character_field = ""

    def narrow(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.defer("detail")


class SettlementFailureAdmin(ReadOnlyAdmin):
    columns = (
        combat,
        column(_("when"), "failed_at"),
        column(_("failure"), _code, name="failure"),
        REVISION,
    )
    list_display = ("id", *columns)
    details = (
        *columns,
        column(_("detail"), _detail, name="detail"),
        column(_("Traceback"), _traceback, name="traceback"),
    )
    ordering = ("-id",)
    search_fields = ("session_id",)
    search_help_text = SEARCH_BY_SESSION
    character_field = ""

    def narrow(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.defer("detail", "traceback")


@admin.display(description=_("rejection"))
def rejection(row: RejectedPayload) -> str:
    return failure_label(row.code)


def _explained(row: RejectedPayload) -> SafeString:
    known = explain.failure(row.code)
    return format_html("{}<br>{}", known.meaning, known.remedy)


def _errors(row: RejectedPayload) -> SafeString:
    return format_html(
        '<ul class="combat-faults">{}</ul>',
        format_html_join(
            "",
            "<li><code>{}</code> {}</li>",
            (
                (visible(str(error.get("path"))), visible(str(error.get("message"))))
                for error in row.errors
            ),
        ),
    )


def _session(row: RejectedPayload) -> str:
    return session_search(row.session_id) if row.session_id else EMPTY


def _caller(row: RejectedPayload) -> str | None:
    return row.caller or None


def _handed_over(row: RejectedPayload) -> str:
    """As which session, by whom and when somebody put it right and handed it over."""
    if row.handed_over_as is None or row.handed_over_at is None:
        return EMPTY
    told = gettext("by %(who)s, %(at)s") % {
        "who": visible(row.handed_over_by),
        "at": date_format(localtime(row.handed_over_at), "Y-m-d H:i"),
    }
    return format_html("{} {}", session_search(row.handed_over_as), told)


def _raw(row: RejectedPayload) -> SafeString | None:
    return preformatted(bytes_as_text(bytes(row.raw))) if row.raw is not None else None


class RejectionFilter(admin.SimpleListFilter):
    title = _("rejection")
    parameter_name = "code"

    def lookups(
        self, request: HttpRequest, model_admin: Any
    ) -> list[tuple[str, str | _StrPromise]]:
        return [(str(code), explain.failure(code).label) for code in FailureCode]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[RejectedPayload]
    ) -> QuerySet[RejectedPayload]:
        code = self.value()
        return queryset.filter(code=code) if code else queryset


class RejectedPayloadAdmin(ReadOnlyAdmin):
    pages = (ResubmitPage, TriagePage)
    actions = (triage_selected,)
    has_triage_permission = may_triage
    columns = (
        rejection,
        column(_("session id"), _session, name="session_id"),
        column(_("times seen"), "times_seen"),
        column(_("received"), "received_at"),
        column(_("last seen"), "last_seen_at"),
        column(_("API token"), _caller, name="caller"),
        column(_("handed over"), _handed_over, name="handed_over"),
    )
    list_display = ("id", *columns, triage)
    details = (
        *columns,
        column(_("explanation"), _explained, name="explanation"),
        column(_("errors"), _errors, name="errors"),
        column("SHA-256", "payload_sha256"),
        column(_("bytes received"), _raw, name="raw"),
    )
    list_filter = (RejectionFilter,)
    ordering = ("-id",)
    search_fields = ("session_id",)
    search_help_text = SEARCH_BY_SESSION
    character_field = ""

    def narrow(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return with_triage(queryset).defer("raw", "errors")

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        return {"resubmit_url": resubmit_url(request, row)}


def _key(row: AppliedOperation) -> str:
    return visible(row.key)


class AppliedOperationAdmin(ReadOnlyAdmin):
    columns = (
        column(_("key"), _key, name="key"),
        column(_("scope"), "scope"),
        column(_("applied"), "applied_at"),
    )
    list_display = columns
    details = columns
    ordering = ("-key",)
    search_fields = ("key",)
    search_help_text = _("The whole key of an operation.")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        return (queryset.filter(key=term) if term else queryset), False
