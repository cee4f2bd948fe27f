"""Changes of a Lua script, one at a time: what a slip of the pen would have written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

SLIPS: list[tuple[str, str]] = [
    (r" == ", " ~= "),
    (r" ~= ", " == "),
    (r" < ", " <= "),
    (r" <= ", " < "),
    (r" > ", " >= "),
    (r" >= ", " > "),
    (r" and ", " or "),
    (r" or ", " and "),
    (r"\bnot ", ""),
    (r" \+ ", " - "),
    (r" - ", " + "),
    (r" \* ", " / "),
    (r"'NX'", "'XX'"),
    (r"\btrue\b", "false"),
    (r"\bfalse\b", "true"),
    (r"math\.min", "math.max"),
    (r"math\.max", "math.min"),
]

_NUMBER = re.compile(r"(?<![\w'.\[])\d+(?![\w'])")
_CALL = re.compile(r"^\s*redis\.p?call\(.*\)$")


@dataclass(frozen=True, slots=True)
class Mutant:
    """`line`: from 1; `before` and `after`: that line."""

    line: int
    before: str
    after: str

    def text(self, source: str) -> str:
        lines = source.splitlines(keepends=True)
        lines[self.line - 1] = f"{self.after}\n"
        return "".join(lines)


def mutants(source: str) -> Iterator[Mutant]:
    """Comparisons, logic, sums, numbers one further, and calls left out."""
    for number, line in enumerate(source.splitlines(), 1):
        code, _, _ = line.partition("--")
        for before, after in SLIPS:
            for found in re.finditer(before, code):
                changed = line[: found.start()] + after + line[found.end() :]
                yield Mutant(number, line, changed)
        for found in _NUMBER.finditer(code):
            further = str(int(found[0]) + 1)
            changed = line[: found.start()] + further + line[found.end() :]
            yield Mutant(number, line, changed)
        if _CALL.match(code):
            yield Mutant(number, line, re.sub(r"\S.*", "do end", line))
