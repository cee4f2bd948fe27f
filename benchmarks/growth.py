"""A long history beside a short one: what five million combats cost the next ones.

Two databases of the same world, one with `rows` combats in it and one with SHORT. The
same documents are settled in both by turns; then both answer the same questions.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from benchmarks import books, drain, growth_fill, world
from benchmarks.backlog import Backlog, generate
from benchmarks.books import Books
from benchmarks.cpu import Reading
from benchmarks.errors import BenchmarkError
from benchmarks.figures import Percentiles
from benchmarks.growth_fill import SAMPLE
from benchmarks.noise import TRIES, quietest
from benchmarks.servers import BASE_DIR, GROWTH_DATABASE, RUN_DATABASE, Servers
from benchmarks.transaction import Settler
from benchmarks.variants import INBOX

SHORT = 10_000
ROWS = 5_000_000

TABLES = (
    "combat_history",
    "combat_participants",
    "combat_replay",
    "settlement_ledger",
)

SIZE = "SELECT sum(pg_total_relation_size(name::regclass)) FROM unnest(%s::text[]) name"

WAL = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
"""Bytes; of the whole server, which has nothing else to write."""


@dataclass(frozen=True)
class Settled:
    """One backlog in one of the databases; WAL in bytes a combat."""

    rate: float
    wal: float
    usage: Reading
    tries: int = 1


@dataclass(frozen=True)
class Size:
    rows: int
    bytes_a_combat: float
    """Tables with their indexes, as filled."""
    rounds: Sequence[Settled]
    reads: dict[str, Percentiles]


@dataclass(frozen=True)
class Growth:
    short: Size
    long: Size


@dataclass(frozen=True)
class Plan:
    """How much: a backlog of `combats` for each measurement, in `rounds` rounds."""

    rows: int
    combats: int
    rounds: int


def measure(
    servers: Servers, plan: Plan, seed: str, say: Callable[[str], None]
) -> Growth:
    if plan.rows <= SHORT:
        raise BenchmarkError(f"--rows must be more than {SHORT:,}")
    documents = generate(SAMPLE + plan.rounds * TRIES * plan.combats, seed)
    places = [
        _Place(replace(servers, run_database=name), rows, documents)
        for name, rows in ((RUN_DATABASE, SHORT), (GROWTH_DATABASE, plan.rows))
    ]
    for place in places:
        place.fill(say)
    for number in range(plan.rounds):
        # By turns: another one goes first each time.
        for place in places[:: -1 if number % 2 else 1]:
            say(f"round {number + 1} of {plan.rounds}: among {place.rows:,} combats")
            settle = partial(place.settle, plan.combats)
            place.rounds.append(quietest(settle))
    say("look-ups")
    return Growth(*(place.size() for place in places))


class _Place:
    """One of the databases, with the documents that it has not settled yet."""

    def __init__(self, servers: Servers, rows: int, documents: Backlog) -> None:
        self.servers = servers
        self.rows = rows
        self.rounds: list[Settled] = []
        self._documents = documents
        self._taken = 0
        self._bytes = 0.0
        self._opening: Books = {}

    def fill(self, say: Callable[[str], None]) -> None:
        """Real combats first, which the others are copies of."""
        world.copy(self.servers)
        settler = Settler(self.servers.conninfo(), self.servers.redis_url)
        settler.settle(self._next(SAMPLE).raws)
        settler.close()
        growth_fill.fill(self.servers, self.rows, say)
        self._opening = books.find(self.servers)
        self._bytes = float(self._value(SIZE, [list(TABLES)])) / self.rows

    def settle(self, combats: int) -> Settled:
        """A backlog of documents that are new here, through the inbox."""
        backlog = self._next(combats)
        self.servers.flush_redis()
        began = self._value(WAL)
        rate, usage = drain.run(self.servers, INBOX, backlog, _is_empty)
        wal = float(self._value(WAL) - began) / combats
        # All since the fill: a second trinket of one kind makes no row. In Redis, the
        # tombstones of this backlog alone.
        so_far = Backlog(self._documents.raws[SAMPLE : self._taken])
        since = self._opening | {"tombstones": combats - len(so_far)}
        books.check(self.servers, so_far, since)
        return Settled(rate, wal, usage)

    def size(self) -> Size:
        reads = subprocess.run(
            [sys.executable, "-m", "benchmarks.growth_reads"],
            cwd=BASE_DIR,
            env=self.servers.environment(),
            capture_output=True,
        )
        if reads.returncode:
            raise BenchmarkError(f"look-ups:\n{reads.stderr.decode()}")
        timed = json.loads(reads.stdout)
        return Size(
            self.rows,
            self._bytes,
            self.rounds,
            {name: Percentiles(**found) for name, found in timed.items()},
        )

    def _next(self, count: int) -> Backlog:
        start, self._taken = self._taken, self._taken + count
        return Backlog(self._documents.raws[start : self._taken])

    def _value(self, query: str, parameters: Sequence[Any] = ()) -> Any:
        with self.servers.connect() as connection:
            row = connection.execute(query, parameters).fetchone()
        assert row is not None
        return row[0]


def _is_empty(servers: Servers, _combats: int) -> bool:
    """Counting millions of rows would be most of the work: the books are checked."""
    return drain.nothing_is_due(servers)
