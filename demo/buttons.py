"""Old buttons: what a player is told, in words that can be foretold."""

from __future__ import annotations

from combat_history.reading.lookup import Credit, Lookup, State, afind_result
from combat_history.reading.player_text import callback_text
from demo.documents import Gain

UNKNOWN = "Бой устарел или не существует"
RUNNING = "active"
_OVER = "Бой уже завершен!"


def credited(gain: Gain) -> str:
    """The answer about a fight whose rewards are in the tables."""
    return f"{_OVER} {Credit.CREDITED}, {gain.gold} gold, {gain.xp} XP"


async def press(session_id: str, char_id: int) -> tuple[str, bool]:
    """The answer, and whether it is final: rewards may still be on their way."""
    lookup = await afind_result(session_id, char_id)
    return _answer_text(lookup), lookup.credit is not Credit.PENDING


def _answer_text(lookup: Lookup) -> str:
    if lookup.state is State.ACTIVE:
        return RUNNING
    first_line = callback_text(lookup, "ru").splitlines()[0]
    if lookup.outcome is None:
        return first_line
    gold, xp = lookup.outcome.gold, lookup.outcome.xp
    return f"{first_line} {lookup.credit}, {gold} gold, {xp} XP"
