"""Fights and operations at once, over shared characters: nothing is lost or made."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable
from contextlib import suppress

import pytest
from django.db.models import Sum

from combat_history.actions.operate import operate
from combat_history.models import (
    Character,
    CombatHistory,
    InventoryItem,
    Operation,
    SettlementDiscrepancy,
)
from combat_history.reconcile import reconcile
from persistence.contract.document import Document
from persistence.contract.errors import OperationRefused
from persistence.contract.operate import Operation as Asked
from persistence.engine.handoff import checked
from persistence.tasks import settle_inbox
from persistence.worker import inbox
from tests.support.documents import PELT, make_document, make_participant
from tests.support.factories import add_character, add_item
from tests.support.operating import operation
from tests.support.parallel import in_threads

logger = logging.getLogger(__name__)

PLAYERS = range(201, 206)
GOLD, PIECES = 40, 12
STEPS = 40


def bag_of(char_id: int) -> int:
    return 1000 + char_id


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(10**6))
    logger.info("CHAOS_SEED=%d", seed)
    return random.Random(seed)


@pytest.fixture
def players(world: None) -> None:
    for char_id in PLAYERS:
        add_character(char_id, gold=GOLD)
        add_item(char_id, PELT, bag_of(char_id), quantity=PIECES)


def trade(op_id: str, chance: random.Random) -> Asked:
    """One gives gold, the other a part of the row it began with."""
    buyer, seller = chance.sample(PLAYERS, 2)
    gold, qty = chance.randint(1, 9), chance.randint(1, 3)
    changes = {
        f"c{buyer}": {
            "gold_gained": -gold,
            "items_gained": [{"item_template_id": PELT, "qty": qty}],
        },
        f"c{seller}": {
            "gold_gained": gold,
            "items_consumed": [{"inventory_id": bag_of(seller), "qty": qty}],
        },
    }
    return Asked.read(operation(op_id, "Trade", **changes))


def fight(chance: random.Random) -> Document:
    """It gives and takes gold, and takes pieces: all of it is in the ledger."""
    parts = {
        char_id: make_participant(
            gold_gained=chance.randint(-15, 15),
            items_consumed=[{"inventory_id": bag_of(char_id), "qty": 1}],
        )
        for char_id in chance.sample(PLAYERS, 2)
    }
    return make_document(parts)


def trading(name: str, chance: random.Random) -> Callable[[], None]:
    asked = [trade(f"{name}-{number}", chance) for number in range(STEPS)]

    def trade_all() -> None:
        for one in asked:
            with suppress(OperationRefused):
                operate(one, name)
            with suppress(OperationRefused):
                operate(one, name)  # as a caller does that got no answer

    return trade_all


def fighting(chance: random.Random) -> Callable[[], None]:
    documents = [fight(chance) for _ in range(STEPS)]

    def fight_all() -> None:
        for document in documents:
            inbox.record(checked(document))
            if chance.random() < 0.3:
                settle_inbox()
        settle_inbox()

    return fight_all


@pytest.mark.usefixtures("players")
def test_fights_and_trades_at_once_lose_and_make_nothing(
    chance: random.Random,
) -> None:
    in_threads(trading("shop", chance), trading("mail", chance), fighting(chance))

    fights = CombatHistory.objects.filter(settlement_status="processed")
    assert fights.count() == STEPS
    assert 0 < Operation.objects.count() <= 2 * STEPS
    parts = [
        part["changes"]
        for row in fights
        for part in row.result_payload["participants"].values()
    ]
    short = SettlementDiscrepancy.objects.values_list("code", "wanted", "applied")
    unpaid = sum(w - a for code, w, a in short if code == "gold_shortage")
    unused = sum(w - a for code, w, a in short if code != "gold_shortage")
    # Trades move what there is from one to another; fights alone give and take.
    gold = Character.objects.filter(pk__in=PLAYERS).aggregate(all=Sum("gold"))["all"]
    given = sum(part["gold_gained"] for part in parts)
    assert gold == GOLD * len(PLAYERS) + given + unpaid
    pieces = InventoryItem.objects.filter(item_template_id=PELT)
    assert pieces.aggregate(all=Sum("quantity"))["all"] == (
        PIECES * len(PLAYERS) - len(parts) + unused
    )
    assert reconcile().findings == []
