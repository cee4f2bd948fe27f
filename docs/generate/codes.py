"""docs/reference/codes.md: every stable code, in the words the admin uses."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import chain
from pathlib import Path

from django.utils.translation import override

from combat_history.admin.review.parked_codes import CODES as PARKED
from combat_history.api.fights import REFUSALS
from combat_history.insight.explain import DISCREPANCIES, FAILURES, Explanation
from docs.generate.markdown import code, prose, table, whole_page
from docs.generate.source import ROOT
from persistence.contract import errors
from persistence.contract.errors import (
    DiscrepancyCode,
    FailureCode,
    ParkCode,
    PersistenceError,
)
from persistence.contract.world import Refusal
from persistence.savers.cleanup_saver import CASES

ABOUT = """
Codes are stable: tables, the API, logs and alerts carry them, and programs may rely on
them. The words beside them are those of the admin, in English and Russian.
"""


def page() -> str:
    return whole_page(
        "Codes",
        prose(ABOUT),
        "## Failures",
        "Why a combat is `failed`, or why a payload is in `rejected_payloads`.",
        _explained(FailureCode, FAILURES),
        "## Discrepancies",
        prose(DiscrepancyCode.__doc__),
        _explained(DiscrepancyCode, DISCREPANCIES),
        "## Parked operations",
        prose(ParkCode.__doc__),
        _explained(ParkCode, PARKED),
        "## Errors of the engine's calls",
        table(("class", "code", "meaning"), _errors()),
        "## HTTP",
        "`code` of a problem; `status` is that of HTTP.",
        table(("code", "status"), sorted(set(_problems()))),
        "## System checks",
        "`settlement.E…` stops a worker in production; under `DEBUG` it is a warning, "
        "`settlement.W…`. From 040 on they are warnings of `check --deploy` and stop "
        "nobody. `…` stands for a value.",
        table(("number", "what is wrong", "what to do"), sorted(_checks())),
        "## Kinds of loss that a sweep counts",
        table(("kind", "what puts it back"), _losses()),
    )


def _explained(codes: type[StrEnum], words: Mapping[str, Explanation]) -> str:
    rows = []
    for one in codes:
        said = words[one]
        with override("ru"):
            russian = str(said.label)
        with override("en"):
            rows.append(
                (
                    code(one),
                    f"{said.label} · {russian}",
                    str(said.meaning),
                    str(said.remedy),
                )
            )
    return table(("code", "in words", "what happened", "what to do"), rows)


def _errors() -> Iterator[tuple[str, str, str]]:
    for found in vars(errors).values():
        if (
            isinstance(found, type)
            and issubclass(found, PersistenceError)
            and not found.__name__.startswith("_")
        ):
            own = getattr(found, "code", "")
            yield code(found.__name__), code(own), prose(found.__doc__)


def _losses() -> Iterable[tuple[str, str]]:
    for kind, put_back in CASES.items():
        yield code(kind), prose(put_back.__doc__).partition("\n\n")[0]


def _problems() -> Iterator[tuple[str, str]]:
    """Problem(HTTPStatus.X, "code", ...) anywhere in the API, and at the gate."""
    gate = _nodes(ROOT / "settlement_project" / "gate.py")
    for node in chain(_nodes(ROOT / "combat_history" / "api"), gate):
        match node:
            case ast.Call(
                func=ast.Name(id="Problem"),
                args=[ast.Attribute(attr=status), spelled, *_],
            ):
                for name in _codes_in(spelled):
                    yield code(name), status.replace("_", " ").capitalize()
    for refusal in REFUSALS:
        yield code(refusal.code), "Conflict"
    for said in Refusal:
        yield code(said), "Conflict"


def _codes_in(node: ast.expr) -> list[str]:
    match node:
        case ast.Constant(value=str(name)):
            return [name]
        case ast.Call(args=[ast.Attribute(attr=name)]):
            return [FailureCode[name]]
    return []


def _checks() -> Iterator[tuple[str, str, str]]:
    """(holds, number, what is wrong, what to do) in the modules of checks."""
    names = ("checks.py", "security_checks.py")
    for node in chain(*(_nodes(ROOT / "settlement_project" / name) for name in names)):
        match node:
            case ast.Tuple(elts=[_, ast.Constant(value=str(number)), wrong, hint]) | (
                ast.Call(
                    func=ast.Name(id="_fault"),
                    args=[ast.Constant(value=str(number)), wrong, hint],
                )
            ):
                yield number, _words(wrong), _words(hint)


def _words(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_words, node.values))
    return str(node.value) if isinstance(node, ast.Constant) else "…"


def _nodes(where: Path) -> Iterator[ast.AST]:
    for path in sorted(where.rglob("*.py")) if where.is_dir() else [where]:
        yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))
