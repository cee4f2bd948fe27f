"""Export of a list as it is filtered: CSV or JSON lines, streamed.

A GET shows what would be exported; a POST, with a reason, is audited and streams.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django import forms
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import BadRequest, PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.db.models import Model
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from combat_history.actions import audit
from combat_history.actions.audit import Act, Outcome
from combat_history.actions.export import AUDIT, HISTORY, Format, Source, Table, lines
from combat_history.admin.base import Page, actor_of
from combat_history.admin.forms import ReasonForm
from combat_history.admin.paginator import MAX_ROWS
from combat_history.models import AuditEntry, CombatHistory

TEMPLATE = "admin/combat_history/export.html"
VERB = "export"
TARGET = "table"

CHUNK_CHARACTERS = 64 * 1024
"""Sent at a time, and fetched by one change of threads."""

CONTENT_TYPES = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.JSONL: "application/x-ndjson; charset=utf-8",
}


class ExportForm(ReasonForm):
    format = forms.ChoiceField(
        label=_("Format"),
        choices=[
            (Format.CSV.value, _("CSV, for spreadsheets")),
            (Format.JSONL.value, _("JSON lines, whole")),
        ],
    )


TABLES: dict[type[Model], Table] = {CombatHistory: HISTORY, AuditEntry: AUDIT}


class ExportPage(Page):
    """For who may view the list, and has the permission to take it away."""

    route = "export/"
    name = "export"

    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponseBase:
        form = ExportForm(request.POST if request.method == "POST" else None)
        if not self.may_export(request):
            if request.method == "POST":
                table = TABLES[self.admin.model]
                reason = request.POST.get("reason", "")
                audit.deny(actor_of(request), VERB, TARGET, [table.name], reason)
            raise PermissionDenied
        source, count = self._source(request)
        if request.method == "POST" and form.is_valid():
            return _export(request, source, form.cleaned_data)
        back_url = self.admin.list_url()
        asked = request.GET.urlencode()
        context = {
            **self.context(request),
            "title": _("Export"),
            "form": form,
            "count": f"{count}+" if count == MAX_ROWS else count,
            "filters": [
                (name, ", ".join(values)) for name, values in request.GET.lists()
            ],
            "back_url": f"{back_url}?{asked}" if asked else back_url,
        }
        return TemplateResponse(request, TEMPLATE, context)

    def may_export(self, request: HttpRequest) -> bool:
        permission = f"combat_history.export_{self.admin.opts.model_name}"
        may_view = self.admin.has_view_permission(request)
        return may_view and request.user.has_perm(permission)

    def _source(self, request: HttpRequest) -> tuple[Source, int]:
        """The list's rows in the list's order, and how many it tells."""
        try:
            shown = self.admin.get_changelist_instance(request)
        except IncorrectLookupParameters as error:
            raise BadRequest(str(error)) from None
        order = shown.get_ordering(request, shown.queryset)
        table = TABLES[self.admin.model]
        source = Source(table, shown.queryset, tuple(map(str, order)))
        return source, shown.result_count


def _export(
    request: HttpRequest, source: Source, asked: dict[str, Any]
) -> HttpResponseBase:
    form = Format(asked["format"])
    table = source.table.name
    exported = {"format": form, "filters": dict(request.GET.lists())}
    act = Act(table, Outcome.DONE, after=exported)
    audit.record(actor_of(request), VERB, TARGET, [act], asked["reason"])
    parts = _chunks(lines(source, form))
    # What is iterated over in step would be read to its end before a byte is sent.
    is_async = isinstance(request, ASGIRequest)
    name = f"{table}-{timezone.now():%Y%m%dT%H%M%SZ}.{form}"
    return StreamingHttpResponse(
        _from_thread(parts) if is_async else parts,
        content_type=CONTENT_TYPES[form],
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _chunks(told: Iterable[str]) -> Iterator[bytes]:
    gathered: list[str] = []
    size = 0
    for line in told:
        gathered.append(line)
        size += len(line)
        if size >= CHUNK_CHARACTERS:
            yield "".join(gathered).encode()
            gathered, size = [], 0
    yield "".join(gathered).encode()


async def _from_thread(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Each is made, by the request's own thread, when the one before was taken."""
    while (part := await sync_to_async(lambda: next(parts, None))()) is not None:
        yield part
