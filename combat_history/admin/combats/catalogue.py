"""From a failure to the catalogue's form for what is missing there."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.urls import reverse

from combat_history.admin import sides
from combat_history.admin.naming import Names
from combat_history.admin.rendering import visible

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

PERMISSION = "combat_history.add_itemtemplate"

MAX_LINKS = 20

Links = list[tuple[str, str]]
"""(address of the form, id) of each missing item."""


def missing(document: object, known: Names, user: User | AnonymousUser) -> Links:
    """Links to add what the document's loot names and the catalogue lacks.

    Empty for who may not add to the catalogue.

    `known` holds the names of all that is there. Loot that is told by a name alone is
    left out: it has no id to begin with.
    """
    if not user.has_perm(PERMISSION):
        return []
    gained = dict.fromkeys(sides.gained_templates(document))
    lacking = [id_ for id_ in gained if id_ not in known.items]
    url = reverse("admin:combat_history_itemtemplate_add")
    return [
        (f"{url}?{urlencode({'id': id_})}", visible(id_)) for id_ in lacking[:MAX_LINKS]
    ]
