"""The one search of every page: what was found, by kind; a single hit opens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from combat_history.admin.base import Page
from combat_history.admin.naming import name_of
from combat_history.admin.rendering import badges, visible
from combat_history.insight.search import MAX_HITS, Found, search
from combat_history.models import (
    AuditEntry,
    BalanceTemplate,
    Character,
    CombatHistory,
    ItemTemplate,
)
from persistence.contract.ids import short_id

if TYPE_CHECKING:
    from django.db.models import Model

MAX_TEXT = 120


class SearchPage(Page):
    """For everybody of the staff: each finds what they may view."""

    route = "search/"
    name = "search"

    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponse:
        term = request.GET.get("q", "").strip()

        def may_view(model: type[Model]) -> bool:
            return request.user.has_perm(
                f"combat_history.view_{model._meta.model_name}"
            )

        found = search(term, may_view)
        hits = [row for kind in found for row in kind.rows]
        if len(hits) == 1:
            return HttpResponseRedirect(_url(hits[0]))
        context = {
            **self.context(request),
            "title": _("Search"),
            "term": visible(term),
            "kinds": [_kind(kind) for kind in found],
        }
        template = "admin/combat_history/search.html"
        return TemplateResponse(request, template, context)


def _kind(found: Found) -> dict[str, Any]:
    return {
        "title": capfirst(found.model._meta.verbose_name_plural),
        "hits": [(_url(row), *_told(row)) for row in found.rows],
        "is_cut": len(found.rows) == MAX_HITS,
    }


def _url(row: Model) -> str:
    meta = row._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])


def _told(row: Any) -> tuple[object, object]:
    """A name to press, and what tells it from others."""
    match row:
        case CombatHistory():
            return short_id(row.pk), badges(row)
        case Character():
            return visible(row.name), row.pk
        case ItemTemplate() | BalanceTemplate():
            return visible(name_of(row)), visible(row.pk)
        case AuditEntry():
            return visible(row.reason[:MAX_TEXT]), visible(row.actor_name)
        case _:
            return visible(str(row)[:MAX_TEXT]), visible(row.reason[:MAX_TEXT])
