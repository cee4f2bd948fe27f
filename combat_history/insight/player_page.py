"""Reads what is known of one player, in bounded pages.

Every query goes by a key that begins with the character or by primary keys, and reads
a bounded number of rows, however long the player's history is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import JSONField, Q, QuerySet
from django.db.models.expressions import RawSQL
from django.db.models.fields.json import KeyTransform

from combat_history.insight.search import characters, items, query_text
from combat_history.models import (
    CombatHistory,
    CombatParticipant,
    InventoryItem,
    LedgerLine,
    NamedBalance,
    ParkedOperation,
    RejectedPayload,
    SettlementDiscrepancy,
    Status,
)
from persistence.contract.changes import MAX_BIGINT

PAGE = 20
"""Fights, and ledger lines, on one page."""

MAX_ITEMS = 200
MAX_REFUSALS = 50

REFUSAL_WINDOW = 1_000
"""Latest fights of the player among which unsettled ones are looked for."""


MAX_FIGHTERS = 20
"""Of one fight whose names are read; a document may hold a thousand."""

SEARCH_WINDOW = 1_000
"""Latest fights of the player, within the range, that a search looks at."""

_FIND = """
WITH fight AS MATERIALIZED (
    SELECT finished_at, session_id FROM combat_participants
    WHERE character_id = %(player)s
      AND (%(since)s::timestamptz IS NULL OR finished_at >= %(since)s)
      AND (%(until)s::timestamptz IS NULL OR finished_at <= %(until)s)
    ORDER BY finished_at DESC, session_id DESC
    LIMIT %(window)s
)
SELECT fight.finished_at, fight.session_id
FROM fight
JOIN combat_history h USING (session_id)
WHERE h.participant_ids && %(characters)s::bigint[]
   OR EXISTS (
        SELECT FROM jsonb_each(CASE
            WHEN jsonb_typeof(h.result_payload -> 'participants') = 'object'
            THEN h.result_payload -> 'participants' END) AS other (key, value)
        WHERE other.key <> %(player)s::text
          AND (other.key = %(term)s OR search_words(other.value ->> 'name')
               @@ to_tsquery('simple', %(words)s)))
   OR EXISTS (
        SELECT FROM settlement_ledger l
        WHERE l.session_id = fight.session_id AND l.character_id = %(player)s
          AND (abs(l.gold_delta) = %(amount)s OR abs(l.xp_delta) = %(amount)s
               OR EXISTS (
                    SELECT FROM jsonb_array_elements(l.items) AS item
                    WHERE item ->> 'item_template_id' = ANY (%(items)s::text[])
                       OR item -> 'delta' IN (to_jsonb(%(amount)s::bigint),
                                              to_jsonb(-%(amount)s::bigint)))))
ORDER BY 1 DESC, 2 DESC
LIMIT %(page)s
"""

_FIGHTERS = """(
SELECT jsonb_object_agg(key, jsonb_build_object(
    'name', value -> 'name', 'team', value -> 'team'))
FROM (
    SELECT key, value FROM jsonb_each(CASE
        WHEN jsonb_typeof(result_payload -> 'participants') = 'object'
        THEN result_payload -> 'participants' END)
    LIMIT %s) fighter
)"""


@dataclass(frozen=True, slots=True)
class Position:
    """The place of a fight among a player's, for keyset pages."""

    finished_at: datetime
    session_id: UUID


@dataclass(frozen=True, slots=True)
class Range:
    """Fights that ended in it, both ends included; None is open."""

    since: datetime | None
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Fight:
    """`row.document_meta`, `row.document_part` and `row.fighters` are of a document
    that may hold anything; `line` is the settlement's, None where nothing was applied.
    No `row`: the key outlived it."""

    position: Position
    row: Any
    line: LedgerLine | None


@dataclass(frozen=True, slots=True)
class Fights:
    fights: list[Fight] = field(default_factory=list)
    older: Position | None = None


@dataclass(frozen=True, slots=True)
class Lines:
    lines: list[LedgerLine] = field(default_factory=list)
    older: int | None = None


def inventory(char_id: int) -> tuple[list[InventoryItem], bool]:
    """Equipped first; and whether there are more than MAX_ITEMS."""
    rows = InventoryItem.objects.filter(character_id=char_id)
    found = list(rows.order_by("-is_equipped", "slot", "pk")[: MAX_ITEMS + 1])
    return found[:MAX_ITEMS], len(found) > MAX_ITEMS


def balances(char_id: int) -> dict[str, int]:
    """The first MAX_ITEMS of the named ones, by id."""
    rows = NamedBalance.objects.filter(character_id=char_id).order_by("balance_id")
    return dict(rows.values_list("balance_id", "amount")[:MAX_ITEMS])


