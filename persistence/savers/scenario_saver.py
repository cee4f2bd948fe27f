"""ScenarioStateSaver: travel and quest progress of `scenario:session:{session_id}`.

Tables: scenario_sessions. A snapshot: the highest `version` wins. `progress` is the
hash without its version, each value the very text that Redis holds: what
`restore_account` writes back equals what was lost. A hash goes once its session is
closed and saved.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic_core import to_json

from persistence.contract import redis_keys
from persistence.contract.errors import ParkCode
from persistence.protocols import GameMode, Saved, SyncScope
from persistence.worker import accounts, inbox
from persistence.worker.parking import Parked, open_operations, park, resolve
from persistence.worker.sql import Row, array, columns, fetch, run

if TYPE_CHECKING:
    from psycopg import Cursor

Fields = Mapping[bytes, bytes]

MAX_VERSION = 2**63 - 1

# Saves of one player one after another, in the order of everybody's locks.
LOCK_CHARACTER = "SELECT FROM characters WHERE id = %s FOR NO KEY UPDATE"

# Whatever its version, a closing session is closed; only progress opens it again: a
# save that read the account before it was closed may come late. What is not returned
# belongs to another character.
SAVE = """
INSERT INTO scenario_sessions AS s
    (session_id, character_id, version, progress, closed_at, saved_at)
SELECT session_id, %s, version, progress::jsonb,
       CASE WHEN is_closing THEN now() END, now()
FROM unnest(%s::uuid[], %s::bigint[], %b::text[], %s::boolean[])
     AS n (session_id, version, progress, is_closing)
ORDER BY session_id
ON CONFLICT (session_id) DO UPDATE
SET version = GREATEST(s.version, EXCLUDED.version),
    progress = CASE WHEN EXCLUDED.version > s.version
                    THEN EXCLUDED.progress ELSE s.progress END,
    saved_at = CASE WHEN EXCLUDED.version > s.version THEN now() ELSE s.saved_at END,
    closed_at = CASE WHEN EXCLUDED.closed_at IS NOT NULL
                     THEN COALESCE(s.closed_at, EXCLUDED.closed_at)
                     WHEN EXCLUDED.version <= s.version THEN s.closed_at END
WHERE s.character_id = EXCLUDED.character_id
RETURNING session_id::text, version, progress
"""

CLOSE = """
UPDATE scenario_sessions SET closed_at = COALESCE(closed_at, now())
WHERE session_id = ANY (%s::uuid[]) AND character_id = %s
"""


@dataclass(frozen=True, slots=True)
class _Session:
    """One session as found. `fields`: None where none can be read, empty if gone.

    `operation`: how it is parked, if it has to be.
    """

    id: str
    is_closing: bool
    fields: Fields | None
    operation: object


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The columns of one session. `seen`: the version as Redis holds it."""

    session: _Session
    seen: bytes
    version: int
    progress: str


@dataclass(frozen=True, slots=True)
class _Stored:
    """The row of a session once it is saved."""

    version: int
    progress: Mapping[str, str]

    def has_overtaken(self, snapshot: _Snapshot) -> bool:
        """Whether other progress is stored under this version or a newer one."""
        return snapshot.version <= self.version and (
            json.loads(snapshot.progress) != self.progress
        )


