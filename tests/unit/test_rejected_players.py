"""Whom a rejected payload concerns, whatever it is wrapped in."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.worker.rejected_players import players_of

DOCUMENT = {"participants": {"101": {}, "7": {}, "goblin_1": {}, "-101": {}}, "x": 1}
TEXT = json.dumps(DOCUMENT)
BODY = json.dumps([[TEXT], {}, {"callbacks": None}])
SESSION = {"status": "finished", "participants": "[7, 101]", "actor:7": "{}"}


@pytest.mark.parametrize(
    "raw",
    [
        TEXT,
        json.dumps(SESSION),
        json.dumps({"actor:101": "{}", "actor:7": "{}", "actor:x": "{}"}),
        BODY,
        json.dumps([[DOCUMENT], {}, {}]),
        json.dumps([[], {"payload": DOCUMENT}, {}]),
        json.dumps({"body": base64.b64encode(BODY.encode()).decode(), "headers": {}}),
        TEXT[:-1],
        BODY[:-4],
        TEXT.replace("1}", '"\\ud800"}'),
        "\udcff".encode("utf-8", "surrogateescape").decode("latin-1") + TEXT,
    ],
)
def test_players_are_found_in_a_wrapping_of_any_kind(raw: str) -> None:
    assert players_of(raw.encode("utf-8", "surrogatepass")) == [7, 101]


@pytest.mark.parametrize(
    "raw", [None, b"", b"\xff\x00", b"[" * 100_000, b"7", b'"101"', b'{"101": {}}']
)
def test_of_anything_else_nobody_is_named(raw: bytes | None) -> None:
    assert players_of(raw) == []


@given(st.binary() | st.text().map(lambda text: json.dumps(text).encode()))
def test_no_bytes_stop_it(raw: bytes) -> None:
    assert players_of(raw) == sorted(set(players_of(raw)))


def test_no_id_leaves_the_range_of_a_column() -> None:
    raw = json.dumps({"participants": {str(2**63): {}, str(2**63 - 1): {}}})
    assert players_of(raw.encode()) == [2**63 - 1]
