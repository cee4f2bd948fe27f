"""Tells keys of players from others, and finds what an AI participant is given."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

SHADOW_KEY = re.compile(r"-[0-9]+")
"""The AI double of a player: the one number that is no player."""

SEPARATORS = (
    # Spaces, controls and marks without width, whatever line or direction they make.
    "\x00-\x20\x7f-\xa0\xad\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000"
    # What people put between digits.
    "\ufeff_.,'`\u00b4\u00b7\u02bc\u066b\u066c\u2018\u2019\u3001\u3002\uff0c\uff0e"
)
"""What stands around and between digits, as a class of a regular expression."""

SIGNS = "+\\-\u2010-\u2015\u2212\ufe62\ufe63\uff0b\uff0d"
_SEPARATORS = re.compile(f"[{SEPARATORS}]+")


_NUMBER = re.compile(
    f"[{SIGNS}]?(?:0[xXoObB][0-9a-fA-F]+|[0-9]+(?:[eE][{SIGNS}]?[0-9]+)?)"
)


def reads_as_number(key: str) -> bool:
    """Whether a key is a number in any script, spacing or notation.

    But for "-" and digits, which names a shadow.
    """
    if SHADOW_KEY.fullmatch(key):
        return False
    bare = _SEPARATORS.sub("", key)
    digits = "".join("1" if c > "9" and c.isnumeric() else c for c in bare)
    return _NUMBER.fullmatch(digits) is not None


def gifts(participant: Mapping[str, object]) -> Iterator[str]:
    """Paths of what a participant is given, or what is taken from it.

    The keys of `changes` are not looked at: any amount and any entry counts. So does
    loot that is only shown, which a player without `items_gained` is given.
    """
    changes = participant.get("changes")
    if isinstance(changes, dict):
        yield from (f"changes.{k}" for k, v in changes.items() if not _is_nothing(v))
    elif not _is_zero(changes):
        yield "changes"
    report = participant.get("ui_report")
    if isinstance(report, dict) and not _is_zero(report.get("loot_obtained")):
        yield "ui_report.loot_obtained"


def _is_nothing(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_zero, value.values()))
    return _is_zero(value)


def _is_zero(value: object) -> bool:
    """Nothing, zero, or empty, at the first look."""
    return not value
