"""Checks Redis by the tables: the effects of a settled combat have left nothing.

Everything moves on while this runs, so every suspicion is read three times: in Redis,
then in the tables, then in Redis again. Only what stood still is a finding.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from django.conf import settings

from combat_history.reconcile.report import EXAMPLES, Finding, Result
from persistence.contract import redis_keys

if TYPE_CHECKING:
    import redis
    from django.db.backends.utils import CursorWrapper

PAGE = 500
"""Names looked at in one round trip to Redis and one statement."""

NO_EXPIRY = -1
"""TTL's answer for a key that lives for ever."""

UNDONE = re.compile(rb'{"revision":\d+,"undone":true')
"""As `persistence.contract.outcome.undone_tombstone` begins."""

Key = TypeVar("Key")
Command = tuple[str | bytes, ...]

Suspect = tuple[UUID, str]
"""A session, and what else tells one suspicion from another: score, hash, character."""

Read = Callable[["redis.Redis", Sequence[bytes], int], Iterable[Suspect]]
"""(client, names, overdue after ms) -> what looks wrong, seen in Redis alone."""


@dataclass(frozen=True, slots=True)
class RedisCheck:
    """`sql` keeps of the suspects (session_id, mark) those the tables know to be wrong.

    `names`: where the suspects are looked for, a key pattern or a sorted set's key.
    """

    code: str
    says: str
    names: Callable[[redis.Redis], Iterable[bytes]]
    read: Read
    sql: str
    detail: str
    mark: str | None = None
    """What the second half of a suspect is called among the ids; None: not shown."""

    def run(
        self, client: redis.Redis, cursor: CursorWrapper, overdue_ms: int
    ) -> Result:
        found: set[Suspect] = set()  # a scan may bring a key twice
        for names in _pages(self.names(client)):
            suspects = set(self.read(client, names, overdue_ms))
            wrong = self._wrong(cursor, suspects)
            if wrong:
                found |= wrong & set(self.read(client, names, overdue_ms))
        examples = [self._finding(suspect) for suspect in sorted(found)[:EXAMPLES]]
        return Result(self.code, self.says, len(found), examples)

    def _wrong(self, cursor: CursorWrapper, suspects: set[Suspect]) -> set[Suspect]:
        if not suspects:
            return set()
        sessions, marks = zip(*suspects, strict=True)
        cursor.execute(SUSPECTS + self.sql, [list(sessions), list(marks)])
        return set(cursor.fetchall())

    def _finding(self, suspect: Suspect) -> Finding:
        session_id, mark = suspect
        ids: dict[str, int | str] = {"session_id": str(session_id)}
        if self.mark:
            ids[self.mark] = mark
        return Finding(self.code, ids, self.detail.format(mark=mark))


SUSPECTS = """
WITH suspect AS (
    SELECT * FROM unnest(%s::uuid[], %s::text[]) AS suspect (session_id, mark)
)
"""

OF_SETTLED = """
SELECT session_id, mark
FROM suspect JOIN combat_history USING (session_id)
WHERE settlement_status <> 'pending'
"""

OF_UNSETTLED = """
SELECT session_id, mark
FROM suspect LEFT JOIN combat_history USING (session_id)
WHERE COALESCE(settlement_status, 'pending') = 'pending'
"""

OF_PROCESSED = """
SELECT session_id, mark
FROM suspect JOIN combat_history USING (session_id)
WHERE settlement_status = 'processed'
"""

NOT_PROCESSED = """
SELECT session_id, mark
FROM suspect LEFT JOIN combat_history USING (session_id)
WHERE settlement_status IS DISTINCT FROM 'processed' OR compensated_at IS NOT NULL
"""

WITHOUT_ROW = """
SELECT session_id, mark
FROM suspect LEFT JOIN combat_history USING (session_id)
WHERE settlement_status IS NULL
"""

