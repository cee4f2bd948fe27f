"""The Lua scripts: each runs atomically in Redis, in one round trip."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent.parent / "lua"

_ENTERING = ("account", "intents", "sessions", "enter")

_INCLUDES = {
    "account_read": ("account",),
    "belts": ("belt_session",),
    "belts_free": ("account",),
    "belts_read": ("belt_session",),
    "account_scan": ("account",),
    "closed": ("account",),
    "disown": ("account",),
    "finish": ("tombstone",),
    "free": ("account",),
    "handoff": ("account", "moments", "participants", "roster_print"),
    "intend": ("intents",),
    "intent_send": ("intents",),
    "intents_due": ("intents",),
    "join": (*_ENTERING, "belt_session", "participants"),
    "leave_combat": ("account", "intents", "belt_session", "json_text", "participants"),
    "lookup": ("account", "tombstone"),
    "queue": ("account", "intents"),
    "remember": ("tombstone",),
    "restore": ("account", "moments"),
    "roster": ("belt_session", "roster_print"),
    "scenario_done": ("account",),
    "start": _ENTERING,
    "take_back": ("account", "belt_session", "participants"),
    "switch": ("account", "intents", "sessions"),
    "use_item": ("belt_session", "json_text"),
}
"""The texts that a script begins with: Redis has no other way to share a function."""


@dataclass(frozen=True, slots=True)
class Script:
    """`sha1` is the name that Redis gives it; nothing is secured by it."""

    source: str
    sha1: str


@cache
def script(name: str) -> Script:
    return _named(source(name))


@cache
def counted(name: str) -> Script:
    """The script as the engine's calls run it: `lua/epoch.lua` says what is added."""
    return _named(
        f"local function answer()\n{source(name)}\nend\n{_text('epoch')}",
    )


def _named(text: str) -> Script:
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def source(name: str) -> str:
    """Text of `lua/<name>.lua`; its header states keys, arguments and reply."""
    return "\n".join(map(_text, (*_INCLUDES.get(name, ()), name)))


def _text(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")
