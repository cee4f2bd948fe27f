"""Notes when the last whole sweep began, by the clock that dates intents: Redis'."""

from __future__ import annotations

from persistence.contract import redis_keys
from persistence.worker import inbox


def now_us() -> int:
    seconds, microseconds = inbox.client().time()
    return seconds * 1_000_000 + microseconds


def enter(case: str) -> None:
    """Note what the sweep is at, before it is: a case may end the whole process."""
    inbox.client().set(redis_keys.SWEEP_AT, case, ex=redis_keys.DAY_SECONDS)


def ended_at() -> str:
    """The case that the last sweep did not get beyond; '' where it got to its end."""
    case = inbox.client().get(redis_keys.SWEEP_AT)
    return case.decode("utf-8", "replace") if isinstance(case, bytes) else ""


def note(began_us: int) -> None:
    """Note that a sweep which began then has come to its end."""
    inbox.client().set(redis_keys.SWEPT, began_us, ex=redis_keys.DAY_SECONDS)
    inbox.client().delete(redis_keys.SWEEP_AT)


def since(moment_us: bytes) -> bool:
    """Whether a whole sweep began after that: whoever asked then needs no other."""
    swept = inbox.client().get(redis_keys.SWEPT)
    return isinstance(swept, bytes) and int(swept) > int(moment_us)
