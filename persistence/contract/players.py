"""Reads character ids as Redis holds them: text that anyone may have written."""

from __future__ import annotations

from persistence.contract.changes import MAX_BIGINT
from persistence.contract.payload import PLAYER_KEY


def player_id(text: str) -> int | None:
    """The id; None where no player can have it, or it is written in another way."""
    if not PLAYER_KEY.fullmatch(text):
        return None
    number = int(text)
    return number if number <= MAX_BIGINT else None
