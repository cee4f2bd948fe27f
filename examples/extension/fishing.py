"""A mode of the game's own: its session is saved when the player goes elsewhere.

The engine keeps `fishing:{session_id}` and calls
`switch_context(char_id=101, to="game_fishing")`.
"""

from __future__ import annotations

from typing import Any

from persistence.contract.redis_keys import closing_field, session_field
from persistence.protocols import Saved
from persistence.worker import accounts, inbox

SCOPE = "game_fishing"

# A snapshot: saved again, it is what it is now, and never less.
SAVE = """
INSERT INTO game_fishing_trips (session_id, character_id, fish) VALUES (%s, %s, %s)
ON CONFLICT (session_id)
DO UPDATE SET fish = GREATEST(game_fishing_trips.fish, EXCLUDED.fish)
"""


class FishingSaver:
    """See `persistence.protocols.Saver`."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def save(self, char_id: int) -> Saved:
        fields = [session_field(SCOPE), closing_field(SCOPE)]
        named = accounts.read(char_id, fields).values()
        trips = [trip for text in named if text for trip in text.split(",")]
        client = inbox.client()
        caught = {trip: client.hget(f"fishing:{trip}", "fish") for trip in trips}
        # All read by now: no row waits for Redis.
        for trip, fish in caught.items():
            self._cursor.execute(SAVE, [trip, char_id, int(fish or 0)])
        return Saved(counts={"saved": len(trips)})
