"""Exports tables as a stream of lines, CSV or JSON, in an order that an index has.

By keyset pages, not by one cursor: memory is constant, no snapshot is held open for as
long as somebody reads, and no statement runs into its time-out.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.fields.json import KeyTransform

from combat_history.models import AuditEntry, CombatHistory, CombatParticipant

PAGE = 100
"""Rows in memory at a time: a document may be a megabyte."""

FORMULA = tuple("=+-@\t\r\n＝＋－＠")
"""With which a cell begins that a spreadsheet runs as a formula."""

_SPLIT = re.compile('[;,|\\t\\r\\n]"?(?=[=+@＝＋－＠-])')
"""A separator, and behind it what a new cell would begin with."""

Row = dict[str, Any]


class Format(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True)
class Table:
    """A table to export. `columns`: of a CSV line. `read`: rows by ids, by format."""

    name: str
    columns: tuple[str, ...]
    read: Callable[[Sequence[Any], Format], Iterable[Row]]


@dataclass(frozen=True, slots=True)
class Source:
    """The rows of a table to export, and their order.

    `order`: columns of `rows`, none of them nullable, all in one direction; the last is
    the id of the table's rows.
    """

    table: Table
    rows: QuerySet[Any]
    order: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """Combats to export: with `finished_at` from `since` on and before `until`."""

    since: datetime | None = None
    until: datetime | None = None
    status: str | None = None
    character: int | None = None


def history(selection: Selection) -> Source:
    """Combats, oldest first."""
    combats = CombatHistory.objects.all()
    if selection.status is not None:
        combats = combats.filter(settlement_status=selection.status)
    rows: QuerySet[Any] = combats
    if selection.character is not None:
        # A player's fights by the key of their own, which no other order can use.
        rows = CombatParticipant.objects.filter(character_id=selection.character)
        rows = rows.filter(Exists(combats.filter(pk=OuterRef("session_id"))))
    rows = _between(rows, "finished_at", selection.since, selection.until)
    return Source(HISTORY, rows, ("finished_at", "session_id"))


def audit_log(since: datetime | None = None, until: datetime | None = None) -> Source:
    """Audit entries, oldest first. `since` and `until` are of `at`."""
    return Source(
        AUDIT, _between(AuditEntry.objects.all(), "at", since, until), ("id",)
    )


def lines(source: Source, form: Format) -> Iterator[str]:
    """Each with its line end; of CSV a heading first."""
    columns = source.table.columns
    if form is Format.CSV:
        writer = csv.writer(_Echo())
        yield writer.writerow(columns)
        for row in _rows(source, form):
            yield writer.writerow([_cell(row[name]) for name in columns])
        return
    for row in _rows(source, form):
        yield json.dumps(row, ensure_ascii=False, default=_plain) + "\n"


def _between(
    rows: QuerySet[Any], column: str, since: datetime | None, until: datetime | None
) -> QuerySet[Any]:
    if since is not None:
        rows = rows.filter(**{f"{column}__gte": since})
    if until is not None:
        rows = rows.filter(**{f"{column}__lt": until})
    return rows


def _rows(source: Source, form: Format) -> Iterator[Row]:
    names = [name.removeprefix("-") for name in source.order]
    keys = source.rows.order_by(*source.order).values_list(*names)
    page = list(keys[:PAGE])
    while page:
        yield from source.table.read([key[-1] for key in page], form)
        if len(page) < PAGE:
            return
        page = list(keys.filter(_beyond(source.order, page[-1]))[:PAGE])


def _beyond(order: Sequence[str], key: Sequence[Any]) -> Q:
    """The condition of what comes after that key in that order."""
    way = "lt" if order[0].startswith("-") else "gt"
    *first, last = [
        (name.removeprefix("-"), value) for name, value in zip(order, key, strict=True)
    ]
    beyond = Q(**{f"{last[0]}__{way}": last[1]})
    for name, value in reversed(first):
        # The first condition is the index's; a bare OR would read from the beginning.
        beyond = Q(**{f"{name}__{way}e": value}) & (
            Q(**{f"{name}__{way}": value}) | beyond
        )
    return beyond


_STORED = (
    "session_id",
    "finished_at",
    "settlement_status",
    "received_at",
    "caller",
    "settled_at",
    "compensated_at",
    "participant_ids",
    "revision",
    "attempts",
    "failure_code",
    "failure_detail",
)


def _combats(session_ids: Sequence[Any], form: Format) -> Iterator[Row]:
    """A JSON line also has the `document` as it is stored."""
    more = ["result_payload"] if form is Format.JSONL else []
    rows = CombatHistory.objects.filter(pk__in=session_ids).values(
        *_STORED, *more, meta=KeyTransform("meta", "result_payload")
    )
    found = {row["session_id"]: row for row in rows}
    for session_id in session_ids:
        row = found[session_id]
        meta = row["meta"] if isinstance(row["meta"], dict) else {}
        told = {
            "session_id": session_id,
            "finished_at": row["finished_at"],
            "status": row["settlement_status"],
            "received_at": row["received_at"],
            "caller": row["caller"],
            "settled_at": row["settled_at"],
            "compensated_at": row["compensated_at"],
            "participants": row["participant_ids"],
            "winner_team": meta.get("winner_team"),
            "finish_reason": meta.get("finish_reason"),
            "revision": row["revision"],
            "attempts": row["attempts"],
            "failure_code": row["failure_code"],
            "failure_detail": row["failure_detail"],
        }
        if more:
            told["document"] = row["result_payload"]
        yield told


def _entries(ids: Sequence[Any], form: Format) -> Iterator[Row]:
    rows = AuditEntry.objects.filter(pk__in=ids).values(*AUDIT.columns)
    found = {row["id"]: row for row in rows}
    return (found[id_] for id_ in ids)


HISTORY = Table(
    "combat_history",
    (
        "session_id",
        "finished_at",
        "status",
        "received_at",
        "caller",
        "settled_at",
        "compensated_at",
        "participants",
        "winner_team",
        "finish_reason",
        "revision",
        "attempts",
        "failure_code",
        "failure_detail",
    ),
    _combats,
)
AUDIT = Table(
    "audit_log",
    (
        "id",
        "at",
        "actor_id",
        "actor_name",
        "verb",
        "target_type",
        "target_id",
        "members",
        "outcome",
        "detail",
        "reason",
        "before",
        "after",
        "request_id",
    ),
    _entries,
)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        text = " ".join(map(str, value))
    elif isinstance(value, dict):
        text = json.dumps(value, ensure_ascii=False)
    else:
        text = _plain(value)
    return _without_formulas(text)


def _without_formulas(text: str) -> str:
    """A spreadsheet may split a cell where we did not: in Russian at a semicolon."""
    guarded = int(text.startswith(FORMULA))
    return "'" * guarded + text[:guarded] + _SPLIT.sub(r"\g<0>'", text[guarded:])


class _Writes(Protocol):
    def write(self, text: str, /) -> str: ...


class _Echo(_Writes):
    """A file for a CSV writer that gives each line back instead of keeping it."""

    def write(self, text: str, /) -> str:
        return text