class ScenarioStateSaver:
    """Idempotent: the same version, or a lower one, changes no progress.

    Saves the open session, those that are closing, and a parked one where somebody
    asked for it: from the parked copy, if Redis has lost the hash since.
    """

    def __init__(self, cursor: Cursor[Row]) -> None:
        self._cursor = cursor

    def save(self, char_id: int) -> Saved:
        sessions = self._sessions(char_id)
        if not sessions:
            return Saved()
        # No hash: a save that died after its last step had removed it.
        gone = [s for s in sessions if s.fields == {} and _is_canonical(s.id)]
        snapshots, parked = _sorted_out(char_id, [s for s in sessions if s not in gone])
        stored: dict[str, _Stored] = {}
        refusal = ParkCode.UNKNOWN_CHARACTER, "no such character"
        if self._cursor.execute(LOCK_CHARACTER, [char_id]).fetchone() is not None:
            stored = self._write(char_id, snapshots)
            refusal = ParkCode.NOT_ALLOWED, "the session belongs to another character"
        parked += [
            _parked(char_id, s.session, *refusal)
            for s in snapshots
            if s.session.id not in stored
        ]
        stuck = _stuck(snapshots, stored)
        parked += [
            _parked(char_id, s.session, ParkCode.INVALID, _overtaken(stored, s))
            for s in stuck
        ]
        saved = stored.keys() - {s.session.id for s in stuck}
        run(self._cursor.connection, [park({p.op_id: p for p in parked}.values())])
        resolve(self._cursor, SyncScope.SCENARIO, char_id, list(saved))
        # After the lock: a save that is still at work may yet write that session.
        closed = self._close(char_id, gone)
        return Saved(
            confirm=partial(
                _remove,
                char_id,
                [
                    s
                    for s in snapshots
                    if s.session.is_closing and s.session.id in saved
                ],
            ),
            counts={
                "saved": len(saved),
                "closed": closed,
                "parked": len(parked),
                "absent": len(gone) - closed,
            },
        )

    def _sessions(self, char_id: int) -> list[_Session]:
        parked = open_operations(self._cursor, SyncScope.SCENARIO, char_id)
        asked_for = {
            op.op_id: op.operation
            for op in parked
            if op.retry_requested and _is_canonical(op.op_id)
        }
        # One that the account names no more is over: saved, it is closed.
        is_closing = dict.fromkeys(asked_for, True) | _named(char_id)
        sessions = []
        for session_id, fields in _read(is_closing):
            operation: object = {} if fields is None else _shown(fields)
            if not fields and session_id in asked_for:
                operation = asked_for[session_id]
                fields = _from_copy(operation)
            sessions.append(
                _Session(session_id, is_closing[session_id], fields, operation)
            )
        return sessions

    def _write(self, char_id: int, snapshots: list[_Snapshot]) -> dict[str, _Stored]:
        """Save them; what the table then holds of those that are the player's own."""
        if not snapshots:
            return {}
        rows = [
            (s.session.id, s.version, s.progress, s.session.is_closing)
            for s in snapshots
        ]
        found = fetch(
            self._cursor, SAVE, [char_id, *columns(rows, binary=frozenset({2}))]
        )
        return {session_id: _Stored(*held) for session_id, *held in found}

    def _close(self, char_id: int, gone: list[_Session]) -> int:
        """Close sessions whose hash is gone: a save removed it, and died after that."""
        closing = [s.id for s in gone if s.is_closing]
        if not closing:
            return 0
        self._cursor.execute(CLOSE, [array(closing), char_id])
        return self._cursor.rowcount


def _named(char_id: int) -> dict[str, bool]:
    """Sessions that the account names, and whether they are closing."""
    opened = redis_keys.session_field(GameMode.SCENARIO)
    closing = redis_keys.closing_field(GameMode.SCENARIO)
    named = accounts.read(char_id, [opened, closing])
    ids = [id_ for id_ in (named[closing] or "").split(",") if id_]
    current = named[opened]
    return dict.fromkeys(ids, True) | ({current: False} if current else {})


def _read(session_ids: Iterable[str]) -> list[tuple[str, Fields | None]]:
    """The hashes of sessions, all of one moment; None for a foreign type."""
    ids = list(session_ids)
    with inbox.client().pipeline() as pipe:
        for session_id in ids:
            key = redis_keys.scenario(session_id)
            pipe.type(key)
            pipe.hgetall(key)
        replies: list[Any] = pipe.execute(raise_on_error=False)
    found: list[tuple[str, Fields | None]] = []
    for session_id, kind, fields in zip(ids, replies[::2], replies[1::2], strict=True):
        if kind in (b"hash", b"none") and not isinstance(fields, Exception):
            found.append((session_id, fields))
        elif isinstance(kind, bytes) and kind not in (b"hash", b"none"):
            found.append((session_id, None))
        else:
            raise kind if isinstance(kind, Exception) else fields
    return found


