"""Arguments that several commands take."""

from __future__ import annotations

from argparse import ArgumentTypeError

from persistence.contract.changes import MAX_BIGINT


def character(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > MAX_BIGINT:
        raise ArgumentTypeError("a character id")
    return int(text)
