"""Outcome messages that were shown before their reward was credited."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

MAX_AWAITED = 10_000
"""Messages remembered; the oldest is forgotten first, and stays as it was shown."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One message of a private chat, and for whom its outcome is told."""

    session_id: UUID
    char_id: int
    chat_id: int
    message_id: int
    language: str
    has_caption: bool


class Awaited:
    """What the router has shown and `follow_events` is to edit, in one process."""

    def __init__(self) -> None:
        self._shown: dict[tuple[int, int], Shown] = {}

    def add(self, shown: Shown) -> None:
        place = shown.chat_id, shown.message_id
        self._shown.pop(place, None)
        self._shown[place] = shown
        if len(self._shown) > MAX_AWAITED:
            del self._shown[next(iter(self._shown))]

    def of(self, session_id: UUID | None) -> list[Shown]:
        return [s for s in self._shown.values() if s.session_id == session_id]

    def done(self, shown: Shown) -> None:
        self._shown.pop((shown.chat_id, shown.message_id), None)
