"""What a module says of itself: its syntax tree and its comments."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent.parent


def tree(source: ModuleType | Path) -> ast.Module:
    return ast.parse(lines_text(source))


def lines_text(source: ModuleType | Path) -> str:
    path = source if isinstance(source, Path) else Path(str(source.__file__))
    return path.read_text(encoding="utf-8")


def documented_constants(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Name and docstring of each constant that a text follows."""
    body = tree(module).body
    for assigned, said in pairwise(body):
        match assigned, said:
            case (
                ast.Assign(targets=[ast.Name(id=name)]),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, text


def comment_above(text: str, line: int) -> str:
    """The comment that ends right above a line (counted from one), in one line."""
    said: list[str] = []
    for above in reversed(text.splitlines()[: line - 1]):
        if not above.strip().startswith("#"):
            break
        said.insert(0, above.strip().lstrip("#").strip())
    return " ".join(said)
