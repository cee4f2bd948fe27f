"""A stored fight log as people read it: turns, and the health of everybody.

Pure: a document's `replay_log` in, plain data out. A log may be anything an engine
sent; a turn of the contract's shape {turn, actor, target, action, amount, hp: {id:
value}} is told in columns, any other as the text it is. Logs that came as base64 of
zstd or zlib are opened within bounds; one that cannot be opened says why.
"""

from __future__ import annotations

import base64
import binascii
import json
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from django.utils.translation import gettext

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_OPENED = 16 * 1024 * 1024
"""Bytes that a compressed log may unfold to."""

MAX_TURNS = 2_000
"""Turns that are read; a fight of people has tens."""

MAX_SERIES = 40
"""Participants whose health is followed."""

MAX_TEXT = 500
"""Characters of one field, or of one turn of another shape."""

MAX_RAW = 10 * MAX_TEXT
"""Characters of a log that could not be read."""

MAX_HP = 10**15
"""Beyond any health; larger numbers are no points of a chart."""

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class Problem(StrEnum):
    """Why a log cannot be shown."""

    NOT_BASE64 = "not_base64"
    UNKNOWN_PACKING = "unknown_packing"
    BROKEN = "broken"
    CUT_OFF = "cut_off"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    TOO_DEEP = "too_deep"


