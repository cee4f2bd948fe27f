"""Operations of the game: what was asked, what came of it, and undoing one."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.utils import quote, unquote
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from combat_history.actions.undo import (
    OPERATION,
    PERMISSION,
    UndoResult,
    undo_operation,
)
from combat_history.admin.base import ReadOnlyAdmin, audit_of, column
from combat_history.admin.combats.undo import UndoPage
from combat_history.admin.naming import names
from combat_history.admin.rendering import preformatted, pretty, visible
from combat_history.models import LedgerLine, Operation
from persistence.contract.operations import is_op_id


class OperationUndoPage(UndoPage):
    route = "<path:key>/undo/"
    kind = OPERATION
    title = _("Undo an operation of the game")
    submit = _("Undo the operation")
    done = _("The operation is undone by counter-lines.")

    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponse:
        return super().__call__(request, key=unquote(named["key"]))

    def undo(self, key: str, **decided: Any) -> UndoResult:
        return undo_operation(key, **decided)

    def back_url(self, key: str) -> str:
        return operation_url(key)

    def head(self, request: HttpRequest, key: str) -> dict[str, Any]:
        return {
            **self.context(request),
            "title": self.title,
            "short_id": visible(key),
            "back_url": self.back_url(key),
        }


def operation_url(op_id: str) -> str:
    return reverse("admin:combat_history_operation_change", args=[quote(op_id)])


def _op_id(row: Operation) -> str:
    return visible(row.op_id)


def _reason(row: Operation) -> str:
    return visible(row.reason)


def _caller(row: Operation) -> str:
    return visible(row.caller)


def _players(row: Operation) -> SafeString:
    ids = sorted(map(int, row.document["characters"]))
    return names(ids, []).players(ids)


def _ledger(row: Operation) -> SafeString:
    url = reverse("admin:combat_history_ledgerline_changelist")
    return format_html('<a href="{}?q={}">{}</a>', url, row.id, gettext("Ledger"))


def _document(row: Operation) -> SafeString:
    return preformatted(pretty(row.document))


def _answer(row: Operation) -> SafeString:
    return preformatted(pretty(row.answer))


class OperationAdmin(ReadOnlyAdmin):
    pages = (OperationUndoPage,)
    columns = (
        column("op_id", _op_id, name="op_id"),
        column(_("reason"), _reason, name="reason"),
        column(_("API token"), _caller, name="caller"),
        column(_("applied"), "applied_at"),
        column(_("undone"), "undone_at"),
    )
    list_display = columns
    details = (
        *columns,
        column(_("players"), _players, name="players"),
        column(_("ledger"), _ledger, name="ledger"),
        column(_("document"), _document, name="document"),
        column(_("answer"), _answer, name="answer"),
    )
    ordering = ("-applied_at", "-op_id")
    search_fields = ("op_id",)
    search_help_text = _(
        "The beginning of an op_id, a character id, or the beginning of a character's "
        "name."
    )
    session_field = "id"
    character_field = "id"

    def narrow(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.defer("document", "answer")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if is_op_id(term):
            named = queryset.filter(op_id__startswith=term)
            if named.exists():
                return named, False
        return super().get_search_results(request, queryset, term)

    def of_characters(self, queryset: QuerySet[Any], character_ids: Any) -> Any:
        lines = LedgerLine.objects.filter(
            character_id__in=character_ids, kind=LedgerLine.Kind.OPERATION
        )
        return queryset.filter(id__in=lines.values("session_id"))

    def name_of(self, obj: Any) -> str:
        return visible(obj.op_id)

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        may_undo = request.user.has_perm(PERMISSION) and row.undone_at is None
        page = "admin:combat_history_operation_undo"
        return {"undo_url": reverse(page, args=[quote(row.pk)]) if may_undo else None}

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        return audit_of(unquote(object_id))
