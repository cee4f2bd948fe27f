"""Events, as the game is told them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from combat_history.admin.base import ReadOnlyAdmin, column
from combat_history.admin.combats.operations import operation_url
from combat_history.admin.naming import names
from combat_history.admin.rendering import (
    preformatted,
    pretty,
    session_link,
    visible,
)
from combat_history.models import SettlementEvent
from persistence.contract.changes import MAX_BIGINT


@admin.display(description=_("combat or operation"))
def subject(row: SettlementEvent) -> SafeString:
    if row.session_id is not None:
        return session_link(row.session_id)
    op_id = row.op_id or ""
    return format_html('<a href="{}">{}</a>', operation_url(op_id), visible(op_id))


def _players(row: SettlementEvent) -> SafeString:
    return names(row.character_ids, []).players(row.character_ids)


def _body(row: SettlementEvent) -> SafeString:
    return preformatted(pretty(row.body))


class SettlementEventAdmin(ReadOnlyAdmin):
    """Found by their ids alone: an index more would be paid by every event."""

    columns = (column(_("kind"), "kind"), subject, column(_("when"), "created_at"))
    list_display = ("id", *columns)
    details = (
        *columns,
        column(_("players"), _players, name="players"),
        column(_("body"), _body, name="body"),
    )
    ordering = ("-id",)
    search_fields = ("id",)
    search_help_text = _("The id of an event.")

    def narrow(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.defer("character_ids", "body")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        is_id = term.isascii() and term.isdigit() and int(term) <= MAX_BIGINT
        return queryset.filter(pk=int(term)) if is_id else queryset.none(), False
