"""Parked operations: what no Saver could apply, why, and the doors to decide on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from combat_history.actions.parked import Action
from combat_history.admin.base import SEARCH_BY_CHARACTER, ReadOnlyAdmin, column
from combat_history.admin.naming import player, with_player
from combat_history.admin.rendering import cut, preformatted, pretty, visible
from combat_history.admin.review.parked_codes import explained
from combat_history.admin.review.parked_pages import (
    BUTTONS,
    DiscardPage,
    RetryPage,
    discard_selected,
    may_discard,
    may_retry,
    retry_selected,
)
from combat_history.admin.review.triage import (
    TriagePage,
    may_triage,
    triage,
    triage_selected,
    with_triage,
)
from combat_history.models import ParkedOperation
from persistence.contract.errors import ParkCode
from persistence.protocols import SyncScope

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise
    from django.utils.safestring import SafeString

Choices = list[tuple[str, "str | _StrPromise"]]


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [
            ("parked", _("parked")),
            ("requested", _("to be tried again")),
            *ParkedOperation.Resolution.choices,
        ]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[ParkedOperation]
    ) -> QuerySet[ParkedOperation]:
        match self.value():
            case None:
                return queryset
            case "parked":
                return queryset.filter(resolved_at=None)
            case "requested":
                return queryset.filter(
                    resolved_at=None, retry_requested_at__isnull=False
                )
            case resolution:
                return queryset.filter(resolution=resolution)


class CodeFilter(admin.SimpleListFilter):
    title = _("reason")
    parameter_name = "code"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(str(code), explained(code).label) for code in ParkCode]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[ParkedOperation]
    ) -> QuerySet[ParkedOperation]:
        code = self.value()
        return queryset.filter(code=code) if code else queryset


class ScopeFilter(admin.SimpleListFilter):
    title = _("scope")
    parameter_name = "scope"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(s, s) for s in (*map(str, SyncScope), *settings.SETTLEMENT_SAVERS)]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[ParkedOperation]
    ) -> QuerySet[ParkedOperation]:
        scope = self.value()
        return queryset.filter(scope=scope) if scope else queryset


@admin.display(description=_("operation"))
def operation(row: ParkedOperation) -> SafeString:
    return format_html('<span class="combat-id">{}</span>', visible(row.op_id))


@admin.display(description=_("reason"))
def reason(row: ParkedOperation) -> SafeString:
    label = explained(row.code).label
    return format_html('<span title="{}">{}</span>', row.code, label)


@admin.display(description=_("state"))
def state(row: ParkedOperation) -> str:
    if row.resolution is not None:
        return str(ParkedOperation.Resolution(row.resolution).label)
    return str(_("to be tried again") if row.retry_requested_at else _("parked"))


def _waits_for(row: ParkedOperation) -> str | None:
    return visible(row.blocked_by) if row.blocked_by else None


def _explained(row: ParkedOperation) -> SafeString:
    known = explained(row.code)
    return format_html("{}<br>{}", known.meaning, known.remedy)


def _detail(row: ParkedOperation) -> SafeString | None:
    return preformatted(cut(visible(row.detail))) if row.detail else None


def _document(row: ParkedOperation) -> SafeString:
    return preformatted(pretty(row.operation))


class ParkedOperationAdmin(ReadOnlyAdmin):
    """Read-only; what can be done here is to retry, or to discard."""

    pages = (RetryPage, DiscardPage, TriagePage)
    actions = (retry_selected, discard_selected, triage_selected)
    has_retry_permission = may_retry
    has_discard_permission = may_discard
    has_triage_permission = may_triage

    columns = (
        operation,
        column(_("scope"), "scope"),
        player,
        reason,
        column(_("waits for"), _waits_for, name="waits_for"),
        state,
        column(_("parked"), "parked_at"),
    )
    list_display = (*columns, triage)
    details = (
        *columns,
        column(_("detail"), _detail, name="detail"),
        column(_("explanation"), _explained, name="explanation"),
        column(_("document"), _document, name="document"),
        column(_("times seen"), "times_seen"),
        column(_("last seen"), "last_seen_at"),
        column(_("retry asked for"), "retry_requested_at"),
        column(_("resolved"), "resolved_at"),
    )
    list_filter = (StateFilter, CodeFilter, ScopeFilter)
    ordering = ("-id",)
    search_fields = ("character_id",)
    search_help_text = SEARCH_BY_CHARACTER
    session_field = ""

    def narrow(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return with_player(with_triage(queryset)).defer("operation", "detail")

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        if row.resolution is not None:
            return {}
        decisions = [
            (_url(action, row), BUTTONS[action])
            for action in Action
            if request.user.has_perm(action.permission)
        ]
        return {"decisions": decisions}


def _url(action: Action, row: ParkedOperation) -> str:
    return f"{reverse(f'admin:combat_history_parkedoperation_{action}')}?id={row.pk}"
