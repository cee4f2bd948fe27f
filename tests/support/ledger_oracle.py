"""What must be true after recovery, told from outside the system.

A journal holds what the sender knows: the fights it made up and the answers it got.
The oracle works out every balance from that alone and compares it with the tables and
with Redis. Nothing here calls the code under test or believes its ledger.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, cast
from uuid import UUID

import psycopg
import redis
from psycopg.rows import DictRow, dict_row

from tests.support.journal import (
    FLASK,
    PELT,
    POTION,
    START_GOLD,
    Fight,
    Journal,
    Share,
    potion_row,
)


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
        (pending,) = self.read(
            "SELECT count(*) AS n FROM combat_history "
            "WHERE settlement_status = 'pending'"
        )
        return not pending["n"] and not self.redis.zcard("combat:inbox")

    def tries_left(self, journal: Journal) -> int:
        """Tries that count against documents as if these had killed their workers."""
        (row,) = self.read(
            "SELECT sum(attempts)::int AS n FROM combat_history "
            "WHERE session_id = ANY (%s)",
            [list(journal.offered)],
        )
        return row["n"] or 0

    def violations(self, journal: Journal) -> list[str]:
        """Every broken promise, in words; empty is what all of this is about."""
        rows = self.rows(journal)
        applied = [
            journal.settled(sid)
            for sid in journal.offered
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

    def rows(self, journal: Journal) -> dict[UUID, DictRow]:
        rows = self.read(
            "SELECT session_id, settlement_status, failure_code, attempts, "
            "compensated_at, result_payload "
            "FROM combat_history WHERE session_id = ANY (%s)",
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
            expected, failure = journal.status(sid), journal.settled(sid).failure
            # Voided while it waited, it has no failure of its own; corrected before
            # that, the one that was corrected.
            had = {None, journal.offered[sid].failure}
            is_right = code == failure or (expected == "voided" and code in had)
            if status != expected or not is_right:
                yield f"{sid} is {status} ({code}), not {expected} ({failure})"
            if bool(row["compensated_at"]) != (sid in journal.undone):
                yield f"{sid}: undone at {row['compensated_at']}, against the journal"
            documents = [fight.document, *journal.documents.get(sid, [])]
            if row["result_payload"] not in map(_kept, documents):
                yield f"{sid} holds another document than the one accepted first"

    def _check_ledger(self, journal: Journal, applied: list[Fight]) -> Iterator[str]:
        rows = self.read(
            "SELECT session_id, character_id, kind, xp_delta, gold_delta "
            "FROM settlement_ledger WHERE session_id = ANY (%s)",
            [list(journal.offered)],
        )
        lines = Counter(tuple(row.values()) for row in rows)
        expected = Counter(
            (fight.session_id, character_id, "settlement", share.xp, share.gold)
            for fight in applied
            for character_id, share in fight.shares.items()
        )
        expected.update(
            (fight.session_id, character_id, "compensation", -share.xp, -share.gold)
            for fight in applied
            for character_id, share in fight.shares.items()
            if fight.session_id in journal.undone
        )
        for line in (lines - expected) + (expected - lines):
            found, wanted = lines[line], expected[line]
            yield f"ledger line {line} is there {found} times, not {wanted}"

    def _check_characters(
        self, journal: Journal, applied: list[Fight]
    ) -> Iterator[str]:
        rows = self.read(
            "SELECT id, xp, gold, hp, energy FROM characters WHERE id = ANY (%s)",
            [list(journal.potions)],
        )
        fights = _by_character(applied)
        for row in rows:
            of_this = fights[row["id"]]
            shares = [share for _, share in of_this]
            kept = [s for f, s in of_this if f.session_id not in journal.undone]
            newest = max(of_this, key=lambda pair: pair[0].order)[1] if shares else None
            hp, energy = (newest.hp, newest.energy) if newest else (100, 100)
            if row["id"] in journal.vitals:
                hp, energy = journal.vitals[row["id"]] or (row["hp"], row["energy"])
            expected = {
                "id": row["id"],
                "xp": sum(share.xp for share in kept),
                "gold": START_GOLD + sum(share.gold for share in kept),
                "hp": hp,
                "energy": energy,
            }
            if row != expected:
                yield f"character is {row}, not {expected}"

    def _check_inventory(self, journal: Journal, applied: list[Fight]) -> Iterator[str]:
        rows = self.read(
            "SELECT character_id, item_template_id, sum(quantity)::int AS quantity "
            "FROM inventory WHERE character_id = ANY (%s) GROUP BY 1, 2",
            [list(journal.potions)],
        )
        found = {
            (r["character_id"], r["item_template_id"]): r["quantity"] for r in rows
        }
        expected = Counter({(c, POTION): n for c, n in journal.potions.items()})
        expected.update(journal.others)
        for fight in applied:
            if fight.session_id in journal.undone:
                continue
            for character_id, share in fight.shares.items():
                expected[character_id, POTION] -= share.drunk - share.missing
                expected[character_id, FLASK] -= share.flasks
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
        settled = self._count(
            "settlement_events", sessions, "AND kind = 'combat.settled'"
        )
        if settled != Counter(fight.session_id for fight in applied):
            yield f"events of settled combats are {settled}"
        of_conflicts = "AND code = 'payload_conflict'"
        rejected = self._count("rejected_payloads", sessions, of_conflicts)
        for sid in rejected.keys() | journal.conflicts.keys():
            kept, told = rejected[sid], journal.conflicts[sid]
            if kept > told or (kept < told and sid not in journal.unsure_conflicts):
                yield f"{sid}: {kept} conflicts are kept, not {told}"

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
        for sid in journal.offered:
            tombstone, session, entry, raw = (next(answers) for _ in range(4))
            if sid not in rows and sid not in journal.accepted:
                continue
            is_told = journal.status(sid) == "processed" and sid not in journal.undone
            is_due = is_told and not journal.has_forgotten
            tells_something = tombstone and b"participants" in tombstone
            if (tells_something and not is_told) or (is_due and not tombstone):
                yield f"{sid}: tombstone is {tombstone}"
            elif tombstone and is_told and not _tells(tombstone, journal.settled(sid)):
                yield f"{sid}: tombstone tells another story: {tombstone}"
            if session:
                yield f"cs:{sid} is still there"
            if entry is not None:
                yield f"{sid} is still in the inbox"
            if raw:
                yield f"{sid}: the document is still in Redis"

    def _check_accounts(self, journal: Journal) -> Iterator[str]:
        if journal.vitals:
            return  # others than fights wrote them last
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

    def _count(
        self, table: str, parameters: list[Any], which: str = ""
    ) -> Counter[UUID]:
        query = f"SELECT session_id FROM {table} WHERE session_id = ANY (%s) {which}"
        return Counter(row["session_id"] for row in self.read(query, parameters))

    def read(self, query: str, parameters: list[Any] | None = None) -> list[DictRow]:
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


def _kept(document: dict[str, Any]) -> dict[str, Any]:
    """As the row holds it."""
    return {k: v for k, v in document.items() if k != "replay_log"}


def _tells(tombstone: bytes, fight: Fight) -> bool:
    told = json.loads(tombstone).get("participants", {})
    return {c: (p["xp"], p["gold"]) for c, p in told.items()} == {
        str(c): (share.xp, share.gold) for c, share in fight.shares.items()
    }
