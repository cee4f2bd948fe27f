"""The look-up: how a fight ended for one player, which answers a stale button.

Redis first, in one round trip: a tombstone or a live session answers at once. Then
PostgreSQL by primary key, whose status is the truth; a processed fight gets its
tombstone back, what cannot be read there is overwritten, and an unknown id is
remembered for seconds. A document that is handed off and not yet in PostgreSQL is a
finished fight whose rewards are on their way.

Only participants may see a fight: for anybody else it is as unknown as one that never
existed. Without Redis everything is asked of PostgreSQL. Unknown is said only where
both were asked: what the one that answers does not know, the other may.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

import redis
from asgiref.sync import sync_to_async
from django.db import Error
from pydantic_core import from_json
from redis.exceptions import NoScriptError, ReadOnlyError

from combat_history.models import Status
from combat_history.reading import history_row, redis_clients
from combat_history.reading.history_row import HistoryRow
from combat_history.reading.outcomes import Outcome, outcome_of, read_summary
from persistence.contract import redis_keys
from persistence.contract.document import Document, parse_document
from persistence.contract.errors import PayloadInvalid
from persistence.contract.ids import parse_session_id
from persistence.contract.payload import player_ids
from persistence.engine import scripts
from persistence.worker import counts
from persistence.worker.transience import transience

logger = logging.getLogger(__name__)


class State(StrEnum):
    ACTIVE = "active"
    FINISHED = "finished"
    UNKNOWN = "unknown"
    """Never existed, or is none of this player's: the two cannot be told apart."""
    CANNOT_SAY = "cannot_say"
    """Redis or PostgreSQL did not answer, and the other does not know: ask again."""


class Credit(StrEnum):
    """The state of a finished fight's rewards."""

    PENDING = "being_credited"
    CREDITED = "credited"
    UNDER_REVIEW = "under_review"
    """Nothing credited; an admin decides."""
    CANCELLED = "cancelled"
    """Nothing credited, and never will be."""
    REVERSED = "reversed"
    """Was credited, and taken back by an admin."""


FINISHED = b"finished"
"""Status of a live session whose fight is over; any other is a fight going on."""

