"""From a failure to the catalogue's form for what is missing there."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import gettext

from combat_history.admin import sides
from combat_history.admin.naming import Names
from combat_history.admin.rendering import visible
from combat_history.insight.failures import Cause
from persistence.contract.errors import FailureCode

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

FORMS: dict[str, str] = {
    FailureCode.UNKNOWN_ITEM: "itemtemplate",
    FailureCode.UNKNOWN_BALANCE: "balancetemplate",
}
"""The model whose entry is missing, by the code of the failure."""

BACK = "back"
"""Parameter of the form: where to go once the entry is saved."""

MAX_LINKS = 20

Links = list[tuple[str, str]]
"""(address of the form, what it is called) of each missing entry."""


def remedies(cause: Cause, user: User | AnonymousUser, back: str) -> Links:
    """Links to add the subject of a cause to its catalogue, and to come back.

    What an engine calls an item is its id or its name: the person says which.
    """
    model = FORMS.get(cause.code)
    if (
        not model
        or not cause.subject
        or not user.has_perm(f"combat_history.add_{model}")
    ):
        return []
    url = reverse(f"admin:combat_history_{model}_add")
    ways = [("id", gettext("Add it with this id"))]
    if cause.code == FailureCode.UNKNOWN_ITEM:
        ways.append(("name", gettext("Add it under this name")))
        if not cause.subject.isascii() or " " in cause.subject:
            ways.reverse()
    return [
        (f"{url}?{urlencode({field: cause.subject, BACK: back})}", label)
        for field, label in ways
    ]


def missing(
    code: str, document: object, known: Names, user: User | AnonymousUser
) -> Links:
    """Links to add what the document names and its catalogue lacks, by `code`.

    Empty for who may not add to that catalogue.

    `known` holds the names of all that is there. Loot that is told by a name alone is
    left out: it has no id to begin with.
    """
    model = FORMS.get(code)
    if model is None or not user.has_perm(f"combat_history.add_{model}"):
        return []
    if code == FailureCode.UNKNOWN_BALANCE:
        ids, there = sides.balance_ids(document), known.balances
    else:
        ids, there = sides.gained_templates(document), known.items
    lacking = [id_ for id_ in dict.fromkeys(ids) if id_ not in there]
    url = reverse(f"admin:combat_history_{model}_add")
    return [
        (f"{url}?{urlencode({'id': id_})}", visible(id_)) for id_ in lacking[:MAX_LINKS]
    ]
