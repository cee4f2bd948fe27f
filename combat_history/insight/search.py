"""One search for all that a person is asked by: every kind by an index of its own.

What may be given: a session id in any form, or its beginning; a character's id,
external id, or words of its name; an item or a named balance; the id of an operation
or of a replay batch; words of an audit's reason. Words are found by their beginnings,
in any order and case, without accents: ё is е.
"""

from __future__ import annotations

import re
import unicodedata
from base64 import urlsafe_b64decode
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.postgres.search import SearchQuery
from django.db.models import Q, QuerySet

from combat_history.models import (
    AuditEntry,
    BalanceTemplate,
    Character,
    CombatHistory,
    ExternalId,
    ItemTemplate,
    Operation,
    ReplayBatch,
    SearchWords,
)
from persistence.contract.changes import MAX_BIGINT

if TYPE_CHECKING:
    from django.db.models import Model

MAX_HITS = 10
"""Of each kind; the rest is in the kind's own list."""

MAX_TERM = 200
MIN_HEX, MIN_SHORT = 4, 6
"""Characters from which the beginning of an id is looked for."""

_HEX = re.compile(r"[0-9a-f]{1,32}")
_SHORT = re.compile(r"[0-9A-Za-z_-]{1,22}")


@dataclass(frozen=True, slots=True)
class Found:
    """The rows of one kind, at most MAX_HITS."""

    model: type[Model]
    rows: list[Any]


def search(term: str, may_view: Callable[[type[Model]], bool]) -> list[Found]:
    """Kinds that there is something of, of those that may be looked at."""
    term = term.strip().lstrip("#@").strip()[:MAX_TERM]
    if not term or "\0" in term:
        return []
    found = [
        Found(model, list(rows[:MAX_HITS]))
        for model, look in LOOKS.items()
        if may_view(model) and (rows := look(term)) is not None
    ]
    return [kind for kind in found if kind.rows]


def id_range(term: str) -> tuple[UUID, UUID] | None:
    """The first and the last id that begins so: as UUID, hex or base64url."""
    digits = term.lower().replace("-", "")
    if len(digits) >= MIN_HEX and _HEX.fullmatch(digits):
        return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
    if len(term) >= MIN_SHORT and _SHORT.fullmatch(term):
        ends = (term.ljust(22, fill) + "==" for fill in "A_")
        first, last = (UUID(bytes=urlsafe_b64decode(end)) for end in ends)
        return first, last
    return None


def query_text(term: str) -> str | None:
    """What `search_words` of a text has to match; None of a term without a word."""
    plain = unicodedata.normalize("NFKD", term.lower())
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    words = re.findall(r"[^\W_]+", plain)
    if not words:
        return None
    return " & ".join(f"{word}:*" for word in words)


def of_words(term: str) -> SearchQuery | None:
    query = query_text(term)
    if query is None:
        return None
    return SearchQuery(query, search_type="raw", config="simple")


def _combats(term: str) -> QuerySet[CombatHistory] | None:
    ends = id_range(term)
    rows = CombatHistory.objects.defer("result_payload", "raw_payload")
    return rows.filter(pk__range=ends).order_by("-pk") if ends else None


def characters(term: str) -> QuerySet[Character]:
    # By one index each: of one question with an OR the table would be read.
    ids = set(
        ExternalId.objects.filter(value=term).values_list("character_id", flat=True)
    )
    if term.isascii() and term.isdigit() and int(term) <= MAX_BIGINT:
        ids.add(int(term))
    named = _with_words(Character, "name", term)
    ids.update(named.values_list("pk", flat=True)[:MAX_HITS])
    return Character.objects.filter(pk__in=ids).order_by("pk")


def _with_words(model: type[Model], field: str, term: str) -> QuerySet[Any]:
    query = of_words(term)
    rows = model._default_manager.annotate(words=SearchWords(field))
    return rows.filter(words=query).order_by("-pk") if query else rows.none()


def _in_catalogue(model: type[Model]) -> Callable[[str], QuerySet[Any]]:
    """A catalogue is small: all of it may be read."""

    def look(term: str) -> QuerySet[Any]:
        known = Q(pk__icontains=term) | Q(name_en__icontains=term)
        named = _with_words(model, "name", term).order_by().values("pk")
        rows = model._default_manager.filter(known | Q(pk__in=named))
        return rows.order_by("pk")

    return look


def _operations(term: str) -> QuerySet[Operation]:
    return Operation.objects.filter(op_id__startswith=term).order_by("op_id")


def _batches(term: str) -> QuerySet[ReplayBatch] | None:
    ends = id_range(term)
    return ReplayBatch.objects.filter(pk__range=ends).order_by("pk") if ends else None


def _audit(term: str) -> QuerySet[AuditEntry]:
    return _with_words(AuditEntry, "reason", term)


items = _in_catalogue(ItemTemplate)

LOOKS: dict[type[Model], Callable[[str], QuerySet[Any] | None]] = {
    CombatHistory: _combats,
    Character: characters,
    ItemTemplate: items,
    BalanceTemplate: _in_catalogue(BalanceTemplate),
    Operation: _operations,
    ReplayBatch: _batches,
    AuditEntry: _audit,
}