def fights(char_id: int, below: Position | None, within: Range | None = None) -> Fights:
    """Newest first, from below a position on. Three queries."""
    keys = CombatParticipant.objects.filter(character_id=char_id)
    if within is not None and within.since:
        keys = keys.filter(finished_at__gte=within.since)
    if within is not None and within.until:
        keys = keys.filter(finished_at__lte=within.until)
    if below is not None:
        # With a bound that an index has: a bare OR would read from the newest on.
        keys = keys.filter(
            Q(finished_at__lt=below.finished_at) | Q(session_id__lt=below.session_id),
            finished_at__lte=below.finished_at,
        )
    newest = keys.order_by("-finished_at", "-session_id")
    found = list(newest.values_list("finished_at", "session_id")[: PAGE + 1])
    positions = [Position(*key) for key in found[:PAGE]]
    older = positions[-1] if len(found) > PAGE else None
    return _of_keys(char_id, positions, older)


def _of_keys(
    char_id: int, positions: Sequence[Position], older: Position | None = None
) -> Fights:
    ids = [position.session_id for position in positions]
    rows = {row.pk: row for row in _told_to(char_id).filter(pk__in=ids)}
    settled = LedgerLine.objects.filter(
        session_id__in=ids, character_id=char_id, kind=LedgerLine.Kind.SETTLEMENT
    ).order_by("revision")
    lines = {line.session_id: line for line in settled}
    return Fights(
        [
            Fight(at, rows.get(at.session_id), lines.get(at.session_id))
            for at in positions
        ],
        older,
    )


def find(char_id: int, term: str, within: Range | None) -> Fights:
    """Of the latest SEARCH_WINDOW fights in the range the newest that `term` is about.

    It is an opponent's id or words of their name, an item's id or words of its name, or
    an amount of gold, of XP or of an item. A few queries.
    """
    opponents = characters(term).exclude(pk=char_id).values_list("pk", flat=True)
    is_amount = term.isascii() and term.isdigit() and int(term) <= MAX_BIGINT
    named: dict[str, Any] = {
        "player": char_id,
        "since": within and within.since,
        "until": within and within.until,
        "window": SEARCH_WINDOW,
        "page": PAGE,
        "term": term,
        "amount": int(term) if is_amount else None,
        "words": query_text(term),
        "characters": list(opponents[:MAX_FIGHTERS]),
        "items": list(items(term).values_list("pk", flat=True)[:MAX_ITEMS]),
    }
    with connection.cursor() as cursor:
        cursor.execute(_FIND, named)
        return _of_keys(char_id, [Position(*key) for key in cursor.fetchall()])


def ledger(char_id: int, below: int | None) -> Lines:
    """Newest first, from below an id on."""
    rows = LedgerLine.objects.filter(character_id=char_id)
    if below is not None:
        rows = rows.filter(pk__lt=below)
    found = list(rows.order_by("-pk")[: PAGE + 1])
    return Lines(found[:PAGE], found[PAGE - 1].pk if len(found) > PAGE else None)


def discrepancies(char_id: int) -> list[SettlementDiscrepancy]:
    rows = SettlementDiscrepancy.objects.filter(character_id=char_id)
    return list(rows.order_by("-pk")[:MAX_REFUSALS])


def parked(char_id: int) -> list[ParkedOperation]:
    """Operations still parked, oldest first, as the next save will take them."""
    rows = ParkedOperation.objects.filter(character_id=char_id, resolved_at=None)
    return list(rows.order_by("pk")[:MAX_REFUSALS])


def rejected(char_id: int) -> list[RejectedPayload]:
    """Rejected payloads whose bytes name the player, and those of the player's last
    REFUSAL_WINDOW fights; newest first."""
    rows = RejectedPayload.objects.defer("raw", "errors").order_by("-pk")
    # Two questions: of one with an OR PostgreSQL would read the whole table.
    naming = rows.filter(participant_ids__contains=[char_id])[:MAX_REFUSALS]
    window = _newest_keys(char_id).values("session_id")[:REFUSAL_WINDOW]
    of_fights = rows.filter(session_id__in=window)[:MAX_REFUSALS]
    found = {row.pk: row for row in (*naming, *of_fights)}
    return [found[pk] for pk in sorted(found, reverse=True)][:MAX_REFUSALS]


def without_effect(char_id: int) -> list[Any]:
    """Fights, of the player's last REFUSAL_WINDOW, that gave nothing or no more:
    pending, failed, voided and undone ones, newest first."""
    window = _newest_keys(char_id).values("session_id")
    rows = _told_to(char_id).filter(
        ~Q(settlement_status=Status.PROCESSED) | Q(compensated_at__isnull=False),
        pk__in=window[:REFUSAL_WINDOW],
    )
    return list(rows.order_by("-finished_at", "-session_id")[:MAX_REFUSALS])


def _newest_keys(char_id: int) -> QuerySet[CombatParticipant]:
    keys = CombatParticipant.objects.filter(character_id=char_id)
    return keys.order_by("-finished_at", "-session_id")


def _told_to(char_id: int) -> QuerySet[Any]:
    """Combats with no more of their documents than concerns the player."""
    participants = KeyTransform("participants", "result_payload")
    return CombatHistory.objects.annotate(
        document_meta=KeyTransform("meta", "result_payload"),
        document_part=KeyTransform(str(char_id), participants),
        fighters=RawSQL(_FIGHTERS, [MAX_FIGHTERS], JSONField()),  # noqa: S611 -- a constant
    ).only("finished_at", "settlement_status", "compensated_at", "failure_code")
