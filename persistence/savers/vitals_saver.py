"""VitalsStateSaver: hp, energy, location and state of the account cache.

Tables: characters. A snapshot: the newest `vitals_at` wins, whoever wrote it, so that a
combat settled late never undoes a heal, nor an old cache a combat.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from persistence import accounts
from persistence.errors import ParkCode
from persistence.payload import Vital
from persistence.protocols import Saved, SyncScope
from persistence.savers.combat_sql import Row, run
from persistence.savers.parking import Parked, park, resolve

if TYPE_CHECKING:
    from psycopg import Cursor

MAX_AHEAD = timedelta(minutes=5)
"""A snapshot from the future would refuse every later one."""

# Not given, not changed. A tie is the moment of a combat, whose hp and energy stand:
# the hand-off wrote them into the cache, beside a location it knows nothing of.
SAVE = """
UPDATE characters
SET hp = CASE WHEN vitals_at = %(vitals_at)s THEN hp ELSE COALESCE(%(hp)s, hp) END,
    energy = CASE WHEN vitals_at = %(vitals_at)s
                  THEN energy ELSE COALESCE(%(energy)s, energy) END,
    location = COALESCE(%(location)s, location),
    state = COALESCE(%(state)s, state),
    vitals_at = %(vitals_at)s,
    vitals_session_id = CASE WHEN vitals_at = %(vitals_at)s THEN vitals_session_id END
WHERE id = %(id)s AND (vitals_at IS NULL OR vitals_at <= %(vitals_at)s)
"""

EXISTS = "SELECT FROM characters WHERE id = %s FOR NO KEY UPDATE"


class Vitals(BaseModel):
    """The snapshot as the engine keeps it in `ac:{char_id}`."""

    model_config = ConfigDict(extra="ignore")

    hp: Vital | None = None
    energy: Vital | None = None
    location: str | None = Field(None, max_length=100)
    state: str | None = Field(None, max_length=40)
    vitals_at: int = Field(ge=0, le=253_402_300_799_999)


class VitalsStateSaver:
    """Idempotent: the same snapshot, or an older one, changes nothing."""

    def __init__(self, cursor: Cursor[Row]) -> None:
        self._cursor = cursor

    def save(self, char_id: int) -> Saved:
        cache = accounts.read(
            char_id, ["hp", "energy", "location", "state", "vitals_at"]
        )
        if cache.get("vitals_at") is None:
            return Saved(counts={"absent": 1})
        if self._cursor.execute(EXISTS, [char_id]).fetchone() is None:
            return self._parked(
                char_id, cache, ParkCode.UNKNOWN_CHARACTER, "no such character"
            )
        try:
            vitals = Vitals.model_validate(cache)
        except ValidationError as error:
            return self._parked(char_id, cache, ParkCode.INVALID, str(error))
        taken_at = datetime.fromtimestamp(vitals.vitals_at / 1000, UTC)
        if taken_at > datetime.now(UTC) + MAX_AHEAD:
            return self._parked(
                char_id, cache, ParkCode.INVALID, "vitals_at lies in the future"
            )
        self._cursor.execute(
            SAVE, {**vitals.model_dump(), "vitals_at": taken_at, "id": char_id}
        )
        newer = self._cursor.rowcount
        resolve(self._cursor, SyncScope.VITALS, char_id, [OP_ID])
        return Saved(counts={"saved": newer, "stale": 1 - newer})

    def _parked(
        self, char_id: int, cache: dict[str, str | None], code: str, detail: str
    ) -> Saved:
        parked = Parked(SyncScope.VITALS, char_id, OP_ID, cache, code, detail)
        run(self._cursor.connection, [park([parked])])
        return Saved(counts={"parked": 1})


OP_ID = "snapshot"
"""A player has one snapshot: what is parked of it is replaced by the next."""
