"""Notes when the last whole sweep began, by the clock that dates intents: Redis'."""

from __future__ import annotations

from persistence.contract import redis_keys
from persistence.worker import inbox


def now_us() -> int:
    seconds, microseconds = inbox.client().time()
    return seconds * 1_000_000 + microseconds


def note(began_us: int) -> None:
    inbox.client().set(redis_keys.SWEPT, began_us, ex=redis_keys.DAY_SECONDS)


def since(moment_us: bytes) -> bool:
    """Whether a whole sweep began after that: whoever asked then needs no other."""
    swept = inbox.client().get(redis_keys.SWEPT)
    return isinstance(swept, bytes) and int(swept) > int(moment_us)
