"""VitalsStateSaver: hp, energy, location and state of the account cache.

Tables: characters. A snapshot: the newest `vitals_at` wins, whoever wrote it, so that a
combat settled late never undoes a heal, nor an old cache a combat. At the moment at
which a combat ended, a cache that has seen that combat holds its hp and energy, or what
became of them since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from persistence.contract.errors import ParkCode
from persistence.contract.ids import NO_SESSION
from persistence.contract.moments import FIRST_MS, any_unit_ms
from persistence.contract.payload import Vital
from persistence.protocols import Saved, SyncScope
from persistence.worker import accounts
from persistence.worker.parking import Parked, park, resolve
from persistence.worker.sql import Row, run

if TYPE_CHECKING:
    from psycopg import Cursor

Cache = Mapping[str, str | None]

OP_ID = "snapshot"
"""A player has one snapshot: what is parked of it is replaced by the next."""

SNAPSHOT = ("hp", "energy", "location", "state", "vitals_at")

MAX_AHEAD = timedelta(minutes=5)
"""A snapshot from the future would refuse every later one."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Not given, not changed.
SAVE = """
UPDATE characters
SET hp = COALESCE(%(hp)s, hp), energy = COALESCE(%(energy)s, energy),
    location = COALESCE(%(location)s, location), state = COALESCE(%(state)s, state),
    vitals_at = %(vitals_at)s, vitals_session_id = %(vitals_session_id)s
WHERE id = %(id)s
"""

# By its clock: a worker's own may be wrong.
LOCK_CHARACTER = """
SELECT hp, energy, location, state, vitals_at, vitals_session_id, clock_timestamp()
FROM characters WHERE id = %s FOR NO KEY UPDATE
"""


class Vitals(BaseModel):
    """The snapshot as the engine keeps it in `ac:{char_id}`."""

    model_config = ConfigDict(extra="ignore")

    hp: Vital | None = None
    energy: Vital | None = None
    location: str | None = Field(None, max_length=100, pattern=r"\A[^\x00]*\z")
    state: str | None = Field(None, max_length=40, pattern=r"\A[^\x00]*\z")
    vitals_at: int

    @field_validator("vitals_at")
    @classmethod
    def _is_in_milliseconds(cls, moment: int) -> int:
        if not FIRST_MS <= moment < 10**14:
            raise PydanticCustomError(
                "moment", "is no moment since 2001 in Unix milliseconds"
            )
        return moment


@dataclass(frozen=True, slots=True)
class _Known:
    """The locked row of the character, and PostgreSQL's time."""

    hp: int
    energy: int
    location: str
    state: str
    vitals_at: datetime | None
    vitals_session_id: UUID | None
    now: datetime

    def differs(self, vitals: Mapping[str, Any], *names: str) -> bool:
        given = {name: vitals[name] for name in names if vitals[name] is not None}
        return any(str(getattr(self, name)) != str(v) for name, v in given.items())


class VitalsStateSaver:
    """Idempotent: the same snapshot, or an older one, changes nothing."""

    def __init__(self, cursor: Cursor[Row]) -> None:
        self._cursor = cursor

    def save(self, char_id: int) -> Saved:
        cache = _read(char_id)
        # A cache that Redis lost must not be saved over what is known.
        if not any(map(cache.get, SNAPSHOT)):
            return Saved(counts={"absent": 1})
        row = self._cursor.execute(LOCK_CHARACTER, [char_id]).fetchone()
        if row is None:
            return self._parked(
                char_id, cache, ParkCode.UNKNOWN_CHARACTER, "no such character"
            )
        known = _Known(*row)
        if cache["vitals_at"] is None:
            return self._undated(char_id, cache, known)
        return self._saved(char_id, cache, known)

    def _undated(self, char_id: int, cache: Cache, known: _Known) -> Saved:
        # Without a moment nothing says which is newer: a difference is for a person.
        if not known.differs(cache, *SNAPSHOT[:-1]):
            return Saved(counts={"absent": 1})
        return self._parked(char_id, cache, ParkCode.INVALID, "vitals_at: is missing")

    def _saved(self, char_id: int, cache: Cache, known: _Known) -> Saved:
        try:
            vitals = Vitals.model_validate(cache).model_dump()
        except ValidationError as error:
            return self._parked(char_id, cache, ParkCode.INVALID, _words(error))
        taken_at = _EPOCH + timedelta(milliseconds=vitals["vitals_at"])
        if taken_at > known.now + MAX_AHEAD:
            return self._parked(
                char_id, cache, ParkCode.INVALID, "vitals_at lies in the future"
            )
        if known.vitals_at is not None and taken_at < known.vitals_at:
            resolve(self._cursor, SyncScope.VITALS, char_id, [OP_ID])
            return Saved(counts={"saved": 0, "stale": 1})
        if taken_at == known.vitals_at:
            return self._of_the_same_moment(char_id, cache, known, vitals)
        return self._write(char_id, vitals, taken_at, _seen(cache))

    def _of_the_same_moment(
        self, char_id: int, cache: Cache, known: _Known, vitals: dict[str, Any]
    ) -> Saved:
        """Judge by the cache as it is now: of two saves either may have read first."""
        if known.differs(vitals, *SNAPSHOT[:-1]) and cache != (now := _read(char_id)):
            return self._saved(char_id, now, known)
        taken_at, seen = known.vitals_at, _seen(cache)
        # Ties go by session id, as in the plan: a cache that has not seen the combat
        # of that moment does not undo it.
        if (seen or NO_SESSION) >= (known.vitals_session_id or NO_SESSION):
            return self._write(char_id, vitals, taken_at, seen)
        rest = {**vitals, "hp": None, "energy": None}
        saved = self._write(char_id, rest, taken_at, known.vitals_session_id)
        if not known.differs(vitals, "hp", "energy"):
            return saved
        return self._parked(
            char_id,
            cache,
            ParkCode.INVALID,
            "vitals_at: hp and energy of that moment are those of combat "
            f"{known.vitals_session_id}; a change since has a moment of its own",
        )

    def _write(
        self,
        char_id: int,
        vitals: Mapping[str, Any],
        taken_at: datetime | None,
        session_id: UUID | None,
    ) -> Saved:
        moment = {"vitals_at": taken_at, "vitals_session_id": session_id}
        self._cursor.execute(SAVE, {**vitals, **moment, "id": char_id})
        resolve(self._cursor, SyncScope.VITALS, char_id, [OP_ID])
        return Saved(counts={"saved": 1, "stale": 0})

    def _parked(self, char_id: int, cache: Cache, code: str, detail: str) -> Saved:
        # No column takes a NUL, and one in the cache is what a person is to see.
        values = {name: cache[name] for name in SNAPSHOT}
        seen = {name: v and v.replace("\0", "\\0") for name, v in values.items()}
        parked = Parked(SyncScope.VITALS, char_id, OP_ID, seen, code, detail)
        run(self._cursor.connection, [park([parked])])
        return Saved(counts={"parked": 1})


def _read(char_id: int) -> Cache:
    last_combat = ["last_combat_session_id", "last_combat_finished_at"]
    return accounts.read(char_id, [*SNAPSHOT, *last_combat])


def _seen(cache: Cache) -> UUID | None:
    """The combat that ended at the cache's moment: the hand-off wrote it there."""
    if any_unit_ms(cache["last_combat_finished_at"]) != float(cache["vitals_at"] or 0):
        return None
    try:
        return UUID(cache["last_combat_session_id"] or "")
    except ValueError:
        return None


def _words(error: ValidationError) -> str:
    return "; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors())
