"""The tools of every statement: rows, array parameters, reading, writing in one go.

Numbers, ids and times travel as array literals in one text parameter each: the type of
a parameter then never changes with its values, so a statement is prepared once, and
building the text costs a tenth of dumping a list item by item. Texts and bytes travel
as binary arrays (`%b`): in text format their quoting costs a hundred times more.

The statements themselves stand beside whoever sends them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection, Cursor

Row = tuple[Any, ...]


def array(values: Iterable[object]) -> str:
    """An array literal of numbers, ids, times and codes; None becomes NULL.

    None of these needs quoting, nor holds the text "None".
    """
    return "{" + ",".join(map(str, values)).replace("None", "NULL") + "}"


def columns(rows: Sequence[Sequence[Any]], binary: frozenset[int]) -> list[Any]:
    """Turn rows into one parameter per column; `binary` columns stay lists."""
    return [
        list(column) if index in binary else array(column)
        for index, column in enumerate(zip(*rows, strict=True))
    ]


def fetch(cursor: Cursor[Row], statement: str, parameters: Sequence[Any]) -> list[Row]:
    cursor.execute(statement, parameters, binary=True)
    return cursor.fetchall()


@dataclass(frozen=True, slots=True)
class Write:
    """One set-based statement; `columns` of its rows are its parameters.

    `every_row`: the table whose every named row must be hit, because it is locked.
    """

    statement: str
    rows: Sequence[Sequence[Any]]
    binary: frozenset[int] = frozenset()
    every_row: str | None = None


def run(connection: Connection[Any], writes: Iterable[Write]) -> None:
    """Send all writes in one round trip; those without rows are left out.

    Raises RuntimeError where a locked row was missed: a rule was broken, roll back.
    """
    sent: list[tuple[Write, Cursor[Row]]] = []
    with connection.pipeline():
        for write in writes:
            if write.rows:
                cursor = Cursor[Row](connection)
                cursor.execute(write.statement, columns(write.rows, write.binary))
                sent.append((write, cursor))
    # Only now: inside the pipeline no statement has been answered yet.
    for write, cursor in sent:
        if write.every_row and cursor.rowcount != len(write.rows):
            hit = f"{cursor.rowcount} of {len(write.rows)}"
            raise RuntimeError(f"wrote {hit} rows of {write.every_row}")
