"""What a run must leave behind, reckoned from the documents, and what it left.

Every variant is held to it: a rate counts only if all of the work was done.
"""

from __future__ import annotations

from typing import Any

import orjson
from psycopg.rows import dict_row

from benchmarks import world
from benchmarks.backlog import Backlog
from benchmarks.errors import BenchmarkError
from benchmarks.servers import Servers
from persistence.contract import redis_keys

WRITTEN = """
SELECT (SELECT count(*) FROM combat_history WHERE settlement_status = 'processed')
           AS combats,
       (SELECT count(*) FROM combat_participants) AS participants,
       (SELECT count(*) FROM combat_replay) AS fight_logs,
       (SELECT count(*) FROM settlement_discrepancies) AS discrepancies,
       count(*) AS ledger_lines, sum(xp_delta)::bigint AS ledger_xp,
       sum(gold_delta)::bigint AS ledger_gold
FROM settlement_ledger WHERE kind = 'settlement'
"""

HOLDINGS = f"""
SELECT xp, gold, pieces - characters * {world.PIECES} AS pieces,
       inventory_rows - characters * {len(world.Kit)} AS inventory_rows
FROM (SELECT count(*) AS characters, sum(xp - {world.XP})::bigint AS xp,
             sum(gold - {world.GOLD})::bigint AS gold
      FROM characters),
     (SELECT sum(quantity) AS pieces, count(*) AS inventory_rows FROM inventory)
"""

# Rows made by loot have ids that depend on who came first: bags are compared by kind.
DIGEST = """
SELECT md5(string_agg(md5(line), '' ORDER BY line)) FROM (
    SELECT (id, xp, gold, hp, energy, vitals_at, vitals_session_id)::text AS line
    FROM characters WHERE vitals_at IS NOT NULL
    UNION ALL
    SELECT (character_id, item_template_id, count(*), sum(quantity), sum(durability)
           )::text
    FROM inventory
    WHERE character_id IN (SELECT id FROM characters WHERE vitals_at IS NOT NULL)
    GROUP BY character_id, item_template_id
    UNION ALL
    SELECT (session_id, participant_ids, finished_at, result_payload)::text
    FROM combat_history
) AS lines
"""


Books = dict[str, int]
"""Counts and sums over a whole run; amounts are changes since the opening."""


def check(servers: Servers, backlog: Backlog, since: Books | None = None) -> None:
    """Raises BenchmarkError where a run left anything but what `backlog` asks for.

    `since`: what was found before, where the run did not begin with a fresh world.
    """
    found = find(servers) | _tombstones(servers, backlog)
    left = {name: value - (since or {}).get(name, 0) for name, value in found.items()}
    wrong = [
        f"{name}: {left[name]} instead of {value}"
        for name, value in _wanted(backlog).items()
        if left[name] != value
    ]
    if wrong:
        raise BenchmarkError("the books are wrong: " + ", ".join(wrong))


def find(servers: Servers) -> Books:
    with servers.connect() as connection:
        cursor = connection.cursor(row_factory=dict_row)
        rows = [cursor.execute(query).fetchone() for query in (WRITTEN, HOLDINGS)]
    # A sum over no rows is NULL.
    return {name: value or 0 for row in rows if row for name, value in row.items()}


def digest(servers: Servers) -> str:
    """Equal for two runs that left the same balances, bags and documents."""
    with servers.connect() as connection:
        row = connection.execute(DIGEST).fetchone()
    assert row is not None
    return str(row[0])


def _wanted(backlog: Backlog) -> Books:
    xp = gold = pieces = scrolls = rings = 0
    new_stacks = set()
    for raw in backlog.raws:
        for char_id, result in orjson.loads(raw)["participants"].items():
            changes = result["changes"]
            xp += changes["xp_gained"]
            gold += changes["gold_gained"]
            for used in changes["items_consumed"]:
                pieces -= used["qty"]
                scrolls += used["item_template_id"] == world.SCROLL
            for loot in _loot(result):
                pieces += loot["qty"]
                kind = loot.get("item_template_id", world.PELT)
                if kind == world.RING:
                    rings += loot["qty"]
                elif kind != world.PELT:
                    new_stacks.add((char_id, kind))
    combats = len(backlog)
    return {
        "combats": combats,
        "participants": 2 * combats,
        "fight_logs": combats,
        "discrepancies": 0,
        "tombstones": combats,
        "ledger_lines": 2 * combats,
        "ledger_xp": xp,
        "ledger_gold": gold,
        "xp": xp,
        "gold": gold,
        "pieces": pieces,
        "inventory_rows": len(new_stacks) + rings - scrolls,
    }


def _loot(result: dict[str, Any]) -> list[dict[str, Any]]:
    gained: list[dict[str, Any]] | None = result["changes"].get("items_gained")
    return result["ui_report"]["loot_obtained"] if gained is None else gained


def _tombstones(servers: Servers, backlog: Backlog) -> Books:
    keys = [redis_keys.tombstone(h.session_id) for h in backlog.handoffs]
    with servers.redis() as client:
        return {"tombstones": client.exists(*keys)}
