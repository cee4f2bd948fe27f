"""Fight logs of any making: told by turns, opened within bounds, or said why not."""

from __future__ import annotations

import base64
import json
import sys
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from combat_history.admin.rendering import visible
from combat_history.insight import fight_log
from combat_history.insight.fight_log import (
    MAX_TURNS,
    Problem,
    Series,
    read,
    read_stored,
    text_lines,
)
from persistence.contract.fight_log import pack

if sys.version_info >= (3, 14):
    from compression import zstd as compressor
else:
    from backports import zstd as compressor

TURNS = [
    {
        "turn": 1,
        "actor": "101",
        "target": "goblin_1",
        "action": "attack",
        "amount": 30,
        "hp": {"goblin_1": 20, "101": 100},
    },
    {"turn": 2, "actor": "goblin_1", "target": "101", "action": "bite", "amount": 5},
    {"turn": 3, "actor": "101", "target": "101", "action": "flee", "hp": {"101": 95.4}},
]
BOMB = b"[" + b" " * (fight_log.MAX_OPENED + 1) + b"]"


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def zstd(data: bytes) -> bytes:
    return bytes(compressor.compress(data))


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_turns_of_the_contract_are_told_in_columns() -> None:
    view = read(TURNS)
    first, second, third = view.turns
    assert (first.number, first.actor, first.target) == ("1", "101", "goblin_1")
    assert (first.action, first.amount) == ("attack", "30")
    assert first.hp == {"goblin_1": 20, "101": 100}
    assert (second.hp, third.amount, third.hp) == ({}, "", {"101": 95})
    assert view.series == [
        Series("goblin_1", [(1, 20)]),
        Series("101", [(1, 100), (3, 95)]),
    ]
    assert view.problem is None


@pytest.mark.parametrize(
    "entry", ["a blow", 7, None, [1, 2], {"event": "rain"}, {"actor": "101"}]
)
def test_a_turn_of_another_shape_is_text(entry: Any) -> None:
    (turn,) = read([entry]).turns
    shown = entry if isinstance(entry, str) else json.dumps(entry)
    assert turn.text == ("" if entry is None else shown)
    assert turn.action == ""


@pytest.mark.parametrize("key", ["turn", "actor", "target", "action", "amount", "hp"])
@pytest.mark.parametrize("value", [None, [], {"x": [{}]}, "text", True, 1.5, 10**400])
def test_a_field_of_another_type_stops_nothing(key: str, value: Any) -> None:
    view = read([{**TURNS[0], key: value}])
    assert len(view.turns) == 1
    assert all(isinstance(hp, int) for hp in view.turns[0].hp.values())


@pytest.mark.parametrize("wrap", [zstd, zlib.compress, bytes])
def test_packed_logs_are_opened(wrap: Any) -> None:
    packed = base64.b64encode(wrap(as_json(TURNS)))
    assert read(packed.decode()) == read(TURNS)
    url_safe = packed.replace(b"+", b"-").replace(b"/", b"_").rstrip(b"=")
    assert read(url_safe.decode()) == read(TURNS)


def test_a_log_is_found_inside_its_wrapping() -> None:
    assert read({"turns": TURNS}) == read(TURNS)
    assert [turn.text for turn in read({"version": 2}).turns] == ['{"version": 2}']


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("not base64!", Problem.NOT_BASE64),
        ("я", Problem.NOT_BASE64),
        (base64_of(b"plain words"), Problem.UNKNOWN_PACKING),
        ("", Problem.UNKNOWN_PACKING),
        (base64_of(zstd(as_json(TURNS))[:-4]), Problem.CUT_OFF),
        (base64_of(zlib.compress(as_json(TURNS))[:-6]), Problem.CUT_OFF),
        (base64_of(b"\x28\xb5\x2f\xfd" + b"\xff" * 40), Problem.BROKEN),
        (base64_of(b"\x78\x9c" + b"\xff" * 40), Problem.BROKEN),
        (base64_of(zstd(b"no json")), Problem.NOT_JSON),
        (base64_of(zlib.compress(b"\xff\xfe")), Problem.NOT_JSON),
        (base64_of(b"[" * 200_000), Problem.TOO_DEEP),
        (base64_of(zstd(BOMB)), Problem.TOO_LARGE),
        (base64_of(zlib.compress(BOMB)), Problem.TOO_LARGE),
    ],
)
def test_what_cannot_be_opened_says_why(text: str, problem: Problem) -> None:
    view = read(text)
    assert view.problem is problem
    assert view.turns == []
    assert text.startswith(view.raw)


def test_a_window_of_a_gigabyte_is_not_granted() -> None:
    # A frame header that asks for a window of 2 GiB, and one raw block of two bytes.
    frame = b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x11\x00\x00" + b"[]"
    assert read(base64_of(frame)).problem is Problem.BROKEN


def test_a_long_log_is_cut() -> None:
    view = read([TURNS[0]] * (MAX_TURNS + 5))
    assert (len(view.turns), view.more_turns) == (MAX_TURNS, 5)
    crowd = [{"action": "rain", "hp": {str(n): 1 for n in range(50)}}]
    view = read(crowd)
    assert (len(view.series), view.more_series) == (40, 10)
    (turn,) = read(["x" * 10_000]).turns
    assert len(turn.text) == 500


def test_a_stored_log_is_opened_or_says_why() -> None:
    assert read_stored(pack(TURNS)) == read(TURNS)
    assert read_stored(pack(base64_of(zstd(as_json(TURNS))))) == read(TURNS)
    assert read_stored(pack(TURNS)[:-3]).problem is Problem.CUT_OFF
    assert read_stored(b"garbage").problem is Problem.BROKEN


def test_plain_text_has_a_line_for_each_turn() -> None:
    names = {"101": "Герой", "goblin_1": "Гоблин"}
    lines = list(text_lines(read([*TURNS, "rain"]), names))
    assert lines == [
        "1. Герой: attack → Гоблин (30); health: Гоблин 20, Герой 100",
        "2. Гоблин: bite → Герой (5)",
        "3. Герой: flee; health: Герой 95",
        "4. rain",
    ]
    long = list(text_lines(read(["x"] * (MAX_TURNS + 2)), {}))
    assert long[-1] == "… and 2 more turns"


TEXT = st.text(st.characters())
"""Lone surrogates and NUL included."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


@given(JSON)
def test_any_document_can_be_looked_at(log: Any) -> None:
    view = read(log)
    lines = list(text_lines(view, {}))
    assert len(lines) == len(view.turns)
    for line in lines:
        visible(line).encode()
    assert read_stored(pack(log)) == view


def test_a_number_of_any_length_is_shown() -> None:
    digits = b"9" * 5_000
    (turn,) = read_stored(zstd(b'[{"action": "hit", "amount": ' + digits + b"}]")).turns
    assert turn.amount == "9" * 500


@pytest.mark.parametrize("depth", range(50, 1_100, 50))
def test_a_log_of_any_depth_is_told_or_shown_raw(depth: int) -> None:
    log = b"[" * depth + b"]" * depth
    view = read_stored(zstd(log))
    assert view.turns or (view.problem, view.raw) == (Problem.TOO_DEEP, log.decode())


@given(st.binary())
def test_any_packed_bytes_can_be_looked_at(data: bytes) -> None:
    view = read(base64_of(data))
    assert view.problem is not None or view.turns or view.raw == ""
