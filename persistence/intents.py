"""What was asked to be saved and is not yet: the durable side of `dispatch`.

The engine notes an intent before it rings; the task strikes it out after its commit,
unless it was noted anew meanwhile. The sweep sends what nobody delivered.
"""

from __future__ import annotations

from dataclasses import dataclass

from persistence import inbox, redis_keys

OVERDUE_SECONDS = 5
"""A message that was sent is in work by now, or lost; a second one is harmless."""


@dataclass(frozen=True, slots=True)
class Intent:
    """A member of the set, taken apart as far as it can be read."""

    member: bytes
    scope: str
    subject: str


def note(scope: str, subject: object) -> bytes:
    """Note it unless it is noted already; since when (us)."""
    noted: bytes = inbox.script("intend")(
        keys=[redis_keys.INTENTS], args=[f"{scope}:{subject}", "known"]
    )
    return noted


def strike_out(scope: str, subject: object, noted: bytes) -> bool:
    """False where it was noted anew: what came since is not saved yet."""
    return bool(
        inbox.script("intent_done")(
            keys=[redis_keys.INTENTS], args=[f"{scope}:{subject}", noted]
        )
    )


def overdue(limit: int) -> list[Intent]:
    """Oldest first."""
    # By the clock that they were noted by.
    seconds, microseconds = inbox.client().time()
    until = (seconds - OVERDUE_SECONDS) * 1_000_000 + microseconds
    members: list[bytes] = inbox.client().zrangebyscore(
        redis_keys.INTENTS, "-inf", until, start=0, num=limit
    )  # type: ignore[assignment]  # no scores asked for: plain members
    return [_read(member) for member in members]


def forget(intent: Intent) -> None:
    """Of what nobody can deliver."""
    inbox.client().zrem(redis_keys.INTENTS, intent.member)


def _read(member: bytes) -> Intent:
    scope, _, subject = member.decode("utf-8", "replace").partition(":")
    return Intent(member, scope, subject)
