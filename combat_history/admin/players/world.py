"""Characters and inventory to look at; the catalogues to complete.

Balances and quantities move only through the ledger, also where somebody corrects an
inventory: edited in place they would no longer reconcile. A missing catalogue entry is
what `unknown_item` and `unknown_balance` failures need.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from combat_history.admin.audited_forms import AuditedForms
from combat_history.admin.base import SEARCH_BY_BOTH, ReadOnlyAdmin, column
from combat_history.admin.catalogue import BACK
from combat_history.admin.naming import Names, name_of, session_search
from combat_history.admin.players import notes, page
from combat_history.admin.players.adjust import InventoryPage, adjust_url
from combat_history.admin.players.notes import NotePage
from combat_history.admin.rendering import (
    EMPTY,
    preformatted,
    pretty,
    session_link,
    visible,
)
from combat_history.models import Character, InventoryItem
from persistence.contract.changes import MAX_BIGINT


def _name(row: Character) -> str:
    return visible(row.name)


def _location(row: Character) -> str | None:
    return visible(row.location) or None


class CharacterAdmin(ReadOnlyAdmin):
    pages = (InventoryPage, NotePage)
    columns = (
        column(_("name"), _name, name="name"),
        column(_("XP"), "xp"),
        column(_("gold"), "gold"),
        column(_("health"), "hp"),
        column(_("energy"), "energy"),
        column(_("location"), _location, name="location"),
    )
    list_display = ("id", *columns)
    details = (*columns, column(_("vitals as of"), "vitals_at"))
    ordering = ("id",)
    search_fields = ("name",)
    search_help_text = _("A character id, or a part of the name.")
    session_field = ""
    character_field = "pk"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        found, _duplicates = super().get_search_results(request, queryset, search_term)
        term = search_term.strip()
        if term and not term.isdigit():
            found = queryset.filter(name__icontains=term)
        return found, False

    def name_of(self, obj: Any) -> str:
        return f"{visible(obj.name)} ({obj.pk})"

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        return {
            **page.page_context(row, request),
            **notes.context(row, request),
            "adjust_url": adjust_url(request, row),
        }


def _owner(row: InventoryItem) -> str:
    return Names({row.character_id: row.character.name}, {}).player(row.character_id)


def _template(row: InventoryItem) -> str:
    known = {row.item_template_id: name_of(row.item_template)}
    return Names({}, known).item(row.item_template_id)


def _reserved(row: InventoryItem) -> str | None:
    session_id = row.reserved_session_id
    # The fight may be in Redis alone still.
    return session_search(session_id) if session_id else None


def _properties(row: InventoryItem) -> SafeString | None:
    return preformatted(pretty(row.properties)) if row.properties else None


def _caller(row: InventoryItem) -> str | None:
    """Of an earlier fight it says nothing any more."""
    return row.reserved_caller or None if row.reserved_session_id else None


def _origin(row: InventoryItem) -> str | None:
    session_id = row.origin_session_id
    return session_link(session_id) if session_id else None


@admin.display(description=_("equipped"), boolean=True)
def equipped(row: InventoryItem) -> bool:
    return row.is_equipped


class InventoryItemAdmin(ReadOnlyAdmin):
    columns = (
        column(_("character"), _owner, name="owner"),
        column(_("item template"), _template, name="template"),
        column(_("quantity"), "quantity"),
        equipped,
        column(_("slot"), "slot"),
        column(_("reserved for combat"), _reserved, name="reserved"),
        column(_("durability"), "durability"),
        column(_("maximal durability"), "max_durability"),
    )
    list_display = ("id", *columns)
    details = (
        *columns,
        column(_("reserved by API token"), _caller, name="caller"),
        column(_("properties"), _properties, name="properties"),
        column(_("quantity it came with"), "opening_quantity"),
        column(_("won in combat"), _origin, name="origin"),
    )
    list_select_related = ("character", "item_template")
    ordering = ("-id",)
    search_fields = ("id",)
    search_help_text = SEARCH_BY_BOTH
    session_field = "reserved_session_id"


LABELS = {
    "id": _("id"),
    "stackable": _("stackable"),
    "max_durability": _("maximal durability"),
}


class CatalogueAdmin(AuditedForms):
    """Added and changed by whoever may; deleted by nobody: history names the ids."""

    columns = (
        column(_("id"), "id"),
        column(_("name (Russian)"), "name"),
        column(_("name (English)"), "name_en"),
    )
    initial: Mapping[str, object] = MappingProxyType({})
    """What a new entry begins with."""

    ordering = ("id",)
    search_fields = ("id", "name", "name_en")
    search_help_text = _("A part of the id or of a name.")
    empty_value_display = EMPTY

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        # A catalogue is small: text search may read all of it.
        return admin.ModelAdmin.get_search_results(self, request, queryset, search_term)

    def response_post_save_add(
        self, request: HttpRequest, obj: Any
    ) -> HttpResponseRedirect:
        """Back to the failures that it was added for, if it was for some."""
        back = request.GET.get(BACK, "")
        is_ours = url_has_allowed_host_and_scheme(back, allowed_hosts=None)
        if back and is_ours:
            return HttpResponseRedirect(back)
        return super().response_post_save_add(request, obj)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {**self.initial, **super().get_changeform_initial_data(request)}

    def formfield_for_dbfield(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        if db_field.name in LABELS:
            kwargs["label"] = LABELS[db_field.name]
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # A changed key would be a second item.
        return ("id",) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ItemTemplateAdmin(CatalogueAdmin):
    fields = ("id", "name", "name_en", "stackable", "max_durability")
    list_display = (
        *CatalogueAdmin.columns,
        column(_("maximal durability"), "max_durability"),
    )
    initial = MappingProxyType({"stackable": True})


class BalanceTemplateAdmin(CatalogueAdmin):
    fields = ("id", "name", "name_en", "floor", "maximum")
    list_display = (
        *CatalogueAdmin.columns,
        column(_("floor"), "floor"),
        column(_("maximum"), "maximum"),
    )
    initial = MappingProxyType({"floor": 0, "maximum": MAX_BIGINT})
