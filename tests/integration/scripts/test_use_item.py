"""lua/use_item.lua changes two numbers of a container, whatever stands around them."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from persistence.contract import redis_keys
from persistence.contract.changes import MAX_BIGINT
from tests.support.ids import new_session_id
from tests.support.scripts import run

KNOWN = {"belt_items", "consumed", "inventory_id", "inv_id", "quantity", "qty"}
TEXTS = st.text(st.sampled_from('ab"\\/[]{},: \n\té\u2028😀'), max_size=5)
NAMES = TEXTS.filter(lambda name: name not in KNOWN)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, MAX_BIGINT) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)
    ),
    max_leaves=8,
)
ROWS = st.integers(1, 4) | st.integers(MAX_BIGINT - 3, MAX_BIGINT)


@st.composite
def containers(draw: st.DrawFn) -> str:
    """A belt of distinct rows, what was consumed of it, and anything beside them."""

    def entry(row: int, name: str, count: str, least: int) -> dict[str, Any]:
        number = draw(st.integers(least, 3))
        beside = draw(st.dictionaries(NAMES, VALUES, max_size=2))
        return shuffled({name: row, count: number, **beside})

    def shuffled(members: dict[str, Any]) -> dict[str, Any]:
        return dict(draw(st.permutations(list(members.items()))))

    rows = draw(st.lists(ROWS, unique=True, min_size=1, max_size=3))
    used = draw(st.lists(st.sampled_from(rows), unique=True))
    names = st.sampled_from(["inventory_id", "inv_id"])
    container = {
        "belt_items": [entry(row, "inventory_id", "quantity", 0) for row in rows],
        "consumed": [entry(row, draw(names), "qty", 1) for row in used],
        **draw(st.dictionaries(NAMES, VALUES, max_size=3)),
    }
    if not used and draw(st.booleans()):
        del container["consumed"]
    separators = draw(st.sampled_from([(",", ":"), (" ,\n ", "\t: ")]))
    return json.dumps(
        shuffled(container),
        ensure_ascii=draw(st.booleans()),
        separators=separators,
        indent=draw(st.sampled_from([None, 2])),
    )


def used_in(container: dict[str, Any]) -> Counter[int]:
    uses = container.pop("consumed", [])
    return Counter(
        {use.get("inventory_id", use.get("inv_id")): use["qty"] for use in uses}
    )


@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=containers(), pick=st.integers(0, 2))
@pytest.mark.usefixtures("redis_client")
def test_a_use_moves_one_piece_and_nothing_else(
    redis_client: redis.Redis, text: str, pick: int
) -> None:
    session_id = new_session_id()
    key = redis_keys.session(session_id)
    redis_client.hset(key, mapping={"status": "active", "actor:7": text})
    before = json.loads(text)
    item = before["belt_items"][pick % len(before["belt_items"])]
    row, there = item["inventory_id"], item["quantity"]

    told = run(
        "use_item", [key, redis_keys.result(session_id)], [7, row, "use:7:a", ""]
    )

    written: Any = redis_client.hget(key, "actor:7")
    if not there:
        assert (told, written.decode()) == ([b"spent"], text)
        return
    assert told == [b"used", str(there - 1).encode()]
    after = json.loads(written)
    item["quantity"] -= 1
    assert used_in(after) == used_in(before) + Counter({row: 1})
    assert after == before
