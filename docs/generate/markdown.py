"""Markdown from values. Nothing here knows what a page is about."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence

GENERATED = "<!-- Written by `python -m docs.generate` from the code. Do not edit. -->"


def whole_page(title: str, *parts: str) -> str:
    """A whole page: a title and its paragraphs, each part apart."""
    return "\n\n".join([f"# {title}", GENERATED, *filter(None, parts)]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def cell(text: str) -> str:
    """In one line, and with no bar that would end the cell."""
    return " ".join(text.split()).replace("|", "\\|")


def code(text: object) -> str:
    """As code; nothing where there is nothing."""
    return f"`{text}`" if str(text) else ""


def prose(doc: str | None) -> str:
    """A docstring as paragraphs, each in one line; no word of it is read as HTML."""
    paragraphs = inspect.cleandoc(doc or "").split("\n\n")
    return "\n\n".join(_escaped(" ".join(part.split())) for part in paragraphs)


def _escaped(text: str) -> str:
    pieces = text.split("`")
    pieces[::2] = [outside.replace("<", "&lt;") for outside in pieces[::2]]
    return "`".join(pieces)
