"""Finds the players whom a rejected payload concerns, as far as its bytes tell.

A document names its players by the keys of `participants`; a live session, kept where
no result came, by a list of them and by its actors; a message holds a document, or its
text. What cannot be read is searched for such keys.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator

from persistence.contract.changes import MAX_BIGINT
from persistence.contract.payload import MAX_PARTICIPANTS, PLAYER_KEY

ACTOR = "actor:"
MAX_WRAPPINGS = 6
"""An envelope, its body, the arguments, one of them, its text, and one to spare."""

# Keys of players in bytes that no parser takes, however often they are escaped.
_KEY = re.compile(rb'\\*"(?:actor:)?([1-9][0-9]{0,18})\\*"\s*:\s*\\*["{]')


def players_of(raw: bytes | None) -> list[int]:
    """Ascending, at most MAX_PARTICIPANTS of them."""
    if raw is None:
        return []
    try:
        keys = set(_named(json.loads(raw), MAX_WRAPPINGS))
    except (ValueError, RecursionError):
        keys = {key.decode() for key in _KEY.findall(raw)}
    ids = (int(key) for key in keys if PLAYER_KEY.fullmatch(key))
    return sorted(id_ for id_ in ids if id_ <= MAX_BIGINT)[:MAX_PARTICIPANTS]


def _named(value: object, wrappings: int) -> Iterator[str]:
    if not wrappings:
        return
    if isinstance(value, dict):
        yield from _of_object(value, wrappings - 1)
    elif isinstance(value, list):
        for inner in value[:MAX_WRAPPINGS]:
            yield from _named(inner, wrappings - 1)
    elif isinstance(value, str):
        yield from _of_text(value, wrappings - 1)


def _of_object(value: dict[str, object], wrappings: int) -> Iterator[str]:
    yield from (key.removeprefix(ACTOR) for key in value if key.startswith(ACTOR))
    participants = value.get("participants")
    if isinstance(participants, dict):
        yield from participants
    elif participants is not None:
        yield from _listed(participants)
    for name in ("body", "payload", "args", "kwargs"):
        yield from _named(value.get(name), wrappings)


def _listed(participants: object) -> Iterable[str]:
    """The ids that a live session lists: JSON, as text."""
    if isinstance(participants, str):
        try:
            participants = json.loads(participants)
        except (ValueError, RecursionError):
            return []
    return map(str, participants) if isinstance(participants, list) else []


def _of_text(text: str, wrappings: int) -> Iterator[str]:
    """JSON within JSON, or the base64 that kombu puts a body in."""
    if text.lstrip()[:1] not in ("{", "["):
        try:
            text = base64.b64decode(text, validate=True).decode()
        except ValueError:
            return
    try:
        yield from _named(json.loads(text), wrappings)
    except (ValueError, RecursionError):
        yield from (key.decode() for key in _KEY.findall(text.encode(errors="replace")))
