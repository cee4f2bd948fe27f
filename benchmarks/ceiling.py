"""The ceiling: the inbox drained by a bare process, as fast as these tables allow.

The same claim and effects scripts, the same SQL texts, the same hundred combats to a
transaction; no Django, no Celery, no pydantic, nothing checked. Run as a module, it
says `ready`, waits for one element of the list GO, drains and exits.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson
import psycopg
import redis

from benchmarks.ceiling_plan import Combat, Ledger
from persistence.contract import redis_keys
from persistence.engine import scripts
from persistence.savers.combat import statements

if TYPE_CHECKING:
    from redis.commands.core import Script

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GO = "benchmark:go"
WAIT_SECONDS = 120
BATCH_SIZE = 100
LEASE_MS = 35_000
MAX_CLAIM_BYTES = 8 * 1024 * 1024
COMPRESSOR = zstd.ZstdCompressor(1)
FRAMEWORKS = frozenset({"django", "celery", "pydantic"})

NEW_ITEM = (
    "id",
    "character_id",
    "item_template_id",
    "quantity",
    "durability",
    "max_durability",
    "origin_session_id",
)

Row = tuple[Any, ...]
Connection = psycopg.Connection[Row]
Cursor = psycopg.Cursor[Row]
Entry = list[Any]
"""Session id, lease, claims, raw, sha256, accepted_at, as the claim script replies."""


def main() -> None:
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    claim = client.register_script(scripts.source("claim"))
    finish = client.register_script(scripts.source("finish"))
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        loaded = FRAMEWORKS & sys.modules.keys()
        assert not loaded, f"no bare process: {loaded}"
        # Nothing here makes cycles, and looking for them costs more than parsing.
        gc.disable()
        print("ready", flush=True)
        client.blpop([GO], timeout=WAIT_SECONDS)
        while entries := _claim(claim):
            with connection.transaction():
                combats = _settle(connection, entries)
            _finish(finish, entries, combats)


def _claim(script: Script) -> list[Entry]:
    reply: list[Any] = script(
        keys=[redis_keys.INBOX],
        args=[BATCH_SIZE, LEASE_MS, MAX_CLAIM_BYTES, redis_keys.RESULT_PREFIX],
    )
    return reply[1:]


def _settle(connection: Connection, entries: list[Entry]) -> list[Combat]:
    combats = [Combat(UUID(e[0].decode()), orjson.loads(e[3])) for e in entries]
    cursor = connection.cursor()
    ids = _array(combat.session_id for combat in combats)
    known = _fetch(cursor, statements.LOCK_HISTORY, [ids])
    assert not known, "a ceiling is measured on a fresh backlog"
    ledger = _lock(cursor, combats)
    for combat in sorted(combats, key=lambda c: (c.finished_at, c.session_id)):
        ledger.apply(combat)
    _write(connection, entries, combats, ledger)
    return combats


def _lock(cursor: Cursor, combats: Sequence[Combat]) -> Ledger:
    loot = [(char_id, entry) for c in combats for char_id, entry in _loot(c)]
    ids = {e["item_template_id"] for _, e in loot if "item_template_id" in e}
    names = list({e["name"] for _, e in loot if "item_template_id" not in e})
    templates = _fetch(cursor, statements.LOAD_TEMPLATES, [list(ids), names, names])
    by_name = {row[1]: row[0] for row in templates}
    stacks = {(c, e.get("item_template_id") or by_name[e["name"]]) for c, e in loot}
    rows: set[int] = set()
    for combat in combats:
        for char_id, result in combat.participants:
            changes = result["changes"]
            rows.update(used["inventory_id"] for used in changes["items_consumed"])
            for target in changes["durability_loss"]:
                kind, _, name = target.partition(":")
                if kind == "item":
                    stacks.add((char_id, name))
                else:
                    rows.add(int(name))
    char_ids = sorted({c for combat in combats for c, _ in combat.participants})
    characters = _fetch(cursor, statements.LOCK_CHARACTERS, [_array(char_ids)])
    owners, kinds = zip(*stacks, strict=True)
    items = _fetch(
        cursor, statements.LOAD_ITEMS, [_array(rows), _array(owners), list(kinds)]
    )
    most_new_rows = sum(entry["qty"] for _, entry in loot)
    new_ids = _fetch(cursor, statements.RESERVE_ITEM_IDS, [most_new_rows])
    return Ledger(characters, items, templates, (row[0] for row in new_ids))


def _fetch(cursor: Cursor, statement: str, parameters: Sequence[Any]) -> list[Row]:
    return cursor.execute(statement, parameters, binary=True).fetchall()


def _loot(combat: Combat) -> Iterator[tuple[int, dict[str, Any]]]:
    for char_id, entries in combat.loot.items():
        for entry in entries:
            yield char_id, entry


def _write(
    connection: Connection, entries: list[Entry], combats: list[Combat], ledger: Ledger
) -> None:
    """Every row of the batch, in one round trip."""
    with connection.pipeline():
        cursor = connection.cursor()
        for statement, rows, binary in _statements(entries, combats, ledger):
            if rows:
                cursor.execute(statement, _columns(rows, binary))


def _statements(
    entries: list[Entry], combats: list[Combat], ledger: Ledger
) -> Iterator[tuple[str, list[Row], frozenset[int]]]:
    fight_logs: list[Row] = [
        (c.session_id, _compressed(c.document.pop("replay_log"))) for c in combats
    ]
    history = list(map(_history, entries, combats))
    yield statements.INSERT_HISTORY, history, frozenset({1, 4, 6, 9})
    participants: list[Row] = [
        (char_id, combat.finished_at, combat.session_id)
        for combat in combats
        for char_id, _ in combat.participants
    ]
    yield statements.INSERT_PARTICIPANTS, participants, frozenset()
    yield statements.INSERT_FIGHT_LOGS, fight_logs, frozenset({1})
    characters = [tuple(c.values()) for c in ledger.characters.values()]
    yield statements.UPDATE_CHARACTERS, characters, frozenset()
    updated: list[Row] = [
        (i["id"], i["quantity"], i["durability"]) for i in ledger.updated.values()
    ]
    yield statements.UPDATE_ITEMS, updated, frozenset()
    removed: list[Row] = [(row_id,) for row_id in ledger.removed]
    yield statements.DELETE_ITEMS, removed, frozenset()
    inserted = [tuple(i[name] for name in NEW_ITEM) for i in ledger.inserted.values()]
    yield statements.INSERT_ITEMS, inserted, frozenset({2})
    lines: list[Row] = [
        (*line[:-1], orjson.dumps(line[-1]).decode()) for line in ledger.lines
    ]
    yield statements.INSERT_LEDGER, lines, frozenset({7})
    belts: list[Row] = [
        (session_id, char_id) for char_id, _, session_id in participants
    ]
    yield statements.RELEASE_BELTS, belts, frozenset()


def _history(entry: Entry, combat: Combat) -> Row:
    return (
        combat.session_id,
        _array(char_id for char_id, _ in combat.participants),
        combat.finished_at,
        "processed",
        orjson.dumps(combat.document).decode(),
        entry[4].decode(),
        None,
        datetime.fromtimestamp(int(entry[5]) / 1000, UTC),
        None,
        None,
    )


def _compressed(replay_log: object) -> bytes:
    """One frame; the compressor is kept, because making it costs half of its work."""
    text = orjson.dumps(replay_log)
    return bytes(COMPRESSOR.compress(text, zstd.ZstdCompressor.FLUSH_FRAME))


def _array(values: Iterable[object]) -> str:
    return "{" + ",".join("NULL" if v is None else str(v) for v in values) + "}"


def _columns(rows: Iterable[Row], binary: frozenset[int]) -> list[Any]:
    """One parameter a column: lists where the statement says `%b`, else literals."""
    return [
        list(column) if index in binary else _array(column)
        for index, column in enumerate(zip(*rows, strict=True))
    ]


def _finish(
    script: Script, entries: Iterable[Entry], combats: Iterable[Combat]
) -> None:
    args: list[Any] = [
        redis_keys.RESULT_PREFIX,
        redis_keys.TOMBSTONE_PREFIX,
        redis_keys.SESSION_PREFIX,
        redis_keys.DAY_SECONDS,
        0,
    ]
    for entry, combat in zip(entries, combats, strict=True):
        args += [entry[0], entry[1], _tombstone(combat), entry[4], 0]
    script(keys=[redis_keys.INBOX], args=args)


def _tombstone(combat: Combat) -> bytes:
    meta = combat.document["meta"]
    return orjson.dumps(
        {
            "winner_team": meta["winner_team"],
            "finish_reason": meta["finish_reason"],
            "end_timestamp": meta["end_timestamp"],
            "participants": {
                str(char_id): {
                    "is_winner": result["is_winner"],
                    "team": result["team"],
                    "xp": result["changes"]["xp_gained"],
                    "gold": result["changes"]["gold_gained"],
                    "loot": [
                        {
                            "name": loot.get("name") or loot["item_template_id"],
                            "qty": loot["qty"],
                        }
                        for loot in combat.loot[char_id]
                    ],
                }
                for char_id, result in combat.participants
            },
        }
    )


if __name__ == "__main__":
    main()