def _sorted_out(
    char_id: int, sessions: Iterable[_Session]
) -> tuple[list[_Snapshot], list[Parked]]:
    """Sort sessions into those that can be saved and those that are parked."""
    snapshots, parked = [], []
    for session in sessions:
        try:
            snapshots.append(_snapshot(session))
        except ValueError as error:
            parked.append(_parked(char_id, session, ParkCode.INVALID, str(error)))
    return snapshots, parked


def _snapshot(session: _Session) -> _Snapshot:
    """Raises ValueError in words that a person is to read."""
    if not _is_canonical(session.id):
        raise ValueError("the session id is no UUID in canonical form")
    if session.fields is None:
        raise ValueError("there is no hash of text to be read")
    fields = {_text(name): _text(value) for name, value in session.fields.items()}
    version = fields.pop("version", "")
    is_number = version.isascii() and version.isdecimal() and len(version) <= 19
    if not is_number or int(version) > MAX_VERSION:
        raise ValueError(f"version is no integer from 0 to {MAX_VERSION}")
    seen = session.fields[b"version"]
    return _Snapshot(session, seen, int(version), to_json(fields).decode())


def _stuck(
    snapshots: Iterable[_Snapshot], stored: Mapping[str, _Stored]
) -> list[_Snapshot]:
    """Sessions that will not be saved: Redis has no newer version of them.

    Looked for again under the lock, because another save may have read after this one.
    """
    behind = {
        s.session.id: s
        for s in snapshots
        if s.session.id in stored and stored[s.session.id].has_overtaken(s)
    }
    return [
        behind[session_id]
        for session_id, fields in (_read(behind) if behind else [])
        if fields == behind[session_id].session.fields
    ]


def _overtaken(stored: Mapping[str, _Stored], snapshot: _Snapshot) -> str:
    held = stored[snapshot.session.id].version
    return (
        f"version {snapshot.version} is not above {held}, under which other progress "
        "is saved: it has to grow with each change"
    )


def _is_canonical(session_id: str) -> bool:
    try:
        return str(UUID(session_id)) == session_id
    except ValueError:
        return False


def _text(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{raw[:40]!r} is not UTF-8") from None
    if "\0" in text:
        raise ValueError(f"{raw[:40]!r} holds a NUL")
    return text


def _shown(fields: Fields) -> dict[str, object]:
    """The fields as JSON; what is no text, in a form that is not taken for one."""
    try:
        return {_text(name): _text(value) for name, value in fields.items()}
    except ValueError:
        return {repr(name): [repr(value)] for name, value in fields.items()}


def _from_copy(operation: Any) -> Fields | None:
    texts = operation.items() if isinstance(operation, dict) else ()
    if not texts or not all(isinstance(value, str) for _, value in texts):
        return None
    return {name.encode(): value.encode() for name, value in texts}


def _parked(char_id: int, session: _Session, code: ParkCode, detail: str) -> Parked:
    op_id = session.id.replace("\0", "\\0")[:100]
    return Parked(SyncScope.SCENARIO, char_id, op_id, session.operation, code, detail)


def _remove(char_id: int, closed: list[_Snapshot]) -> bool:
    """The hashes of sessions that are over; False where one went on since the save."""
    if not closed:
        return True
    ids = [s.session.id for s in closed]
    return bool(
        inbox.script("scenario_done")(
            keys=[redis_keys.account(char_id), *map(redis_keys.scenario, ids)],
            args=[word for s in closed for word in (s.session.id, s.seen)],
        )
    )
