"""Files of characters and of the catalogue: a line each, as JSON or CSV.

The same grammar as HTTP's. What is wrong with a line is told with its number, and keeps
no other line out.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from persistence.contract.document import Document
from persistence.contract.errors import PayloadInvalid

NUMBERS = frozenset(
    {"xp", "gold", "hp", "energy", "floor", "maximum", "max_durability"}
)
OPENING = frozenset({"xp", "gold", "hp", "energy", "location"})
EXTERNAL, BALANCE = "external:", "balance:"
"""Begin the name of a CSV column: external:telegram, balance:dust."""

TRUTHS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class Line:
    """One line: `said`, or why it cannot be read."""

    number: int
    said: Document
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a line, and where in it."""

    number: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f", {self.path}" if self.path else ""
        return f"line {self.number}{where}: {self.message}"


def faults_of(line: Line, error: PayloadInvalid) -> list[Fault]:
    return [Fault(line.number, one["path"], one["message"]) for one in error.errors]


def read(file: Path) -> Iterator[Line]:
    """Lines of a .csv by its columns, of any other file as JSON. Raises OSError."""
    with file.open(encoding="utf-8-sig", newline="") as text:
        if file.suffix.lower() == ".csv":
            rows = csv.DictReader(text)
            for row in rows:
                yield _of_row(rows.line_num, row)
            return
        for number, line in enumerate(text, 1):
            if line.strip():
                yield _of_json(number, line)


def _of_json(number: int, line: str) -> Line:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Line(number, {}, f"is no JSON: {error}")
    if not isinstance(said, dict):
        return Line(number, {}, "is no JSON object")
    return Line(number, said)


def _of_row(number: int, row: dict[str | Any, Any]) -> Line:
    if None in row:
        return Line(number, {}, "has more fields than there are columns")
    try:
        return Line(
            number, _nested({k: v for k, v in row.items() if v not in ("", None)})
        )
    except ValueError as error:
        return Line(number, {}, str(error))


def _nested(fields: dict[str, str]) -> Document:
    """A row as the object it stands for. Raises ValueError."""
    said: Document = {}
    opening: Document = {}
    for name, text in fields.items():
        if name.startswith(EXTERNAL):
            said.setdefault("external_ids", {})[name.removeprefix(EXTERNAL)] = text
        elif name.startswith(BALANCE):
            balances = opening.setdefault("balances", {})
            balances[name.removeprefix(BALANCE)] = _number(name, text)
        else:
            into = opening if name in OPENING else said
            into[name] = _value(name, text)
    return said | ({"opening": opening} if opening else {})


def _value(name: str, text: str) -> object:
    if name in NUMBERS:
        return _number(name, text)
    if name == "stackable":
        if text.lower() not in TRUTHS:
            raise ValueError(f"stackable: {text!r} is neither true nor false")
        return TRUTHS[text.lower()]
    return text


def _number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name}: {text!r} is no whole number") from None
