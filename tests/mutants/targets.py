"""What is changed on purpose, and the tests that have to notice."""

from __future__ import annotations

from dataclasses import dataclass

INTEGRATION = "tests/integration"


@dataclass(frozen=True, slots=True)
class Target:
    """`source`: the file that is changed."""

    source: str
    tests: tuple[str, ...]


def _integration(*names: str) -> tuple[str, ...]:
    return tuple(f"{INTEGRATION}/test_{name}.py" for name in names)


def _scripts(*names: str) -> tuple[str, ...]:
    return tuple(f"{INTEGRATION}/scripts/test_{name}.py" for name in names)


_PLANNED = tuple(
    f"tests/unit/test_combat_plan_{part}.py"
    for part in (
        *("balances", "consumption", "loot", "told", "reserved", "wear"),
        "properties",
    )
)

MODULES = {
    "plan": Target("persistence/savers/combat/plan.py", _PLANNED),
    "draft": Target("persistence/savers/combat/draft.py", _PLANNED),
    "drain": Target(
        "persistence/worker/drain.py",
        (
            *_integration("drain_together", "drain_alone", "drain_ways_back"),
            f"{INTEGRATION}/test_inbox.py::"
            "test_conflict_between_claim_and_finish_is_recorded",
        ),
    ),
    "inbox": Target(
        "persistence/worker/inbox.py",
        _scripts("inbox", "accepted_before", "finish", "release", "tombstone"),
    ),
    "lookup": Target(
        "combat_history/reading/lookup.py",
        (
            *_integration("lookup_ways", "lookup_gold"),
            f"{INTEGRATION}/test_lookup.py::"
            "test_fight_settled_under_an_older_contract_is_still_told",
            f"{INTEGRATION}/test_lookup_costs.py::"
            "test_what_redis_knows_costs_one_round_trip_and_no_query",
        ),
    ),
}
"""Python, changed by mutmut."""

LUA = "persistence/lua"

_LUA_TESTS = {
    "handoff": ("handoff",),
    "claim": ("claim",),
    "finish": ("finish",),
    "release": ("release",),
    "remember": ("tombstone",),
    "tombstone": ("tombstone", "finish"),
    "lookup": ("lookup",),
    "accepted_before": ("accepted_before",),
    "use_item": ("use_item",),
    "json_text": ("use_item",),
}

SCRIPTS = {
    f"{name}.lua": Target(f"{LUA}/{name}.lua", _scripts(*tests))
    for name, tests in _LUA_TESTS.items()
}
"""Lua of hand-off, drain and look-up, changed by `tests.mutants.lua`."""
