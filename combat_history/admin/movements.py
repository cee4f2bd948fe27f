"""Ledger lines in words: what was, what is, and what made the difference.

The ledger holds deltas and what stood after them; what stood before is their
difference, and is never guessed where a line does not say both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from combat_history.admin.naming import Names
from combat_history.admin.rendering import EMPTY, session_link, visible
from combat_history.insight import explain
from combat_history.models import LedgerLine
from persistence.savers.combat.rows import Moved

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise
    from django.utils.safestring import SafeString

MAX_MOVEMENTS = 20
"""Inventory movements shown of one ledger line."""


@dataclass(frozen=True, slots=True)
class Change:
    """`before` → `after`; `delta` with its sign."""

    before: str
    after: str
    delta: str

    @property
    def is_nothing(self) -> bool:
        return self.delta == "+0"


@dataclass(frozen=True, slots=True)
class Movement:
    kind: str | _StrPromise
    item: str
    inventory_id: str
    change: Change
    is_wear: bool
    is_removed: bool


@dataclass(frozen=True, slots=True)
class Line:
    """What one ledger line did to one player."""

    id: int
    kind: str | _StrPromise
    is_settlement: bool
    link: SafeString | None
    """To its combat; an opening balance belongs to none."""

    recorded_at: datetime
    player: SafeString
    xp: Change
    gold: Change
    revision: int
    balances: list[tuple[str, Change]]
    movements: list[Movement]
    more_movements: int


def template_ids(lines: Iterable[LedgerLine]) -> Iterator[object]:
    """The templates of the movements that are shown."""
    for line in lines:
        for item in _movements(line)[:MAX_MOVEMENTS]:
            yield item.get("item_template_id")


def balance_ids(lines: Iterable[LedgerLine]) -> Iterator[object]:
    """The named balances that these lines move."""
    for line in lines:
        yield from line.balances or ()


def balances_of(moved: Moved | None, names: Names) -> list[tuple[str, Change]]:
    """By name: as a ledger line has them, or a plan."""
    return [
        (names.balance(id_), change_of(move.get("delta"), move.get("after")))
        for id_, move in (moved or {}).items()
    ]


def line_of(line: LedgerLine, names: Names) -> Line:
    moved = _movements(line)
    return Line(
        id=line.pk,
        kind=LedgerLine.Kind(line.kind).label,
        is_settlement=line.kind == LedgerLine.Kind.SETTLEMENT,
        link=session_link(line.session_id) if line.session_id else None,
        recorded_at=line.recorded_at,
        player=names.player(line.character_id),
        xp=change_of(line.xp_delta, line.xp_after),
        gold=change_of(line.gold_delta, line.gold_after),
        revision=line.revision,
        balances=balances_of(line.balances, names),
        movements=[movement_of(item, names) for item in moved[:MAX_MOVEMENTS]],
        more_movements=max(0, len(moved) - MAX_MOVEMENTS),
    )


def _movements(line: LedgerLine) -> list[dict[str, Any]]:
    return [item for item in line.items if isinstance(item, dict)]


def movement_of(item: Mapping[str, Any], names: Names) -> Movement:
    kind = str(item.get("kind"))
    is_wear = "durability_delta" in item
    delta = item["durability_delta"] if is_wear else item.get("delta", 0)
    row_id = item.get("inventory_id")
    # Planned rows that are not there yet count downwards.
    is_planned = isinstance(row_id, int) and row_id < 0
    return Movement(
        kind=explain.MOVEMENTS.get(kind, visible(kind)),
        item=names.piece(item.get("item_template_id"), item.get("properties")),
        inventory_id="" if is_planned else visible(str(row_id)),
        change=change_of(delta, item.get("durability_after" if is_wear else "after")),
        is_wear=is_wear,
        is_removed=isinstance(item.get("image"), dict),
    )


def change_of(delta: object, after: object) -> Change:
    if isinstance(delta, int) and isinstance(after, int):
        return Change(str(after - delta), str(after), f"{delta:+d}")
    told = (EMPTY if value is None else visible(str(value)) for value in (after, delta))
    return Change(EMPTY, *told)
