"""What is changed on purpose, and the tests that have to notice."""

from __future__ import annotations

from dataclasses import dataclass

INTEGRATION = "tests/integration"


@dataclass(frozen=True, slots=True)
class Target:
    """`source`: the file that is changed. `needs_servers`: its tests ask PostgreSQL and
    Redis, and take turns."""

    source: str
    tests: tuple[str, ...]
    needs_servers: bool = True


def _integration(*names: str) -> tuple[str, ...]:
    return tuple(f"{INTEGRATION}/test_{name}.py" for name in names)


DRAINING = _integration(
    "inbox", "drain_ways_back", "effects", "rejected", "claims", "failures_are_kept"
)

MODULES = {
    "plan": Target(
        "persistence/savers/combat/plan.py",
        tuple(
            f"tests/unit/test_combat_plan_{part}.py"
            for part in (
                *("balances", "consumption", "loot", "told", "reserved", "wear"),
                "properties",
            )
        ),
        needs_servers=False,
    ),
    "drain": Target("persistence/worker/drain.py", DRAINING),
    "inbox": Target("persistence/worker/inbox.py", DRAINING),
    "lookup": Target(
        "combat_history/reading/lookup.py",
        _integration(
            # Not test_tombstones: mutmut cannot name its cases to pytest.
            *("lookup", "lookup_cannot_say", "lookup_costs", "lookup_gold"),
        ),
    ),
}
"""Python, changed by mutmut."""

LUA = "persistence/lua"

_LUA_TESTS = {
    "handoff": (
        *("dispatcher", "inbox", "snapshot", "snapshot_saves", "foreign_values"),
        *("drain_ways_back", "sweep_abandoned", "one_arbiter"),
    ),
    "claim": ("inbox", "drain_ways_back", "claims", "pause"),
    "finish": ("inbox", "effects", "rejected", "drain_ways_back", "tombstones"),
    "release": ("inbox", "drain_ways_back"),
    "remember": ("lookup", "lookup_cannot_say", "tombstones", "undo_announced"),
    "tombstone": ("lookup", "tombstones", "undo_announced", "effects"),
    "lookup": ("lookup", "lookup_cannot_say", "lookup_costs", "lookup_gold"),
    "accepted_before": ("pause", "control"),
}

SCRIPTS = {
    f"{name}.lua": Target(f"{LUA}/{name}.lua", _integration(*tests))
    for name, tests in _LUA_TESTS.items()
}
"""Lua of hand-off, drain and look-up, changed by `tests.mutants.lua`."""
