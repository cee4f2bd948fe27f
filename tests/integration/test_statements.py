"""A batch costs as many statements for 200 combats as for one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import redis
from pytest_django import Settings

from combat_history.models import CombatHistory, NamedBalance, SettlementDiscrepancy
from persistence.contract.document import Document
from persistence.engine.handoff import checked
from persistence.tasks import settle_inbox
from persistence.worker import inbox
from persistence.worker import mode as settlement
from tests.support.documents import PELT, make_document, make_participant
from tests.support.factories import add_balance, add_character, add_item
from tests.support.trace import statements_in, traced

LARGE = 200


def busy_fight(n: int) -> Document:
    """Two players, and everything that one combat can cause."""
    winner, loser = 1000 + n, 2000 + n
    parts = {
        str(winner): make_participant(
            xp_gained=n,
            gold_gained=1,
            items_consumed=[{"inventory_id": 10_000 + n, "qty": 1}],
            durability_loss={"item:sword_epic": 1},
            items_gained=[{"item_template_id": PELT, "qty": 1}],
        ),
        str(loser): make_participant(
            gold_gained=-1,
            items_consumed=[{"inventory_id": 20_000 + n, "qty": 1}],
            ui_report={"loot_obtained": [{"name": "Эпический меч", "qty": 1}]},
        ),
        "goblin_1": {"hp": 0},
    }
    return make_document(parts, replay_log=[{"turn": 1}])


def prepare(n: int, **more: Any) -> Document:
    winner, loser = 1000 + n, 2000 + n
    add_character(winner, gold=1)
    add_character(loser, gold=0)
    add_item(winner, "hp_pot_small", 10_000 + n, quantity=5)
    add_item(winner, "sword_epic", 30_000 + n, is_equipped=True, durability=9)
    add_item(loser, "hp_pot_small", 20_000 + n, quantity=1)
    document = busy_fight(n)
    document["participants"][str(winner)]["changes"] |= more
    return document


def statements(combats: range, path: Path, **more: Any) -> Counter[str]:
    """What the protocol carried while these combats were settled in one batch."""
    for document in [prepare(n, **more) for n in combats]:
        inbox.record(checked(document))
    with traced(path):
        settle_inbox()
    return statements_in(path)


@pytest.mark.usefixtures("world")
def test_statements_do_not_grow_with_the_batch(
    redis_client: redis.Redis,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    settings.SETTLEMENT_BATCH_SIZE = LARGE
    add_balance("dust")
    # Read once a second, whatever the batch: not what is counted here.
    monkeypatch.setattr(settlement, "CACHE_SECONDS", 3600)
    # The first batches of a connection also prepare: not what is counted here.
    for warm_up in range(8):
        statements(range(warm_up, warm_up + 1), tmp_path / "warm")

    one = statements(range(10, 11), tmp_path / "one")
    many = statements(range(20, 20 + LARGE), tmp_path / "many")

    assert sum(one.values()) > 8, "the trace shows the batch"
    assert one == many
    # Named balances are read and written; who has none pays for none.
    named = statements(range(500, 508), tmp_path / "named", balances={"dust": 5})
    assert sum(named.values()) == sum(one.values()) + 2
    assert NamedBalance.objects.count() == 8
    processed = CombatHistory.objects.filter(settlement_status="processed")
    assert processed.count() == 8 + 1 + LARGE + 8
    # The penalty of every loser: discrepancies are written set-based as well.
    assert SettlementDiscrepancy.objects.count() == processed.count()
