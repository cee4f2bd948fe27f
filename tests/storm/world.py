"""The characters of the storm and what they have at its beginning."""

from __future__ import annotations

from collections import Counter

from tests.support.journal import FLASK, Journal, flask_row
from tests.support.ledger_oracle import Oracle

PLAYERS = 60
FIRST = 7_000_001
PLENTY = 100_000
HERB = "storm_herb"


def player_ids(count: int) -> list[int]:
    return list(range(FIRST, FIRST + count))


def herb_row(character_id: int) -> int:
    return character_id * 10 + 2


def make(oracle: Oracle) -> Journal:
    """Nobody runs out of anything: what falls short is for other tests."""
    ids = player_ids(PLAYERS)
    journal = Journal(potions=dict.fromkeys(ids, PLENTY))
    oracle.add_world(journal)
    oracle.database.execute(
        "INSERT INTO item_templates (id, name) SELECT t, t FROM unnest(%s::text[]) t",
        [[FLASK, HERB]],
    )
    oracle.database.execute(
        "INSERT INTO inventory "
        "(id, character_id, item_template_id, quantity, is_equipped, slot) "
        "SELECT flask, owner, %s, %s, true, 'belt_1' "
        "FROM unnest(%s::bigint[], %s::bigint[]) AS n (flask, owner) "
        "UNION ALL SELECT herb, owner, %s, %s, false, NULL "
        "FROM unnest(%s::bigint[], %s::bigint[]) AS n (herb, owner)",
        [
            *(FLASK, PLENTY, list(map(flask_row, ids)), ids),
            *(HERB, PLENTY, list(map(herb_row, ids)), ids),
        ],
    )
    oracle.database.execute(
        "SELECT setval(pg_get_serial_sequence('inventory', 'id'), max(id)) "
        "FROM inventory"
    )
    journal.others = Counter({(c, t): PLENTY for c in ids for t in (FLASK, HERB)})
    return journal
