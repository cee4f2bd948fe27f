"""Notes which saves were asked for and are not committed yet: the intents.

The durable side of `dispatch`: the engine notes an intent before it rings; the task
strikes it out after its commit, unless it was noted anew meanwhile, and sends the next
message then. The sweep sends what nobody delivered. An intent for which a message is
under way gets no other one: there are never more messages than intents, however slow
the queue is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from persistence.contract import redis_keys
from persistence.worker import inbox

_KEYS = [redis_keys.INTENTS, redis_keys.INTENTS_SENT]

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Intent:
    """A member of the set, taken apart as far as it can be read.

    `is_due`: no message is under way for it, or that one must be taken for lost.
    """

    member: bytes
    scope: str
    subject: str
    is_due: bool


def note(scope: str, subject: object) -> bytes:
    """Note it unless it is noted already; since when (us)."""
    return _intend(scope, subject, "known")[0]


def ask(scope: str, subject: object) -> bool:
    """Note it anew; whether the caller is to send a message."""
    return bool(_intend(scope, subject, "again")[1])


def begin(scope: str, subject: object) -> bytes:
    """Like `note`, of a message that has arrived: none other goes out for seconds."""
    return _intend(scope, subject, "begun")[0]


def strike_out(scope: str, subject: object, noted: bytes) -> bool:
    """False where it was noted anew: what came since is not saved yet."""
    return bool(
        inbox.script("intent_done")(keys=_KEYS, args=[f"{scope}:{subject}", noted])
    )


def every() -> Iterator[Intent]:
    """All of them, oldest first; where one is struck out meanwhile, others may miss."""
    start = 0
    while page := inbox.script("intents_due")(
        keys=_KEYS, args=[start, start + _PAGE - 1]
    ):
        for member, is_due in zip(page[::2], page[1::2], strict=True):
            scope, _, subject = member.decode("utf-8", "replace").partition(":")
            yield Intent(member, scope, subject, bool(is_due))
        start += _PAGE


def claim_message(intent: Intent) -> bool:
    """Whether to send its message now: only one of all who ask is told so."""
    return bool(inbox.script("intent_send")(keys=_KEYS, args=[intent.member]))


def forget(intent: Intent) -> None:
    """Strike out an intent that nobody can deliver."""
    for key in _KEYS:
        inbox.client().zrem(key, intent.member)


def forget_messages_sent(before_us: int) -> None:
    """Forget messages whose intents a worker of an older release has struck out."""
    inbox.client().zremrangebyscore(redis_keys.INTENTS_SENT, "-inf", before_us)


def _intend(scope: str, subject: object, how: str) -> tuple[bytes, int]:
    noted, to_send = inbox.script("intend")(
        keys=_KEYS, args=[f"{scope}:{subject}", how]
    )
    return noted, to_send
