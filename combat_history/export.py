"""The history as a stream of lines, oldest first.

By keyset pages, not by one cursor: memory is constant, no snapshot is held open for as
long as somebody reads, and no statement runs into its time-out.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from django.db import connection

PAGE = 500

COLUMNS = (
    "session_id",
    "finished_at",
    "status",
    "received_at",
    "settled_at",
    "compensated_at",
    "participants",
    "winner_team",
    "finish_reason",
    "revision",
    "attempts",
    "failure_code",
    "failure_detail",
)
"""Of a CSV line; a JSON line also has the `document` as it is stored."""

SELECT = """
SELECT history.finished_at, history.session_id, settlement_status, received_at,
       settled_at, compensated_at, participant_ids, revision, attempts, failure_code,
       failure_detail, result_payload::text
FROM {source}
WHERE {conditions}
ORDER BY {key}.finished_at, {key}.session_id LIMIT %s
"""

OF_ALL = "combat_history history"
OF_CHARACTER = (
    "combat_participants part JOIN combat_history history "
    "ON history.session_id = part.session_id"
)


class Format(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True)
class Selection:
    """`since` and `until` are of `finished_at`; the second is not part of it."""

    since: datetime | None = None
    until: datetime | None = None
    status: str | None = None
    character: int | None = None


def lines(selection: Selection, form: Format) -> Iterator[str]:
    """Each with its line end; of CSV a heading first."""
    if form is Format.CSV:
        writer = csv.writer(_Echo())
        yield writer.writerow(COLUMNS)
        for row in _rows(selection):
            yield writer.writerow([_cell(row[name]) for name in COLUMNS])
        return
    for row in _rows(selection):
        yield json.dumps(row, ensure_ascii=False, default=_plain) + "\n"


def _rows(selection: Selection) -> Iterator[dict[str, Any]]:
    after: tuple[datetime, UUID] | None = None
    while True:
        page = _page(selection, after)
        yield from map(_row, page)
        if len(page) < PAGE:
            return
        after = page[-1][:2]


def _page(
    selection: Selection, after: tuple[datetime, UUID] | None
) -> list[tuple[Any, ...]]:
    # A player's fights by the key of their own, which no other order can use.
    key = "history" if selection.character is None else "part"
    wanted: list[tuple[str, Any]] = []
    if selection.character is not None:
        wanted.append(("part.character_id = %s", selection.character))
    if selection.since is not None:
        wanted.append((f"{key}.finished_at >= %s", selection.since))
    if selection.until is not None:
        wanted.append((f"{key}.finished_at < %s", selection.until))
    if selection.status is not None:
        wanted.append(("settlement_status = %s", selection.status))
    parameters = [value for _, value in wanted]
    conditions = [condition for condition, _ in wanted]
    if after is not None:
        conditions.append(f"({key}.finished_at, {key}.session_id) > (%s, %s)")
        parameters += after
    sql = SELECT.format(
        source=OF_ALL if selection.character is None else OF_CHARACTER,
        conditions=" AND ".join(conditions) or "true",
        key=key,
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [*parameters, PAGE])
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _row(row: tuple[Any, ...]) -> dict[str, Any]:
    document = json.loads(row[11])
    meta = document.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    return {
        "session_id": row[1],
        "finished_at": row[0],
        "status": row[2],
        "received_at": row[3],
        "settled_at": row[4],
        "compensated_at": row[5],
        "participants": row[6],
        "winner_team": meta.get("winner_team"),
        "finish_reason": meta.get("finish_reason"),
        "revision": row[7],
        "attempts": row[8],
        "failure_code": row[9],
        "failure_detail": row[10],
        "document": document,
    }


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(map(str, value))
    text = _plain(value)
    # A spreadsheet would run as a formula what came with a document.
    return f"'{text}" if text[:1] in tuple("=+-@\t\r") else text


class _Writes(Protocol):
    def write(self, text: str, /) -> str: ...


class _Echo(_Writes):
    """Where a CSV writer writes to who wants the line itself."""

    def write(self, text: str, /) -> str:
        return text