UNRECORDED_CONFLICT = """
SELECT suspect.session_id, mark
FROM suspect
LEFT JOIN rejected_payloads rejected
    ON rejected.session_id = suspect.session_id AND rejected.payload_sha256 = mark
WHERE rejected.id IS NULL
"""


def _keys(prefix: str, kind: str) -> Callable[[redis.Redis], Iterable[bytes]]:
    # A key of another type is not ours: the contract leaves it alone.
    return lambda client: client.scan_iter(f"{prefix}*", PAGE, _type=kind)


def _members(key: str) -> Callable[[redis.Redis], Iterable[bytes]]:
    return lambda client: (member for member, _ in client.zscan_iter(key, count=PAGE))


def _overdue(
    client: redis.Redis, names: Sequence[bytes], overdue_ms: int
) -> Iterator[Suspect]:
    seconds, microseconds = client.time()
    latest = seconds * 1000 + microseconds // 1000 - overdue_ms
    sessions = _sessions(names, "")
    for session_id, (score,) in _ask(client, {s: [_in_inbox(s)] for s in sessions}):
        if score is not None and score < latest:
            # A lease or a release in between makes it another suspicion.
            yield session_id, str(int(score))


def _still_active(
    client: redis.Redis, names: Sequence[bytes], _: int
) -> Iterator[Suspect]:
    commands = {
        session_id: [("ZSCORE", redis_keys.ACTIVE, name), _in_inbox(session_id)]
        for session_id, name in _sessions(names, "").items()
    }
    for session_id, (heartbeat, score) in _ask(client, commands):
        if heartbeat is not None and score is None:
            yield session_id, ""


def _kept_documents(
    client: redis.Redis, names: Sequence[bytes], _: int
) -> Iterator[Suspect]:
    """Documents that nobody is to settle and that no retention keeps."""
    kept_on_purpose = settings.SETTLEMENT_RAW_RETENTION_SECONDS > 0
    commands = {
        session_id: [("HEXISTS", key, "raw"), ("TTL", key), _in_inbox(session_id)]
        for session_id, key in _sessions(names, redis_keys.RESULT_PREFIX).items()
    }
    for session_id, (has_raw, ttl, score) in _ask(client, commands):
        if has_raw and score is None and not (kept_on_purpose and ttl != NO_EXPIRY):
            yield session_id, ""


def _held_conflicts(
    client: redis.Redis, names: Sequence[bytes], _: int
) -> Iterator[Suspect]:
    commands = {
        session_id: [("HKEYS", key), _in_inbox(session_id)]
        for session_id, key in _sessions(names, redis_keys.RESULT_PREFIX).items()
    }
    prefix = redis_keys.CONFLICT_FIELD_PREFIX
    for session_id, (fields, score) in _ask(client, commands):
        for field in map(bytes.decode, fields):
            if score is None and field.startswith(prefix):
                yield session_id, field.removeprefix(prefix)


def _keys_of(prefix: str) -> Read:
    """Keys named after a session that no drain is to look at (again)."""

    def read(client: redis.Redis, names: Sequence[bytes], _: int) -> Iterator[Suspect]:
        commands = {
            session_id: [("EXISTS", key), _in_inbox(session_id)]
            for session_id, key in _sessions(names, prefix).items()
        }
        for session_id, (exists, score) in _ask(client, commands):
            if exists and score is None:
                yield session_id, ""

    return read


def _tombstones(
    client: redis.Redis, names: Sequence[bytes], _: int
) -> Iterator[Suspect]:
    """Tombstones that tell a result; an undone combat's only sends to PostgreSQL."""
    commands = {
        session_id: [("GETRANGE", key, "0", "40"), _in_inbox(session_id)]
        for session_id, key in _sessions(names, redis_keys.TOMBSTONE_PREFIX).items()
    }
    for session_id, (beginning, score) in _ask(client, commands):
        if beginning and score is None and not UNDONE.match(beginning):
            yield session_id, ""


