from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.contract.fight_log import pack, unpack
from tests.unit.builders import sample
from tests.unit.strategies import BOUNDED, json_values


@given(log=st.none() | st.text() | st.lists(json_values()))
@BOUNDED
def test_a_log_comes_back_exactly(log: Any) -> None:
    back = unpack(pack(log))

    # Tells 1 from 1.0 and True, which are equal in Python.
    assert json.dumps(back) == json.dumps(log)


@pytest.mark.parametrize(
    "log", [sample()["replay_log"], "KLUv/SAAAQAA", "бой\x00", "", [], None, [10**30]]
)
def test_known_logs_come_back_exactly(log: object) -> None:
    assert unpack(pack(log)) == log


def test_a_realistic_log_shrinks_to_less_than_a_fifth() -> None:
    turns = [
        {
            "turn": turn,
            "actor": str(101 + turn % 2),
            "target": str(102 - turn % 2),
            "action": ("attack", "block", "potion")[turn * 7 % 3],
            "amount": turn * 7919 % 250,
            "hp": {"101": 5000 - 31 * turn, "102": 4800 - 29 * turn},
        }
        for turn in range(60)
    ]

    assert len(pack(turns)) < len(json.dumps(turns)) / 5
