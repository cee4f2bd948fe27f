"""Combats settled in one transaction: by the ceiling, the bare drainer and the peers.

The product's own SQL texts with the least arithmetic around them. `settle` says what to
send in each round trip and is sent the rows that came back, so that blocking and
asyncio connections share it; three round trips, however many combats there are.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any

import orjson
import psycopg
import redis

from benchmarks.ceiling_plan import Ledger
from benchmarks.combat import Combat, compressed, effects
from persistence.savers.combat import statements

NEW_ITEM = (
    "id",
    "character_id",
    "item_template_id",
    "quantity",
    "durability",
    "max_durability",
    "origin_session_id",
    "properties",
)

Row = tuple[Any, ...]
Query = tuple[str, Sequence[Any]]
Connection = psycopg.Connection[Row]
Steps = Generator[list[Query], list[list[Row]], list[Query]]
"""Queries of a round trip out, rows of each in; at the end, what is to be written."""


class Settler:
    """A blocking connection to each server, of a process that has no other work."""

    def __init__(self, database_url: str, redis_url: str) -> None:
        # From the first time on: each statement comes up thousands of times.
        self.connection = psycopg.connect(
            database_url, autocommit=True, prepare_threshold=0
        )
        self.redis = redis.Redis.from_url(redis_url, socket_timeout=None)

    def close(self) -> None:
        self.connection.close()
        self.redis.close()

    def settle(self, raws: Iterable[str | bytes], *more: tuple[Any, ...]) -> None:
        """Commits; then, in one round trip, the effects and `more` commands."""
        combats = [Combat(orjson.loads(raw)) for raw in raws]
        commit(self.connection, combats)
        with self.redis.pipeline(transaction=False) as pipe:
            for command in (*effects(combats), *more):
                pipe.execute_command(*command)  # type: ignore[no-untyped-call]
            pipe.execute()


def commit(connection: Connection, combats: Sequence[Combat]) -> None:
    """In a transaction of its own, begun and ended in the round trips of the rest."""
    steps = settle(combats)
    with connection.pipeline(), connection.transaction():
        queries = next(steps)
        try:
            while True:
                cursors = [connection.execute(*query, binary=True) for query in queries]
                queries = steps.send([cursor.fetchall() for cursor in cursors])
        except StopIteration as end:
            for query in end.value:
                connection.execute(*query)


def settle(combats: Iterable[Combat]) -> Steps:
    """What has a row in the history already, or comes twice, changes nothing again."""
    by_id = {combat.session_id: combat for combat in combats}
    by_end = sorted(by_id.values(), key=lambda c: (c.finished_at, c.session_id))
    loot = [(char_id, entry) for c in by_end for char_id, entry in _loot(c)]
    new, templates, characters = yield [
        (statements.INSERT_HISTORY, _columns(map(_history, by_end), {1, 4, 6, 9, 10})),
        (statements.LOAD_TEMPLATES, _kinds(entry for _, entry in loot)),
        (statements.LOCK_CHARACTERS, [_array(sorted(_players(by_end)))]),
    ]
    if not new:
        return []
    rows, stacks = _wanted(by_end, {row[1]: row[0] for row in templates})
    owners, kinds = zip(*stacks, strict=True)
    most_new_rows = sum(entry["qty"] for _, entry in loot)
    items, new_ids = yield [
        (statements.LOAD_ITEMS, [_array(rows), _array(owners), list(kinds)]),
        (statements.RESERVE_ITEM_IDS, [most_new_rows]),
    ]
    ledger = Ledger(characters, items, templates, (row[0] for row in new_ids))
    fresh = {row[0] for row in new}
    combats = [combat for combat in by_end if combat.session_id in fresh]
    for combat in combats:
        ledger.apply(combat)
    return [
        (statement, _columns(rows, binary))
        for statement, rows, binary in _writes(combats, ledger)
        if rows
    ]


def _players(combats: Iterable[Combat]) -> set[int]:
    return {char_id for combat in combats for char_id, _ in combat.participants}


def _loot(combat: Combat) -> Iterator[tuple[int, dict[str, Any]]]:
    for char_id, entries in combat.loot.items():
        for entry in entries:
            yield char_id, entry


def _kinds(loot: Iterable[dict[str, Any]]) -> list[list[str]]:
    """Ids and names, as LOAD_TEMPLATES takes them."""
    ids, names = set(), set()
    for entry in loot:
        if "item_template_id" in entry:
            ids.add(entry["item_template_id"])
        else:
            names.add(entry["name"])
    return [list(ids), list(names), list(names)]


def _wanted(
    combats: Iterable[Combat], by_name: dict[str, str]
) -> tuple[set[int], set[tuple[int, str]]]:
    """Inventory rows that are named, and stacks: character and template."""
    rows: set[int] = set()
    stacks: set[tuple[int, str]] = set()
    for combat in combats:
        for char_id, entry in _loot(combat):
            kind = entry.get("item_template_id") or by_name[entry["name"]]
            stacks.add((char_id, kind))
        for char_id, result in combat.participants:
            changes = result["changes"]
            rows.update(used["inventory_id"] for used in changes["items_consumed"])
            for target in changes["durability_loss"]:
                kind, _, name = target.partition(":")
                if kind == "item":
                    stacks.add((char_id, name))
                else:
                    rows.add(int(name))
    return rows, stacks


def _writes(
    combats: Sequence[Combat], ledger: Ledger
) -> Iterator[tuple[str, list[Row], set[int]]]:
    """Statement, rows, and which of their columns are sent as lists."""
    fight_logs: list[Row] = [
        (combat.session_id, compressed(combat.fight_log)) for combat in combats
    ]
    participants: list[Row] = [
        (char_id, combat.finished_at, combat.session_id)
        for combat in combats
        for char_id, _ in combat.participants
    ]
    yield statements.INSERT_PARTICIPANTS, participants, set()
    yield statements.INSERT_FIGHT_LOGS, fight_logs, {1}
    characters = [tuple(c.values()) for c in ledger.characters.values()]
    yield statements.UPDATE_CHARACTERS, characters, set()
    updated: list[Row] = [
        (i["id"], i["quantity"], i["durability"]) for i in ledger.updated.values()
    ]
    yield statements.UPDATE_ITEMS, updated, set()
    removed: list[Row] = [(row_id,) for row_id in ledger.removed]
    yield statements.DELETE_ITEMS, removed, set()
    inserted = [tuple(i[name] for name in NEW_ITEM) for i in ledger.inserted.values()]
    yield statements.INSERT_ITEMS, inserted, {2, 7}
    lines: list[Row] = [
        # None: nobody's named balances are moved.
        (*line[:-1], orjson.dumps(line[-1]).decode(), None)
        for line in ledger.lines
    ]
    yield statements.INSERT_LEDGER, lines, {7, 8}
    belts: list[Row] = [
        (session_id, char_id) for char_id, _, session_id in participants
    ]
    yield statements.RELEASE_BELTS, belts, set()


def _history(combat: Combat) -> Row:
    return (
        combat.session_id,
        _array(char_id for char_id, _ in combat.participants),
        combat.finished_at,
        "processed",
        orjson.dumps(combat.document).decode(),
        combat.sha256,
        None,
        combat.received_at,
        # Of a failure, which there is none of: code, detail, subject.
        None,
        None,
        "",
    )


def _array(values: Iterable[object]) -> str:
    return "{" + ",".join("NULL" if v is None else str(v) for v in values) + "}"


def _columns(rows: Iterable[Row], binary: set[int]) -> list[Any]:
    """One parameter a column: lists where the statement says `%b`, else literals."""
    return [
        list(column) if index in binary else _array(column)
        for index, column in enumerate(zip(*rows, strict=True))
    ]
