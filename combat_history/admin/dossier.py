"""Everything known of one combat besides its row: what moved, what lacked, what was
tried. A fixed number of queries, and a bounded number of rows of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db.models import QuerySet

from combat_history import explain
from combat_history.admin.rendering import bytes_as_text, pretty, visible
from combat_history.models import (
    Character,
    CombatHistory,
    LedgerLine,
    SettlementAttempt,
    SettlementDiscrepancy,
)

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

MAX_RECORDS = 100
"""Of each kind on a page; the rest is in the kind's own list."""

MAX_MOVEMENTS = 20
"""Inventory movements shown of one ledger line."""


@dataclass(frozen=True, slots=True)
class Movement:
    kind: str | _StrPromise
    item: str
    inventory_id: object
    delta: str
    after: object


@dataclass(frozen=True, slots=True)
class Line:
    """What the combat did to one player."""

    player: str
    xp: str
    gold: str
    xp_after: int
    gold_after: int
    revision: int
    movements: list[Movement]
    more_movements: int


@dataclass(frozen=True, slots=True)
class Lack:
    player: str
    label: str | _StrPromise
    meaning: str | _StrPromise
    subject: str
    wanted: int
    applied: int


@dataclass(frozen=True, slots=True)
class Try:
    started_at: datetime
    ended_at: datetime | None
    outcome: str | _StrPromise
    failure: str | _StrPromise
    detail: str
    worker: str


def of(row: CombatHistory) -> dict[str, Any]:
    """Template context for a combat's page."""
    lines, more_lines = _first(LedgerLine.objects.filter(session_id=row.pk))
    lacks, more_lacks = _first(SettlementDiscrepancy.objects.filter(session_id=row.pk))
    tries, more_tries = _first(SettlementAttempt.objects.filter(session_id=row.pk))
    names = _names([*(line.character_id for line in lines), *_ids(lacks)])
    return {
        "lines": [_line(line, names) for line in lines],
        "more_lines": more_lines,
        "lacks": [_lack(lack, names) for lack in lacks],
        "more_lacks": more_lacks,
        "tries": [_try(entry) for entry in tries],
        "more_tries": more_tries,
        "document": pretty(row.result_payload),
        "raw_document": bytes_as_text(bytes(row.raw_payload))
        if row.raw_payload is not None
        else "",
    }


def _first(queryset: QuerySet[Any]) -> tuple[list[Any], bool]:
    rows = list(queryset.order_by("pk")[: MAX_RECORDS + 1])
    return rows[:MAX_RECORDS], len(rows) > MAX_RECORDS


def _ids(lacks: Iterable[SettlementDiscrepancy]) -> Iterable[int]:
    return (lack.character_id for lack in lacks)


def _names(char_ids: Iterable[int]) -> dict[int, str]:
    wanted = set(char_ids)
    if not wanted:
        return {}
    return dict(Character.objects.filter(pk__in=wanted).values_list("pk", "name"))


def _player(char_id: int, names: dict[int, str]) -> str:
    name = names.get(char_id)
    return f"{visible(name)} ({char_id})" if name else str(char_id)


def _line(line: LedgerLine, names: dict[int, str]) -> Line:
    return Line(
        player=_player(line.character_id, names),
        xp=f"{line.xp_delta:+d}",
        gold=f"{line.gold_delta:+d}",
        xp_after=line.xp_after,
        gold_after=line.gold_after,
        revision=line.revision,
        movements=[_movement(item) for item in line.items[:MAX_MOVEMENTS]],
        more_movements=max(0, len(line.items) - MAX_MOVEMENTS),
    )


def _movement(item: dict[str, Any]) -> Movement:
    kind = str(item.get("kind"))
    is_wear = "durability_delta" in item
    delta = item["durability_delta"] if is_wear else item.get("delta", 0)
    return Movement(
        kind=explain.MOVEMENTS.get(kind, kind),
        item=visible(str(item.get("item_template_id"))),
        inventory_id=item.get("inventory_id"),
        delta=f"{delta:+d}",
        after=item.get("durability_after" if is_wear else "after"),
    )


def _lack(lack: SettlementDiscrepancy, names: dict[int, str]) -> Lack:
    known = explain.discrepancy(lack.code)
    item = visible(lack.item_template_id or "")
    row = f"#{lack.inventory_id}" if lack.inventory_id is not None else ""
    return Lack(
        player=_player(lack.character_id, names),
        label=known.label,
        meaning=known.meaning,
        subject=f"{item} {row}".strip(),
        wanted=lack.wanted,
        applied=lack.applied,
    )


def _try(entry: SettlementAttempt) -> Try:
    return Try(
        started_at=entry.started_at,
        ended_at=entry.ended_at,
        outcome=explain.OUTCOMES.get(entry.outcome, entry.outcome),
        failure=explain.failure(entry.code).label if entry.code else "",
        detail=visible(entry.detail),
        worker=entry.worker,
    )
