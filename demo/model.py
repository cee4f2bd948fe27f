"""What every character must own after the run: plain sums over the journal.

Independent of the system: it reads opening balances and gains, never a document, a
ledger line or a row that a settlement wrote.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

from demo.documents import Gain
from demo.submission import Outcome, Submission
from demo.world import Balance


def foretell(
    opening: dict[int, Balance], submissions: Iterable[Submission]
) -> dict[int, Balance]:
    """Balances after every fight that is to be processed, each taken once."""
    balances = deepcopy(opening)
    for submission in submissions:
        if submission.outcome is Outcome.PROCESSED:
            for char_id, gain in submission.gains.items():
                vitals = (submission.ended_at, submission.session_id)
                _add(balances[char_id], gain, vitals)
    return balances


def _add(balance: Balance, gain: Gain, vitals: tuple[int, str]) -> None:
    balance.xp += gain.xp
    balance.gold += gain.gold
    if vitals > balance.vitals:
        balance.hp, balance.energy, balance.vitals = gain.hp, gain.energy, vitals
    for _, template, qty in gain.used:
        balance.pieces[template] -= qty
    for template, qty in gain.loot.items():
        balance.pieces[template] = balance.pieces.get(template, 0) + qty
    for row, points in gain.worn.items():
        balance.durability[row] = max(0, balance.durability[row] - points)


def differences(
    expected: dict[int, Balance], found: dict[int, Balance]
) -> dict[int, list[str]]:
    """What does not agree, in words, by character; agreeing characters are left out."""
    return {
        char_id: lines
        for char_id, balance in expected.items()
        if (lines := _differing(balance, found.get(char_id)))
    }


def _differing(expected: Balance, found: Balance | None) -> list[str]:
    if found is None:
        return ["is gone"]
    pairs: dict[str, tuple[object, object]] = {
        "xp": (expected.xp, found.xp),
        "gold": (expected.gold, found.gold),
        "hp": (expected.hp, found.hp),
        "energy": (expected.energy, found.energy),
        "newest fight": (expected.vitals[1], found.vitals[1]),
    }
    for template in sorted({*expected.pieces, *found.pieces}):
        pairs[f"pieces of {template}"] = (
            expected.pieces.get(template, 0),
            found.pieces.get(template, 0),
        )
    # Gear won in the run is not in the opening: no fight of the run wears it.
    for row, points in expected.durability.items():
        pairs[f"durability of row {row}"] = (points, found.durability.get(row))
    return [
        f"{what}: expected {wanted}, found {actual}"
        for what, (wanted, actual) in pairs.items()
        if wanted != actual
    ]
