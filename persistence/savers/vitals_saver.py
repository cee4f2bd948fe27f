"""VitalsStateSaver: hp, energy, location and state of the account cache.

Tables: characters. A snapshot: the newest `vitals_at` wins, whoever wrote it, so that a
combat settled late never undoes a heal, nor an old cache a combat.
"""

from __future__ import annotations

from collections.abc import Mapping
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

OP_ID = "snapshot"
"""A player has one snapshot: what is parked of it is replaced by the next."""

MAX_AHEAD = timedelta(minutes=5)
"""A snapshot from the future would refuse every later one."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Not given, not changed. At the moment of a combat its hp and energy stand: the
# hand-off wrote them into the cache, beside a location it knows nothing of.
SAVE = """
UPDATE characters c
SET hp = CASE WHEN tie THEN c.hp ELSE COALESCE(%(hp)s, c.hp) END,
    energy = CASE WHEN tie THEN c.energy ELSE COALESCE(%(energy)s, c.energy) END,
    location = COALESCE(%(location)s, c.location),
    state = COALESCE(%(state)s, c.state),
    vitals_at = %(vitals_at)s,
    vitals_session_id = CASE WHEN tie THEN c.vitals_session_id END
FROM (
    SELECT id, vitals_session_id IS NOT NULL AND vitals_at = %(vitals_at)s AS tie
    FROM characters WHERE id = %(id)s
) known
WHERE c.id = known.id AND (c.vitals_at IS NULL OR c.vitals_at <= %(vitals_at)s)
"""

LOCK_CHARACTER = "SELECT FROM characters WHERE id = %s FOR NO KEY UPDATE"


class Vitals(BaseModel):
    """The snapshot as the engine keeps it in `ac:{char_id}`."""

    model_config = ConfigDict(extra="ignore")

    hp: Vital | None = None
    energy: Vital | None = None
    location: str | None = Field(None, max_length=100, pattern=r"\A[^\x00]*\z")
    state: str | None = Field(None, max_length=40, pattern=r"\A[^\x00]*\z")
    vitals_at: int = Field(ge=0, le=253_402_300_799_999)


class VitalsStateSaver:
    """Idempotent: the same snapshot, or an older one, changes nothing."""

    def __init__(self, cursor: Cursor[Row]) -> None:
        self._cursor = cursor

    def save(self, char_id: int) -> Saved:
        cache = accounts.read(
            char_id, ["hp", "energy", "location", "state", "vitals_at"]
        )
        if cache["vitals_at"] is None:
            return Saved(counts={"absent": 1})
        if self._cursor.execute(LOCK_CHARACTER, [char_id]).fetchone() is None:
            return self._parked(
                char_id, cache, ParkCode.UNKNOWN_CHARACTER, "no such character"
            )
        try:
            vitals = Vitals.model_validate(cache)
        except ValidationError as error:
            return self._parked(char_id, cache, ParkCode.INVALID, _words(error))
        taken_at = _EPOCH + timedelta(milliseconds=vitals.vitals_at)
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
        self, char_id: int, cache: Mapping[str, str | None], code: str, detail: str
    ) -> Saved:
        # No column takes a NUL, and one in the cache is what a person is to see.
        seen = {
            name: value and value.replace("\0", "\\0") for name, value in cache.items()
        }
        parked = Parked(SyncScope.VITALS, char_id, OP_ID, seen, code, detail)
        run(self._cursor.connection, [park([parked])])
        return Saved(counts={"parked": 1})


def _words(error: ValidationError) -> str:
    return "; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors())
