"""A whole settlement for a test: the real dispatcher over real scripts, books behind.

The Redis is a real one, for the rules of a fight that goes on are its scripts. What
workers and web server do with PostgreSQL is done here, over `Books`, at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import redis

from persistence.belts.belt import changed, held_by_player, told_of
from persistence.contract import redis_keys, roster
from persistence.contract.document import parse_document
from persistence.contract.payload import begun_with, validate
from persistence.dispatcher import DEFAULT_TIMEOUT_SECONDS, SyncDispatcher
from persistence.engine import scripts
from persistence.engine.line import Line
from persistence.engine.remembered import Limits
from persistence.protocols import Outcome, Verdict
from persistence.savers.combat.rows import Combat
from persistence.testing.books import Books
from persistence.testing.faults import Faults, FaultyApi, FaultyRedis
from persistence.worker.entries import Entry, claiming, finishing, read_entry

BATCH, LEASE_MS = 100, 60_000


class InMemoryDispatcher(SyncDispatcher):
    """SyncDispatcher itself, with the books where workers and web server are."""

    def __init__(self, redis_url: str, timeout: float, settlement: Settlement) -> None:
        faults = settlement.faults
        api = FaultyApi(settlement.books, timeout, faults)
        super().__init__(redis_url, timeout=timeout, api=api)
        way = FaultyRedis(redis_url, timeout, faults)
        self._line = Line(way, _Workers(settlement), timeout, Limits())


class Settlement:
    """`redis_url`: of an empty Redis, which is this one's alone."""

    def __init__(
        self, redis_url: str, *, timeout: float = DEFAULT_TIMEOUT_SECONDS
    ) -> None:
        self.books = Books()
        self.faults = Faults()
        self.verdicts: dict[UUID, Verdict] = {}
        self.conflicts: list[tuple[UUID, bytes]] = []
        self._client: Any = redis.Redis.from_url(redis_url)
        self.dispatcher = InMemoryDispatcher(redis_url, timeout, self)

    def settle_now(self) -> Mapping[UUID, Verdict]:
        """Settle all that was handed over; what became of it, by session."""
        self.load_late_belts()
        told: dict[UUID, Verdict] = {}
        while entries := self._claimed():
            known = self.verdicts.keys()
            new = [e for e in entries if e.session_id not in known]
            self.books.settle([_combat(entry) for entry in new])
            for entry in entries:
                told[entry.session_id] = self._verdict(entry)
                self.conflicts += [
                    (entry.session_id, b) for b in entry.conflicts.values()
                ]
            done = finishing([(e, told[e.session_id]) for e in entries], 0)
            self._run("finish", [redis_keys.INBOX], done)
        return told

    def assert_conserved(self, minted: Mapping[str, int] | None = None) -> None:
        """Whatever was given and taken adds up, and all of it was settled.

        Nothing waits, failed or was short; the tables hold what they held at the start
        and what the ledger says. `minted`: the whole of what may have come into the
        world (`{"gold": 30}`) or left it (`{"item:hp_pot_small": -1}`).
        """
        waiting = self._client.zrange(redis_keys.INBOX, 0, -1)
        _expect(not waiting, f"not settled yet: {waiting}")
        failures = list(map(str, self.books.failures.values()))
        _expect(not failures, f"failed: {failures}")
        short = list(map(str, self.books.discrepancies))
        _expect(not short, f"short: {short}")
        now, told = self.books.minted(), self.books.recorded()
        _expect(now == told, f"the tables moved by {now}, the ledger says {told}")
        if minted is not None:
            _expect(now == minted, f"came or left: {dict(now)}, expected {minted}")

    def load_belts(self, session_id: UUID) -> None:
        """As the workers do it when a fight has begun, or somebody joined or left."""
        live = [redis_keys.session(session_id), redis_keys.result(session_id)]
        told, *found = self._run("belts_read", live, [])
        players = (begun_with(found[0]) or []) if told == b"active" else []
        unknown = self.books.unknown(players)
        if players and not (unknown and self._took_back(session_id, players, unknown)):
            self._fill(session_id, live, players)
            self._release_leavers(session_id, live)
        member = redis_keys.intent(redis_keys.BELTS, session_id)
        self._client.zrem(redis_keys.INTENTS, member)
        self._client.zrem(redis_keys.INTENTS_SENT, member)

    def load_late_belts(self) -> None:
        """Of fights that began while there were no workers."""
        for member in self._client.zrange(redis_keys.INTENTS, 0, -1):
            scope, _, subject = member.decode().partition(":")
            if scope == redis_keys.BELTS:
                self.load_belts(UUID(subject))

    def close(self) -> None:
        self.dispatcher.close()
        self._client.close()

    def _took_back(
        self, session_id: UUID, players: list[int], unknown: list[int]
    ) -> bool:
        keys = [
            redis_keys.session(session_id),
            redis_keys.result(session_id),
            redis_keys.ACTIVE,
            redis_keys.belts_ready(session_id),
            *map(redis_keys.account, players),
        ]
        args = [
            str(session_id),
            json.dumps(unknown),
            redis_keys.REFUSED_SESSION_TTL_SECONDS,
            redis_keys.BELTS_READY_TTL_SECONDS,
            *players,
        ]
        return bool(self._run("take_back", keys, args) != b"active")

    def _fill(self, session_id: UUID, live: list[str], players: list[int]) -> None:
        belts, held = self.books.reserve(session_id, players)
        of_others = held_by_player(held)
        keys = [*live, redis_keys.belts_ready(session_id)]
        is_moved = True
        while is_moved:
            fields = [redis_keys.actor_field(char_id) for char_id in belts]
            told, *found = self._run("belts_read", live, fields)
            if told != b"active":
                return
            args: list[Any] = [redis_keys.BELTS_READY_TTL_SECONDS]
            for (char_id, items), text in zip(belts.items(), found[1:], strict=False):
                args += [char_id, told_of(of_others.get(char_id, ()))]
                args += changed(session_id, char_id, text, items)
            # The containers that an engine wrote meanwhile are read once more.
            is_moved = len(self._run("belts", keys, args)) > 1

    def _release_leavers(self, session_id: UUID, live: list[str]) -> None:
        _, _, _, _, _, _, *found = self._run("roster", live, [""])
        texts = [value.decode() for value in found]
        session = dict(zip(texts[::2], texts[1::2], strict=True))
        for char_id, used in roster.used_by_leavers(session).items():
            self.books.release(session_id, char_id, used)

    def _claimed(self) -> list[Entry]:
        args = claiming(BATCH, LEASE_MS)
        _, *found = self._run("claim", [redis_keys.INBOX], args)
        return [read_entry(fields) for fields in found]

    def _verdict(self, entry: Entry) -> Verdict:
        sid, sha256 = entry.session_id, entry.sha256
        known = self.verdicts.get(sid)
        if known is not None:
            outcome = Outcome.DUPLICATE if known.sha256 == sha256 else Outcome.CONFLICT
            return Verdict(sid, outcome, sha256=known.sha256)
        failure = self.books.failures.get(sid)
        if failure is None:
            verdict = Verdict(sid, Outcome.PROCESSED, sha256=sha256)
        else:
            code, detail = failure.code, failure.detail
            verdict = Verdict(sid, Outcome.FAILED, code, detail, sha256=sha256)
        self.verdicts[sid] = verdict
        return verdict

    def _run(self, script: str, keys: list[str], args: list[Any]) -> Any:
        return self._client.register_script(scripts.source(script))(keys, args)


class _Workers:
    """Whom the engine rings: here they work at once, and only where belts are late."""

    def __init__(self, settlement: Settlement) -> None:
        self._settlement = settlement

    def press(self, task: str, *args: str | int) -> None:
        if task == "assemble_belts" and self._settlement.faults.has_workers:
            self._settlement.load_belts(UUID(str(args[0])))

    def close(self, timeout: float) -> None:
        """Nobody is left."""


def _combat(entry: Entry) -> Combat:
    assert entry.raw is not None  # handed over, and not settled yet
    payload = validate(parse_document(entry.raw))
    return Combat(entry.session_id, payload.finished_at, payload, roster=entry.roster)


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)
