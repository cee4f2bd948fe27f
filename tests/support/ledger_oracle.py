"""What must be true after recovery, told from outside the system.

A journal holds what the sender knows: the fights it made up and the answers it got.
The oracle works out every balance from that alone and compares it with the tables and
with Redis. Nothing here calls the code under test or believes its ledger.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast
from uuid import UUID

import psycopg
import redis
from psycopg.rows import DictRow, dict_row

POTION, PELT = "chaos_potion", "chaos_pelt"
START_GOLD = 1000


@dataclass(frozen=True)
class Share:
    """What one fight did to one player. `missing` of the `drunk` were not there."""

    xp: int = 0
    gold: int = 0
    hp: int = 100
    energy: int = 50
    drunk: int = 0
    missing: int = 0
    loot: int = 0


@dataclass(frozen=True)
class Fight:
    """A fight as its sender knows it. `failure`: the code it has to end with."""

    session_id: UUID
    finished_at: int
    shares: dict[int, Share]
    failure: str | None = None

    @cached_property
    def document(self) -> dict[str, Any]:
        players = {str(c): _participant(c, s) for c, s in self.shares.items()}
        if self.failure == "unknown_item":
            first = next(iter(players.values()))
            first["changes"]["items_gained"] = [
                {"item_template_id": "chaos_nothing", "qty": 1}
            ]
        return {
            "session_id": str(self.session_id),
            "meta": {
                "end_timestamp": self.finished_at,
                "winner_team": "blue",
                "finish_reason": "victory",
            },
            "participants": players | {"goblin_1": {"is_winner": False}},
            "replay_log": [{"turn": 1, "actor": "goblin_1", "action": "bite"}],
        }

    @property
    def order(self) -> tuple[int, str]:
        return self.finished_at, str(self.session_id)


@dataclass
class Journal:
    """Kept by the sender, outside the system. A fight is offered before it is sent."""

    potions: dict[int, int] = field(default_factory=dict)
    """Characters of this story, and what their one stack of potions opened with."""

    offered: dict[UUID, Fight] = field(default_factory=dict)
    accepted: set[UUID] = field(default_factory=set)
    conflicts: Counter[UUID] = field(default_factory=Counter)
    """Other documents that were answered with `conflict`."""

    accounts: dict[int, dict[str, str]] = field(default_factory=dict)
    """Account fields that belong to somebody else, and so must be as they were."""

    def offer(self, fight: Fight) -> Fight:
        self.offered[fight.session_id] = fight
        return fight


def potion_row(character_id: int) -> int:
    return character_id * 10


def _participant(character_id: int, share: Share) -> dict[str, Any]:
    changes: dict[str, Any] = {"xp_gained": share.xp, "gold_gained": share.gold}
    if share.drunk:
        changes["items_consumed"] = [
            {
                "inventory_id": potion_row(character_id),
                "item_template_id": POTION,
                "qty": share.drunk,
            }
        ]
    changes["items_gained"] = (
        [{"item_template_id": PELT, "qty": share.loot}] if share.loot else []
    )
    return {
        "is_winner": True,
        "state_snapshot": {"hp": share.hp, "energy": share.energy},
        "changes": changes,
        "ui_report": {"damage_dealt": 10},
    }


class Oracle:
    """Sets a world up, lets time pass, and says what is wrong with it."""

    def __init__(self, database_url: str, redis_url: str) -> None:
        self.database = psycopg.connect(
            database_url, autocommit=True, row_factory=dict_row
        )
        self.redis = redis.Redis.from_url(redis_url)

    def close(self) -> None:
        self.database.close()
        self.redis.close()

    def add_world(self, journal: Journal) -> None:
        """The characters of the journal, each with gold and one stack of potions."""
        self._write(
            "INSERT INTO item_templates (id, name) VALUES (%s, %s), (%s, %s) "
            "ON CONFLICT DO NOTHING",
            [POTION, POTION, PELT, PELT],
        )
        ids = list(journal.potions)
        self._write(
            "INSERT INTO characters (id, name, gold) "
            "SELECT id, 'chaos', %s FROM unnest(%s::bigint[]) AS n (id)",
            [START_GOLD, ids],
        )
        self._write(
            "INSERT INTO inventory (id, character_id, item_template_id, quantity) "
            "SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::int[])",
            [
                [potion_row(c) for c in ids],
                ids,
                [POTION] * len(ids),
                list(journal.potions.values()),
            ],
        )

    def let_time_pass(self) -> None:
        """All leases, delays and due times run out."""
        members = cast("list[bytes]", self.redis.zrange("combat:inbox", 0, -1))
        if members:
            # XX: what leaves the inbox meanwhile must not come back.
            self.redis.zadd("combat:inbox", dict.fromkeys(members, 0), xx=True)
        self._write(
            "UPDATE combat_history SET due_at = due_at - interval '1 hour' "
            "WHERE settlement_status = 'pending'"
        )

    def is_quiet(self) -> bool:
        """Nothing waits: no inbox entry and no pending row."""
        (pending,) = self._read(
            "SELECT count(*) AS n FROM combat_history "
            "WHERE settlement_status = 'pending'"
        )
        return not pending["n"] and not self.redis.zcard("combat:inbox")

    def tries_left(self, journal: Journal) -> int:
        """Tries that count against documents as if these had killed their workers."""
        (row,) = self._read(
            "SELECT sum(attempts)::int AS n FROM combat_history "
            "WHERE session_id = ANY (%s)",
            [list(journal.offered)],
        )
        return row["n"] or 0

    def violations(self, journal: Journal) -> list[str]:
        """Every broken promise, in words; empty is what all of this is about."""
        rows = self._rows(journal)
        applied = [
            fight
            for sid, fight in journal.offered.items()
            if sid in rows and rows[sid]["settlement_status"] == "processed"
        ]
        return [
            *self._check_history(journal, rows),
            *self._check_ledger(journal, applied),
            *self._check_characters(journal, applied),
            *self._check_inventory(journal, applied),
            *self._check_records(journal, applied),
            *self._check_redis(journal, rows),
            *self._check_accounts(journal),
        ]

    def _rows(self, journal: Journal) -> dict[UUID, DictRow]:
        rows = self._read(
            "SELECT session_id, settlement_status, failure_code, attempts, "
            "result_payload FROM combat_history WHERE session_id = ANY (%s)",
            [list(journal.offered)],
        )
        return {row["session_id"]: row for row in rows}

    def _check_history(
        self, journal: Journal, rows: dict[UUID, DictRow]
    ) -> Iterator[str]:
        for sid, fight in journal.offered.items():
            row = rows.get(sid)
            if row is None:
                if sid in journal.accepted:
                    yield f"LOST: {sid} was accepted and has no row"
                continue
            status, code = row["settlement_status"], row["failure_code"]
            expected = "failed" if fight.failure else "processed"
            if (status, code) != (expected, fight.failure):
                yield f"{sid} is {status} ({code}), not {expected} ({fight.failure})"
            kept = {k: v for k, v in fight.document.items() if k != "replay_log"}
            if row["result_payload"] != kept:
                yield f"{sid} holds another document than the one accepted first"

    def _check_ledger(self, journal: Journal, applied: list[Fight]) -> Iterator[str]:
        rows = self._read(
            "SELECT session_id, character_id, xp_delta, gold_delta "
            "FROM settlement_ledger WHERE session_id = ANY (%s)",
            [list(journal.offered)],
        )
        lines = Counter(tuple(row.values()) for row in rows)
        expected = Counter(
            (fight.session_id, character_id, share.xp, share.gold)
            for fight in applied
            for character_id, share in fight.shares.items()
        )
        for line in (lines - expected) + (expected - lines):
            found, wanted = lines[line], expected[line]
            yield f"ledger line {line} is there {found} times, not {wanted}"

    def _check_characters(
        self, journal: Journal, applied: list[Fight]
    ) -> Iterator[str]:
        rows = self._read(
            "SELECT id, xp, gold, hp, energy FROM characters WHERE id = ANY (%s)",
            [list(journal.potions)],
        )
        fights = _by_character(applied)
        for row in rows:
            of_this = fights[row["id"]]
            shares = [share for _, share in of_this]
            newest = max(of_this, key=lambda pair: pair[0].order)[1] if shares else None
            expected = {
                "id": row["id"],
                "xp": sum(share.xp for share in shares),
                "gold": START_GOLD + sum(share.gold for share in shares),
                "hp": newest.hp if newest else 100,
                "energy": newest.energy if newest else 100,
            }
            if row != expected:
                yield f"character is {row}, not {expected}"

    def _check_inventory(self, journal: Journal, applied: list[Fight]) -> Iterator[str]:
        rows = self._read(
            "SELECT character_id, item_template_id, sum(quantity)::int AS quantity "
            "FROM inventory WHERE character_id = ANY (%s) GROUP BY 1, 2",
            [list(journal.potions)],
        )
        found = {
            (r["character_id"], r["item_template_id"]): r["quantity"] for r in rows
        }
        expected = Counter({(c, POTION): n for c, n in journal.potions.items()})
        for fight in applied:
            for character_id, share in fight.shares.items():
                expected[character_id, POTION] -= share.drunk - share.missing
                expected[character_id, PELT] += share.loot
        # A stack that was used up is no row at all.
        left = {key: quantity for key, quantity in expected.items() if quantity}
        for key in found.keys() | left.keys():
            if found.get(key) != left.get(key):
                yield f"inventory {key} is {found.get(key)}, not {left.get(key)}"

    def _check_records(self, journal: Journal, applied: list[Fight]) -> Iterator[str]:
        sessions = [list(journal.offered)]
        short = self._count("settlement_discrepancies", sessions)
        expected = Counter(
            fight.session_id
            for fight in applied
            for share in fight.shares.values()
            if share.missing
        )
        if short != expected:
            yield f"discrepancies are {short}, not {expected}"
        rejected = self._count("rejected_payloads", sessions)
        if rejected != journal.conflicts:
            yield f"conflicts kept are {rejected}, not {journal.conflicts}"

    def _check_redis(
        self, journal: Journal, rows: dict[UUID, DictRow]
    ) -> Iterator[str]:
        pipe = self.redis.pipeline(transaction=False)
        for sid in journal.offered:
            pipe.get(f"combat:result_cache:{sid}")
            pipe.exists(f"cs:{sid}")
            pipe.zscore("combat:inbox", str(sid))
            pipe.hexists(f"combat:result:{sid}", "raw")
        answers = iter(pipe.execute())
        for sid, fight in journal.offered.items():
            tombstone, session, entry, raw = (next(answers) for _ in range(4))
            if sid not in rows and sid not in journal.accepted:
                continue
            if bool(tombstone) != (fight.failure is None):
                yield f"{sid}: tombstone is {tombstone}"
            elif tombstone and not _tells(tombstone, fight):
                yield f"{sid}: tombstone tells another story: {tombstone}"
            if session:
                yield f"cs:{sid} is still there"
            if entry is not None:
                yield f"{sid} is still in the inbox"
            if raw:
                yield f"{sid}: the document is still in Redis"

    def _check_accounts(self, journal: Journal) -> Iterator[str]:
        handed_off = [
            fight for sid, fight in journal.offered.items() if sid in journal.accepted
        ]
        for character_id, of_this in _by_character(handed_off).items():
            newest, share = max(of_this, key=lambda pair: pair[0].order)
            expected = journal.accounts.get(
                character_id,
                {
                    "hp": str(share.hp),
                    "energy": str(share.energy),
                    "last_combat_session_id": str(newest.session_id),
                    "combat_session_id": "",
                },
            )
            found = cast("dict[bytes, bytes]", self.redis.hgetall(f"ac:{character_id}"))
            account = {k.decode(): v.decode() for k, v in found.items()}
            shown = {name: account.get(name, "") for name in expected}
            if shown != expected:
                yield f"ac:{character_id} is {shown}, not {expected}"

    def _count(self, table: str, parameters: list[Any]) -> Counter[UUID]:
        rows = self._read(
            f"SELECT session_id FROM {table} WHERE session_id = ANY (%s)", parameters
        )
        return Counter(row["session_id"] for row in rows)

    def _read(self, query: str, parameters: list[Any] | None = None) -> list[DictRow]:
        with self.database.cursor() as cursor:
            cursor.execute(query.encode(), parameters)
            return cursor.fetchall()

    def _write(self, query: str, parameters: list[Any] | None = None) -> None:
        with self.database.cursor() as cursor:
            cursor.execute(query.encode(), parameters)


def _by_character(fights: list[Fight]) -> dict[int, list[tuple[Fight, Share]]]:
    by_character = defaultdict(list)
    for fight in fights:
        for character_id, share in fight.shares.items():
            by_character[character_id].append((fight, share))
    return by_character


def _tells(tombstone: bytes, fight: Fight) -> bool:
    told = json.loads(tombstone)["participants"]
    return {c: (p["xp"], p["gold"]) for c, p in told.items()} == {
        str(c): (share.xp, share.gold) for c, share in fight.shares.items()
    }
