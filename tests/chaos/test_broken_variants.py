"""The crash suite sees what it is there to see: each broken variant is caught.

The code is broken inside the forked children alone, and stays broken in recovery.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from persistence.engine import scripts
from persistence.protocols import Delivery, Verdict
from persistence.savers.cleanup_saver import CleanupStateSaver
from persistence.savers.combat import statements
from persistence.savers.combat_saver import CombatStateSaver
from persistence.worker import drain, inbox, sql
from persistence.worker.entries import Entry
from tests.chaos import scenes
from tests.chaos.scenes import MakeScene, Mutate, play
from tests.support.crash import Crash, When
from tests.support.ledger_oracle import Oracle


def _effects_before_commit() -> None:
    settle_entries, settle = drain.settle_entries, CombatStateSaver.settle
    claimed: dict[Any, Entry] = {}

    def remember(
        entries: Sequence[Entry], started: float, saver_of: drain.SaverOf
    ) -> bool:
        claimed.update((entry.session_id, entry) for entry in entries)
        return settle_entries(entries, started, saver_of)

    def settle_and_finish(
        self: CombatStateSaver, batch: Sequence[Delivery]
    ) -> list[Verdict]:
        verdicts = settle(self, batch)
        inbox.finish((claimed[v.session_id], v) for v in verdicts)
        return verdicts

    _replace(drain, "settle_entries", remember)
    _replace(CombatStateSaver, "settle", settle_and_finish)


def _two_transactions() -> None:
    fetch = sql.fetch

    def fetch_and_commit(cursor: Any, statement: str, parameters: Any) -> Any:
        rows = fetch(cursor, statement, parameters)
        if statement == statements.INSERT_HISTORY:
            cursor.connection.commit()
        return rows

    _replace(sql, "fetch", fetch_and_commit)


def _no_sweep() -> None:
    def find_nothing(_: CleanupStateSaver) -> dict[str, int]:
        return {}

    _replace(CleanupStateSaver, "sweep", find_nothing)


def _removed_before_recorded() -> None:
    """Read and removed in one step: what a taker holds is in its memory alone."""
    _script_with(
        "peek",
        "redis.call('LINDEX', KEYS[1], -i)",
        "redis.call('RPOP', KEYS[1])",
    )()


def _replace(owner: object, name: str, value: object) -> None:
    """For good: the process this happens in ends with its scene."""
    setattr(owner, name, value)


def _script_with(name: str, line: str, instead: str) -> Mutate:
    def mutate() -> None:
        source = scripts.source

        def broken(wanted: str) -> str:
            text = source(wanted)
            if wanted != name:
                return text
            assert line in text
            return text.replace(line, instead)

        _replace(scripts, "source", broken)
        scripts.script.cache_clear()
        scripts.counted.cache_clear()

    return mutate


_no_conflict_check = _script_with(
    "handoff", "local known = redis.call('HGET', KEYS[1], 'sha256')", "local known"
)
_unconditional_snapshot = _script_with(
    "handoff", "if not own and not (idle and is_newer) then return end", ""
)
_popped_when_claimed = _script_with(
    "claim",
    "redis.call('ZADD', KEYS[1], 'XX', lease, sid)",
    "redis.call('ZREM', KEYS[1], sid)",
)
_finished_without_lease = _script_with(
    "finish",
    "return score and tonumber(score) == tonumber(lease)",
    "return true",
)


def _entries_are_popped() -> None:
    _popped_when_claimed()
    _finished_without_lease()


@pytest.mark.parametrize(
    ("mutate", "make", "seen"),
    [
        (_effects_before_commit, scenes.batch, "LOST"),
        (_two_transactions, scenes.batch, "ledger line"),
        (_entries_are_popped, scenes.batch, "LOST"),
        (_no_conflict_check, scenes.hand_off, "another document"),
        (_unconditional_snapshot, scenes.hand_off, "ac:"),
        (_no_sweep, scenes.swept, "LOST"),
        (_removed_before_recorded, scenes.waiting, "LOST"),
    ],
)
def test_a_broken_variant_is_caught(
    oracle: Oracle, mutate: Mutate, make: MakeScene, seen: str
) -> None:
    is_seen(oracle, mutate, make, seen)


def is_seen(oracle: Oracle, mutate: Mutate, make: MakeScene, seen: str) -> None:
    """Fails unless some crash makes the variant show that."""
    whole, _, wrong = play(oracle, make, mutate=mutate)
    # From the end: the commit and the effects are what most variants get wrong.
    for operation in range(whole.operations, 0, -1):
        if seen in "\n".join(wrong):
            return
        *_, wrong = play(oracle, make, (Crash(operation, When.BEFORE), None), mutate)
    pytest.fail(f"no crash made this variant show {seen!r}")
