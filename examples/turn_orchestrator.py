"""CombatTurnOrchestrator with the branch for a fight that is no longer there.

    SETTLEMENT_API_URL=http://127.0.0.1:8000 SETTLEMENT_API_TOKEN=… \
    python -m examples.turn_orchestrator SESSION_ID CHAR_ID [LANGUAGE]

plays a turn of a fight that this process does not hold, and prints the reply.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Protocol
from uuid import UUID

from persistence.bot.client import HttpResults, Results, ResultsUnavailable
from persistence.contract.ids import parse_session_id


class Engine(Protocol):
    """The game's own hot path over `cs:{session_id}`."""

    async def strike(self, session_id: UUID, char_id: int, action: str) -> str | None:
        """The reply to the player; None where there is no such session."""


class CombatTurnOrchestrator:
    def __init__(self, engine: Engine, results: Results) -> None:
        self._engine = engine
        self._results = results

    async def turn(
        self, session_id: UUID, char_id: int, action: str, language: str | None = None
    ) -> str:
        reply = await self._engine.strike(session_id, char_id, action)
        if reply is not None:
            return reply
        # One question makes all three tries, in one Redis round trip where it can:
        # 1. hot cache: the tombstone, `cs:{session_id}`, a result on its way;
        # 2. the player's context: `last_combat_session_id` of `ac:{char_id}`;
        # 3. cold storage: `combat_history` by primary key, whatever its age.
        try:
            answer = await self._results(session_id, char_id, language)
        except ResultsUnavailable:
            return "Сейчас не удаётся узнать итог боя. Попробуйте чуть позже."
        # Finished: the outcome. Unknown, also to strangers: «Бой устарел или не
        # существует». Active: it goes on, in another process of the engine.
        return answer.short


class NoFights:
    """An engine that has just been restarted."""

    async def strike(self, session_id: UUID, char_id: int, action: str) -> str | None:
        return None


async def main(session_id: str, char_id: str, language: str = "ru") -> None:
    results = HttpResults(
        os.environ["SETTLEMENT_API_URL"], os.environ["SETTLEMENT_API_TOKEN"]
    )
    orchestrator = CombatTurnOrchestrator(NoFights(), results)
    try:
        reply = await orchestrator.turn(
            parse_session_id(session_id), int(char_id), "attack", language
        )
    finally:
        await results.aclose()
    print(reply)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
