"""The worker's side of `ac:{char_id}`, in either form its key has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from persistence.contract import redis_keys
from persistence.worker import inbox


def read(char_id: int, fields: Sequence[str]) -> dict[str, str | None]:
    """Fields of an account as text; None where there is none."""
    values = inbox.script("account_read")(
        keys=[redis_keys.account(char_id)], args=list(fields)
    )
    # A foreign type under the key answers with nothing at all.
    found = {
        name: None if value is None else value.decode("utf-8", "replace")
        for name, value in zip(fields, values, strict=False)
    }
    return {name: found.get(name) for name in fields}


def closing(char_id: int, mode: str) -> list[str]:
    """Sessions of that mode that the player left and nobody has saved yet."""
    field = redis_keys.closing_field(mode)
    named = read(char_id, [field])[field]
    return named.split(",") if named else []


def closed(char_id: int, mode: str, session_ids: Iterable[str]) -> bool:
    """They are saved now; False where others were closed meanwhile."""
    return bool(
        inbox.script("closed")(
            keys=[redis_keys.account(char_id)],
            args=[redis_keys.closing_field(mode), *session_ids],
        )
    )