def _accounts_in_combat(
    client: redis.Redis, names: Sequence[bytes], _: int
) -> Iterator[Suspect]:
    commands = {name: [("HGET", name, "combat_session_id")] for name in names}
    for name, (session_id,) in _ask(client, commands):
        character_id = name.decode().removeprefix(redis_keys.ACCOUNT_PREFIX)
        for known in _sessions([session_id or b""], ""):
            yield known, character_id


def _in_inbox(session_id: UUID) -> Command:
    return "ZSCORE", redis_keys.INBOX, str(session_id)


def _ask(
    client: redis.Redis, commands: Mapping[Key, Sequence[Command]]
) -> Iterator[tuple[Key, list[Any]]]:
    """The replies to each group of commands, all of one instant."""
    with client.pipeline(transaction=True) as pipeline:
        for command in chain.from_iterable(commands.values()):
            pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
        replies = iter(pipeline.execute())
    for key, group in commands.items():
        yield key, list(islice(replies, len(group)))


def _sessions(names: Iterable[bytes], prefix: str) -> dict[UUID, bytes]:
    """Names by the session they are of; what names no session is not looked at."""
    sessions = {}
    for name in names:
        try:
            sessions[UUID(name.decode().removeprefix(prefix))] = name
        except ValueError:
            continue
    return sessions


def _pages(names: Iterable[bytes]) -> Iterator[list[bytes]]:
    iterator = iter(names)
    while page := list(islice(iterator, PAGE)):
        yield page


REDIS_CHECKS = (
    RedisCheck(
        "inbox_overdue",
        "no accepted combat waits in the inbox past its due time",
        _members(redis_keys.INBOX),
        _overdue,
        OF_UNSETTLED,
        "due at {mark} ms, not settled",
    ),
    RedisCheck(
        "inbox_of_settled",
        "no settled combat is left in the inbox",
        _members(redis_keys.INBOX),
        _overdue,
        OF_SETTLED,
        "due at {mark} ms, settled already",
    ),
    RedisCheck(
        "accepted_lost",
        "every accepted document is in the inbox or in the history",
        _keys(redis_keys.RESULT_PREFIX, "hash"),
        _kept_documents,
        WITHOUT_ROW,
        "a document that is neither to be settled nor recorded",
    ),
    RedisCheck(
        "raw_of_settled",
        "no document of a settled combat is left in Redis",
        _keys(redis_keys.RESULT_PREFIX, "hash"),
        _kept_documents,
        OF_SETTLED,
        "the result hash still holds raw",
    ),
    RedisCheck(
        "conflict_unrecorded",
        "every conflicting document is recorded",
        _keys(redis_keys.RESULT_PREFIX, "hash"),
        _held_conflicts,
        UNRECORDED_CONFLICT,
        "held in Redis, not in rejected_payloads",
        mark="payload_sha256",
    ),
    RedisCheck(
        "session_of_settled",
        "no live session is left of a settled combat",
        _keys(redis_keys.SESSION_PREFIX, "hash"),
        _keys_of(redis_keys.SESSION_PREFIX),
        OF_SETTLED,
        "the live session is still there",
    ),
    RedisCheck(
        "active_of_settled",
        "no settled combat counts as active",
        _members(redis_keys.ACTIVE),
        _still_active,
        OF_SETTLED,
        "still among the active combats",
    ),
    RedisCheck(
        "tombstone_of_unprocessed",
        "only processed combats have a tombstone",
        _keys(redis_keys.TOMBSTONE_PREFIX, "string"),
        _tombstones,
        NOT_PROCESSED,
        "a tombstone, but no processed combat, or an undone one",
    ),
    RedisCheck(
        "account_in_settled",
        "no account is still in a combat that is processed",
        _keys(redis_keys.ACCOUNT_PREFIX, "hash"),
        _accounts_in_combat,
        OF_PROCESSED,
        "combat_session_id names it",
        mark="character_id",
    ),
)
