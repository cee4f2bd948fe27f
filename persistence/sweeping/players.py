"""Character ids as Redis holds them: text that anyone may have written."""

from __future__ import annotations

from persistence.contract.payload import MAX_BIGINT, PLAYER_KEY


def player_id(text: str) -> int | None:
    """None where no player can have that id, or it is written in another way."""
    if not PLAYER_KEY.fullmatch(text):
        return None
    number = int(text)
    return number if number <= MAX_BIGINT else None
