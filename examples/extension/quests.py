"""A quest that counts the fights a player has won, exactly as they are settled.

Its rows are written in the transaction that settles the fights, and taken back in the
one that undoes them: neither is ever true without the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from persistence.protocols import Applied

ADD = """
INSERT INTO game_quest_steps (session_id, character_id)
SELECT * FROM unnest(%s::uuid[], %s::bigint[]) ORDER BY 2
"""

TAKE_BACK = "DELETE FROM game_quest_steps WHERE session_id = ANY (%s::uuid[])"


class Wins:
    """Two statements, whatever the size of the batch."""

    def settled(self, cursor: Any, applied: Sequence[Applied]) -> None:
        won = [
            (one.id, int(char_id))
            for one in applied
            for char_id, part in one.document.get("participants", {}).items()
            if char_id.isdecimal() and part.get("is_winner")
        ]
        if won:
            ids, players = zip(*won, strict=True)
            cursor.execute(ADD, [list(ids), list(players)])

    def undone(self, cursor: Any, applied: Sequence[tuple[UUID, int]]) -> None:
        cursor.execute(TAKE_BACK, [[id_ for id_, _ in applied]])