class Unreadable(ValueError):
    """The log cannot be read. `raw`: what was unfolded, where that much succeeded."""

    def __init__(self, problem: Problem, raw: bytes = b"") -> None:
        super().__init__(problem, raw)
        self.problem = problem
        self.raw = raw


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn. `text` stands for a turn of another shape; all else is empty then.

    `hp`: of those it names, after the turn, by participant.
    """

    number: str
    actor: str = ""
    target: str = ""
    action: str = ""
    amount: str = ""
    hp: dict[str, int] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """Health of one participant where the log tells it: (position of the entry, hp)."""

    participant: str
    points: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class FightLog:
    """A log to show. `problem`: why there are no turns though something was stored."""

    turns: list[Turn]
    more_turns: int
    series: list[Series]
    more_series: int
    problem: Problem | None = None
    raw: str = ""
    """What could not be opened, as far as it was unfolded, cut."""


def read_stored(data: bytes) -> FightLog:
    """Read a log as it is kept at rest: JSON, zstd-compressed."""
    try:
        return read(_parsed(_unfold_zstd(data)))
    except Unreadable as error:
        return _unreadable(error, "")


def read(replay_log: object) -> FightLog:
    """Never raises: what is wrong with the log is part of the answer."""
    try:
        entries = _entries(replay_log)
    except Unreadable as error:
        raw = replay_log if isinstance(replay_log, str) else _as_json(replay_log)
        return _unreadable(error, raw)
    turns = [_turn(entry, n) for n, entry in enumerate(entries[:MAX_TURNS], 1)]
    series = _series(turns)
    return FightLog(
        turns,
        max(0, len(entries) - MAX_TURNS),
        series[:MAX_SERIES],
        max(0, len(series) - MAX_SERIES),
    )


def _unreadable(error: Unreadable, packed: str) -> FightLog:
    unfolded = error.raw[:MAX_RAW].decode("utf-8", "backslashreplace")
    raw = packed[:MAX_RAW] or unfolded
    return FightLog([], 0, [], 0, error.problem, raw)


def _entries(replay_log: object) -> list[Any]:
    opened = open_packed(replay_log) if isinstance(replay_log, str) else replay_log
    # Engines may wrap the list.
    if isinstance(opened, dict) and isinstance(opened.get("turns"), list):
        opened = opened["turns"]
    if opened is None:
        return []
    return opened if isinstance(opened, list) else [opened]


def open_packed(text: str) -> Any:
    """JSON of a base64 string of zstd, zlib or plain JSON. Raises Unreadable."""
    try:
        # Either alphabet, with or without padding; anything else is no base64.
        plain = text.strip().translate(str.maketrans("-_", "+/"))
        packed = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Unreadable(Problem.NOT_BASE64) from None
    return _parsed(_unfold(packed))


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data, parse_int=_number)
    except ValueError:
        raise Unreadable(Problem.NOT_JSON, data) from None
    except RecursionError:
        raise Unreadable(Problem.TOO_DEEP, data) from None


def _number(digits: str) -> int | str:
    """Beyond MAX_TEXT it is only ever shown, and Python refuses to read it."""
    return int(digits) if len(digits) <= MAX_TEXT else digits


def _unfold(packed: bytes) -> bytes:
    if packed.startswith(_ZSTD_MAGIC):
        return _unfold_zstd(packed)
    if packed[:1] == b"\x78":
        return _unfold_zlib(packed)
    if packed.lstrip()[:1] in (b"[", b"{"):
        return packed
    raise Unreadable(Problem.UNKNOWN_PACKING)


def _unfold_zstd(packed: bytes) -> bytes:
    # The window is bounded, too: it is memory that a header of eight bytes can ask for.
    bounds: Any = {zstd.DecompressionParameter.window_log_max: 24}
    opened = zstd.ZstdDecompressor(options=bounds)
    try:
        data: bytes = opened.decompress(packed, max_length=MAX_OPENED)
    except zstd.ZstdError:
        raise Unreadable(Problem.BROKEN) from None
    if not opened.eof:
        raise Unreadable(_unfinished(data))
    return data


def _unfold_zlib(packed: bytes) -> bytes:
    opened = zlib.decompressobj()
    try:
        data = opened.decompress(packed, MAX_OPENED)
    except zlib.error:
        raise Unreadable(Problem.BROKEN) from None
    if not opened.eof:
        raise Unreadable(_unfinished(data))
    return data


def _unfinished(data: bytes) -> Problem:
    return Problem.TOO_LARGE if len(data) >= MAX_OPENED else Problem.CUT_OFF


def _turn(entry: object, position: int) -> Turn:
    if not isinstance(entry, dict) or "action" not in entry:
        return Turn(str(position), text=_as_text(entry))
    return Turn(
        number=_as_text(entry.get("turn", position)),
        actor=_as_text(entry.get("actor")),
        target=_as_text(entry.get("target")),
        action=_as_text(entry.get("action")),
        amount=_as_text(entry.get("amount")),
        hp=_hp(entry.get("hp")),
    )


def _hp(value: object) -> dict[str, int]:
    if not isinstance(value, dict):
        return {}
    return {
        _as_text(key): round(health)
        for key, health in value.items()
        if isinstance(health, int | float)
        and not isinstance(health, bool)
        and abs(health) <= MAX_HP
    }


def _series(turns: Iterable[Turn]) -> list[Series]:
    points: dict[str, list[tuple[int, int]]] = {}
    for position, turn in enumerate(turns, 1):
        for participant, health in turn.hp.items():
            points.setdefault(participant, []).append((position, health))
    return [Series(participant, told) for participant, told in points.items()]


def _as_text(value: object) -> str:
    if value is None:
        return ""
    return (value if isinstance(value, str) else _as_json(value))[:MAX_TEXT]


def _as_json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        return gettext("(nested too deeply to be shown)")


def text_lines(view: FightLog, names: Mapping[str, str]) -> Iterator[str]:
    """A line for each turn, for a chat or a ticket."""
    for turn in view.turns:
        yield _line(turn, names)
    if view.more_turns:
        yield gettext("… and %(count)d more turns") % {"count": view.more_turns}


def _line(turn: Turn, names: Mapping[str, str]) -> str:
    if turn.text:
        return f"{turn.number}. {turn.text}"
    actor, target = (names.get(key, key) for key in (turn.actor, turn.target))
    told = f"{turn.number}. {actor}: {turn.action}"
    if target and turn.target != turn.actor:
        told += f" → {target}"
    if turn.amount:
        told += f" ({turn.amount})"
    health = ", ".join(f"{names.get(key, key)} {hp}" for key, hp in turn.hp.items())
    return f"{told}; {gettext('health')}: {health}" if health else told
