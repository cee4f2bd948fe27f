"""Names beside ids, a whole page's at once: one query for each kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from combat_history.admin.rendering import EMPTY, as_json, visible
from combat_history.models import BalanceTemplate, Character, ItemTemplate
from persistence.contract.ids import short_id

if TYPE_CHECKING:
    from django.utils.safestring import SafeString


MAX_TOLD = 200
"""Characters shown of an item's properties in a line."""

MAX_PLAYERS = 10
"""Players named of one combat in a list."""


class Names(NamedTuple):
    """Names of what a page mentions; an id without a name stands for itself."""

    characters: dict[int, str]
    items: dict[str, str]
    balances: Mapping[str, str] = MappingProxyType({})

    def player(self, char_id: int) -> SafeString:
        """A link to the player's page, where there is such a player."""
        name = self.characters.get(char_id)
        if name is None:
            return format_html("{}", char_id)
        return format_html(
            '<a href="{}">{}</a> ({})', player_url(char_id), visible(name), char_id
        )

    def players(self, char_ids: Sequence[int]) -> SafeString:
        """The first MAX_PLAYERS of them."""
        shown = ((self.player(char_id),) for char_id in char_ids[:MAX_PLAYERS])
        told = format_html_join(", ", "{}", shown)
        rest = len(char_ids) > MAX_PLAYERS
        return format_html("{}, …", told) if rest else told

    def item(self, template_id: object) -> str:
        if template_id is None:
            return EMPTY
        if not isinstance(template_id, str):
            return as_json(template_id)
        return _beside(template_id, self.items.get(template_id))

    def piece(self, template_id: object, properties: object) -> str:
        """An item, with what tells this piece from others of its kind."""
        item = self.item(template_id)
        return f"{item} {told(properties)}" if properties else item

    def balance(self, balance_id: str) -> str:
        return _beside(balance_id, self.balances.get(balance_id))


def told(properties: object) -> str:
    """In one line, for whoever need not read all of them."""
    text = as_json(properties)
    return text if len(text) <= MAX_TOLD else f"{text[:MAX_TOLD]}…"


def _beside(id_: str, name: str | None) -> str:
    return f"{visible(name)} ({visible(id_)})" if name else visible(id_)


def names(
    character_ids: Iterable[int],
    template_ids: Iterable[object],
    balance_ids: Iterable[object] = (),
) -> Names:
    """Two queries, whatever is asked for; one more for named balances."""
    characters = Character.objects.filter(pk__in=set(character_ids))
    return Names(
        dict(characters.values_list("pk", "name")),
        _of_catalogue(ItemTemplate, template_ids),
        _of_catalogue(BalanceTemplate, balance_ids),
    )


def _of_catalogue(
    catalogue: type[ItemTemplate | BalanceTemplate], ids: Iterable[object]
) -> dict[str, str]:
    known = {str(id_) for id_ in ids if id_ is not None}
    # NUL is in no key, and PostgreSQL refuses to look for it. Of none it is not asked.
    found = catalogue.objects.filter(pk__in=[i for i in known if "\0" not in i])
    return {template.pk: name_of(template) for template in found}


def name_of(template: ItemTemplate | BalanceTemplate) -> str:
    """In the reader's language, if it has a name there."""
    is_english = (get_language() or "").startswith("en")
    return template.name_en if is_english and template.name_en else template.name


def with_player(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Each row of a list with `player_name`, in the list's own query."""
    owner = Character.objects.filter(pk=OuterRef("character_id"))
    named: QuerySet[Any] = rows.annotate(player_name=Subquery(owner.values("name")))
    return named


@admin.display(description=_("character"))
def player(row: Any) -> SafeString:
    """The column of rows `with_player`; of another row the name is looked up."""
    if hasattr(row, "player_name"):
        known = {row.character_id: row.player_name} if row.player_name else {}
        return Names(known, {}).player(row.character_id)
    return names([row.character_id], []).player(row.character_id)


def player_url(char_id: int) -> str:
    return reverse("admin:combat_history_character_change", args=[char_id])


def session_search(session_id: UUID) -> SafeString:
    """To what the history has of a session, if anything."""
    return format_html(
        '<a class="combat-id" href="{}" title="{}">{}</a>',
        combats_url(session_id),
        session_id,
        short_id(session_id),
    )


def combats_url(term: object) -> str:
    """The history, searched."""
    return f"{reverse('admin:combat_history_combathistory_changelist')}?q={term}"
