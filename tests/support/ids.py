"""What callers of any kind make up by themselves; imports without Django."""

from __future__ import annotations

import os
import time
from uuid import UUID

TOKEN, OTHER_TOKEN = "an-engine's-own-token", "a-bot's-own-token"
"""Of the API's callers."""

ENGINE = (
    "engine=results:read+combats:submit+belts:reserve+operations:write"
    f"+characters:write+events:read={TOKEN}"
)
BOT = f"bot=results:read+events:read={OTHER_TOKEN}"
"""The same, as the environment has them."""


def new_session_id() -> UUID:
    """A UUIDv7, as engines are advised to use."""
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 7 << 76
    return UUID(int=value & ~(0x3 << 62) | 2 << 62)
