"""Names beside ids, a whole page's at once: one query for each kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import get_language

from combat_history.admin.rendering import EMPTY, visible
from combat_history.models import Character, ItemTemplate

if TYPE_CHECKING:
    from django.utils.safestring import SafeString


class Names(NamedTuple):
    """Of what a page mentions; ids that nothing is known of stand for themselves."""

    characters: dict[int, str]
    items: dict[str, str]

    def player(self, char_id: int) -> SafeString:
        """A link to the player's page, where there is such a player."""
        name = self.characters.get(char_id)
        if name is None:
            return format_html("{}", char_id)
        return format_html(
            '<a href="{}">{}</a> ({})', player_url(char_id), visible(name), char_id
        )

    def item(self, template_id: object) -> str:
        if template_id is None:
            return EMPTY
        id_ = visible(str(template_id))
        name = self.items.get(str(template_id))
        return f"{visible(name)} ({id_})" if name else id_


def names(character_ids: Iterable[int], template_ids: Iterable[object]) -> Names:
    """Two queries, whatever is asked for."""
    characters = Character.objects.filter(pk__in=set(character_ids))
    known = {str(id_) for id_ in template_ids if id_ is not None}
    # NUL is in no key, and PostgreSQL refuses to look for it.
    templates = ItemTemplate.objects.filter(pk__in=[i for i in known if "\0" not in i])
    is_english = (get_language() or "").startswith("en")
    return Names(
        dict(characters.values_list("pk", "name")),
        {
            id_: (english if is_english and english else russian)
            for id_, russian, english in templates.values_list("pk", "name", "name_en")
        },
    )


def player_url(char_id: int) -> str:
    return reverse("admin:combat_history_character_change", args=[char_id])


def combats_url(term: object) -> str:
    """The history, searched."""
    return f"{reverse('admin:combat_history_combathistory_changelist')}?q={term}"