CREDITS: dict[str, Credit] = {
    Status.PENDING: Credit.PENDING,
    Status.PROCESSED: Credit.CREDITED,
    Status.FAILED: Credit.UNDER_REVIEW,
    Status.VOIDED: Credit.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Lookup:
    """`credit` is set iff the fight is finished.

    `outcome` is None where nothing readable says more than that it is finished: the
    result has not arrived, or breaks the contract.
    """

    state: State
    credit: Credit | None = None
    outcome: Outcome | None = None


ACTIVE = Lookup(State.ACTIVE)
UNKNOWN = Lookup(State.UNKNOWN)
CANNOT_SAY = Lookup(State.CANNOT_SAY)


def find_result(session_id: UUID | str, char_id: int) -> Lookup:
    """Any fight of the player, by any form of its id."""
    question = _Question.about(session_id, char_id)
    if question is None:
        return UNKNOWN
    try:
        reply = _run(question.call)
        seen = question.answer_of_redis(reply)
        if seen is None:
            seen = question.seen(_run(question.beyond_the_tombstone()))
    except redis.RedisError:
        seen = _redis_is_away()
    if isinstance(seen, Lookup):
        return _counted(seen, reply)
    try:
        row = history_row.read(question.session_id)
    except Error as error:
        return _counted(_postgresql_is_away(error))
    memory = question.memory(seen, row)
    if memory is not None:
        try:
            _run(memory)
        except redis.RedisError as error:
            seen = _not_remembered(seen, error)
    return _counted(question.answer(seen, row))


async def afind_result(
    session_id: UUID | str,
    char_id: int,
    *,
    before_database: Callable[[bool], Awaitable[None]] | None = None,
) -> Lookup:
    """The asynchronous twin of `find_result`.

    `before_database` is awaited where PostgreSQL is about to be asked, and told whether
    Redis has answered; it may raise.
    """
    question = _Question.about(session_id, char_id)
    if question is None:
        return UNKNOWN
    try:
        reply = await _arun(question.call)
        seen = question.answer_of_redis(reply)
        if seen is None:
            seen = question.seen(await _arun(question.beyond_the_tombstone()))
    except redis.RedisError:
        seen = _redis_is_away()
    if isinstance(seen, Lookup):
        return _counted(seen, reply)
    if before_database is not None:
        await before_database(seen.redis_answered)
    try:
        row = await sync_to_async(history_row.read)(question.session_id)
    except Error as error:
        return _counted(_postgresql_is_away(error))
    memory = question.memory(seen, row)
    if memory is not None:
        try:
            await _arun(memory)
        except redis.RedisError as error:
            seen = _not_remembered(seen, error)
    return _counted(question.answer(seen, row))


def answer_of(row: HistoryRow, char_id: int) -> Lookup:
    """The answer where PostgreSQL holds the fight."""
    # As if it did not exist: nobody learns of a fight by guessing its id.
    if char_id not in row.participants:
        return UNKNOWN
    outcome = outcome_of(row.document, char_id, row.status, row.moved)
    return _finished(credit_of(row.status, is_undone=row.is_undone), outcome)


def credit_of(status: str, *, is_undone: bool) -> Credit:
    return Credit.REVERSED if is_undone else CREDITS[status]


@dataclass(frozen=True, slots=True)
class _Traces:
    """Traces of a fight without a tombstone, as Redis holds them; see lookup.lua."""

    live_status: bytes | None = None
    participants: bytes | None = None
    is_actor: bool = False
    raw: bytes | None = None
    is_handed_off: bool = False
    is_last_fight: bool = False
    is_known: bool = False
    was_unknown: bool = False
    has_tombstone: bool = False
    redis_answered: bool = True

    @property
    def is_active(self) -> bool:
        is_live = self.live_status is not None and self.live_status != FINISHED
        return is_live and not self.is_handed_off

    @property
    def awaits_settlement(self) -> bool:
        """Whether settlement or its effects, which end the session, are to come."""
        is_over = self.live_status == FINISHED
        return is_over and self.is_handed_off and self.raw is not None

    def names(self, char_id: int) -> bool:
        """Whether the player is known to have taken part, without a document."""
        if self.is_actor or self.is_last_fight:
            return True
        return str(char_id) in _listed(self.participants)


_Word = str | bytes | int


@dataclass(frozen=True, slots=True)
class _Call:
    """A command to Redis; of a script, what follows its name."""

    script: str | None
    words: Sequence[_Word]


@dataclass(frozen=True, slots=True)
class _Question:
    session_id: UUID
    char_id: int
    call: _Call

    @classmethod
    def about(cls, session_id: UUID | str, char_id: int) -> _Question | None:
        """The question about a fight; None where no fight can have that id."""
        try:
            id_ = parse_session_id(session_id)
        except ValueError:
            return None
        # By prefix: writing a UUID six times costs more than reading the answer.
        text = str(id_)
        keys = [
            redis_keys.TOMBSTONE_PREFIX + text,
            redis_keys.SESSION_PREFIX + text,
            redis_keys.RESULT_PREFIX + text,
            redis_keys.account(char_id),
            redis_keys.UNKNOWN_PREFIX + text,
            redis_keys.INBOX,
        ]
        words: list[_Word] = [len(keys), *keys, text, str(char_id), ""]
        return cls(id_, char_id, _Call("lookup", words))

    def beyond_the_tombstone(self) -> _Call:
        """The same question where the tombstone turned out to be unreadable."""
        return _Call("lookup", [*self.call.words[:-1], "1"])

    def answer_of_redis(self, reply: Any) -> Lookup | _Traces | None:
        """The answer, where Redis alone can give a true one; None: ask beyond."""
        if not isinstance(reply, bytes):
            return self.seen(reply)
        fight = read_summary(reply)
        if fight is None:
            return None
        outcome = fight.part_of(self.char_id)
        return _finished(Credit.CREDITED, outcome) if outcome else UNKNOWN

    def seen(self, reply: Any) -> Lookup | _Traces:
        status, participants, actor, raw, *flags = reply
        seen = _Traces(status, participants, bool(actor), raw, *map(bool, flags))
        if seen.is_active:
            return ACTIVE if seen.names(self.char_id) else UNKNOWN
        # The document says it all, and PostgreSQL may not have it yet.
        if seen.awaits_settlement:
            return self._without_row(seen)
        if seen.was_unknown and not seen.is_known:
            return UNKNOWN
        return seen

    def answer(self, seen: _Traces, row: HistoryRow | None) -> Lookup:
        """The answer once PostgreSQL has said what it holds."""
        if row is None:
            return self._without_row(seen)
        return answer_of(row, self.char_id)

    def memory(self, seen: _Traces, row: HistoryRow | None) -> _Call | None:
        """The command that lets Redis answer whoever asks next, if there is one."""
        if not seen.redis_answered:
            return None
        if row is not None:
            told = row.tombstone() or b""
            key = redis_keys.tombstone(self.session_id)
            call = _Call("remember", [1, key, redis_keys.DAY_SECONDS, told])
            return call if told or seen.has_tombstone else None
        # It may be on its way to PostgreSQL: no later look-up is to be told otherwise.
        if seen.is_known:
            return None
        key = redis_keys.unknown(self.session_id)
        seconds = redis_keys.UNKNOWN_TTL_SECONDS
        return _Call(None, ["SET", key, "1", "EX", seconds, "NX"])

    def _without_row(self, seen: _Traces) -> Lookup:
        """The answer about a fight that is over, and so far only known to Redis."""
        document = _readable(seen.raw)
        if document is not None:
            if self.char_id not in player_ids(document):
                return UNKNOWN
            outcome = outcome_of(document, self.char_id, Status.PENDING)
            return _finished(Credit.PENDING, outcome)
        is_over = seen.live_status == FINISHED or seen.is_last_fight
        if is_over and seen.names(self.char_id):
            return _finished(Credit.PENDING, None)
        # Accepted once, by what is left of it: PostgreSQL has forgotten it.
        return UNKNOWN if seen.redis_answered and not seen.is_handed_off else CANNOT_SAY


def _counted(answer: Lookup, reply: object = None) -> Lookup:
    """`reply`: of Redis, where it alone gave the answer."""
    if answer.state in (State.UNKNOWN, State.CANNOT_SAY):
        source = answer.state.value
    elif reply is None:
        source = "postgresql"
    else:
        source = "tombstone" if isinstance(reply, bytes) else "redis"
    counts.count(f"{counts.LOOKUP}{source}")
    return answer


def _finished(credit: Credit, outcome: Outcome | None) -> Lookup:
    return Lookup(State.FINISHED, credit, outcome)


def _readable(raw: bytes | None) -> Document | None:
    """The document; None where an engine wrote anything else into its session."""
    if raw is None:
        return None
    try:
        return parse_document(raw)
    except PayloadInvalid:
        return None


def _listed(participants: bytes | None) -> set[str]:
    try:
        ids = from_json(participants or b"[]")
    except ValueError:
        return set()
    return {str(id_) for id_ in ids} if isinstance(ids, list) else set()


def _run(call: _Call) -> Any:
    client: Any = redis_clients.client()
    if call.script is None:
        return client.execute_command(*call.words)
    # Not redis-py's Script: its bookkeeping costs a tenth of the round trip.
    script = scripts.script(call.script)
    try:
        return client.execute_command("EVALSHA", script.sha1, *call.words)
    except NoScriptError:
        return client.execute_command("EVAL", script.source, *call.words)


async def _arun(call: _Call) -> Any:
    client: Any = redis_clients.async_client()
    if call.script is None:
        return await client.execute_command(*call.words)
    script = scripts.script(call.script)
    try:
        return await client.execute_command("EVALSHA", script.sha1, *call.words)
    except NoScriptError:
        return await client.execute_command("EVAL", script.source, *call.words)


def _redis_is_away() -> _Traces:
    logger.warning("PostgreSQL is asked without Redis", exc_info=True)
    return _Traces(redis_answered=False)


def _not_remembered(seen: _Traces, error: redis.RedisError) -> _Traces:
    """A server that may only be read is a replica: it may not have heard yet."""
    logger.warning("an answer is not remembered", exc_info=error)
    is_replica = isinstance(error, ReadOnlyError)
    return replace(seen, redis_answered=False) if is_replica else seen


def _postgresql_is_away(error: Error) -> Lookup:
    if transience(error) is None:
        raise error
    logger.warning("PostgreSQL did not answer a look-up", exc_info=error)
    return CANNOT_SAY
