"""docs/reference/settings.md: every environment variable, where the code reads it.

The comment right above a variable is its meaning; default and bounds are arguments.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from docs.generate.markdown import code, prose, table, whole_page
from docs.generate.source import ROOT, comment_above

ABOUT = """
Every setting is an environment variable. Settings of the server are checked when it
starts, and all problems are reported in one message. With no variable at all the
embedded servers are used and `DEBUG` is on. A variable marked *file* may be given as
`NAME_FILE` instead: the name of a file that holds it.
"""
SERVERS = ("settlement_project", "persistence/worker", "ops")
SECTIONS = {
    "## The servers: web, workers, beat, commands": SERVERS,
    "## The engine's side": (
        "persistence/dispatcher.py",
        "persistence/engine",
        "persistence/contract/signing.py",
    ),
}
KINDS = (
    *("text", "secret", "secrets", "tokens", "engine_keys"),
    *("flag", "integer", "choice", "names"),
)


class Variable(NamedTuple):
    name: str
    default: str
    allowed: str
    meaning: str


def page() -> str:
    parts: list[str] = []
    for title, places in SECTIONS.items():
        rows = [
            (code(one.name), code(one.default), one.allowed, one.meaning)
            for one in variables(*places)
        ]
        parts += [title, table(("variable", "default", "allowed", "meaning"), rows)]
    return whole_page("Settings", prose(ABOUT), *parts)


def variables(*places: str) -> list[Variable]:
    """What the code of these places reads, by name. Said twice, the meaning wins."""
    found: dict[str, Variable] = {}
    for path in _modules(*places):
        for one in _read_in(path.read_text(encoding="utf-8")):
            known = found.get(one.name)
            if known is None or not known.meaning:
                found[one.name] = one
    return [found[name] for name in sorted(found)]


def _modules(*places: str) -> Iterator[Path]:
    for place in map(ROOT.joinpath, places):
        yield from [place] if place.is_file() else sorted(place.rglob("*.py"))


def _read_in(text: str) -> Iterator[Variable]:
    for node in ast.walk(ast.parse(text)):
        said = comment_above(text, getattr(node, "lineno", 0))
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="env"), attr=kind),
                args=[ast.Constant(value=str(name)), *arguments],
            ) if kind in KINDS:
                given = [*arguments, *(keyword.value for keyword in node.keywords)]
                yield Variable(name, _default(given), _allowed(kind, given), said)
            case (
                ast.Call(
                    func=ast.Attribute(value=ast.Attribute(attr="environ"), attr="get"),
                    args=[ast.Constant(value=str(name)), *_],
                )
                | ast.Subscript(
                    value=ast.Attribute(attr="environ"),
                    slice=ast.Constant(value=str(name)),
                )
            ):
                yield Variable(name, "", "", said)
            case ast.Assign(
                targets=[ast.Name(id=constant)], value=ast.Constant(value=str(name))
            ) if constant.endswith("_VARIABLE"):
                yield Variable(name, "", "", said)


def _default(arguments: list[ast.expr]) -> str:
    """Nothing where it follows from something else: the meaning tells then."""
    match arguments[:1]:
        case [ast.List() | ast.Call() | ast.IfExp()] | []:
            return ""
    return _written(arguments[0])


def _allowed(kind: str, arguments: list[ast.expr]) -> str:
    match kind, arguments:
        case "integer", [_, low, high]:
            return f"{_written(low)} to {_written(high)}"
        case "choice", [_, choices]:
            return ", ".join(map(code, ast.literal_eval(choices)))
        case "flag", _:
            return "`true`, `false`"
        case "names", _:
            return "names, comma-separated"
        case "secret" | "secrets" | "tokens" | "engine_keys", _:
            return "text, *file*"
    return ""


def _written(node: ast.expr) -> str:
    """A value as a person writes it; what is no constant as the code has it."""
    number = _number(node)
    if number is not None:
        return str(number)
    match node:
        case ast.Constant(value=bool() as flag):
            return str(flag).lower()
        case ast.Constant(value=value):
            return str(value)
    return ast.unparse(node)


def _number(node: ast.expr) -> int | None:
    """Of whole numbers, also multiplied or raised to a power."""
    match node:
        case ast.Constant(value=int() as number) if not isinstance(number, bool):
            return number
        case ast.BinOp(left=left, op=ast.Mult() | ast.Pow() as op, right=right):
            known = _number(left), _number(right)
            if known[0] is not None and known[1] is not None:
                is_product = isinstance(op, ast.Mult)
                return known[0] * known[1] if is_product else int(known[0] ** known[1])
    return None
