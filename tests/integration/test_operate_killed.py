"""A trade is whole or nothing, wherever the process that applies it is killed."""

from __future__ import annotations

import pytest
from django.db import connections

from combat_history.actions.operate import operate
from combat_history.models import LedgerLine
from combat_history.models import Operation as Row
from combat_history.reconcile import reconcile
from persistence.contract.operate import Operation
from tests.support import crash
from tests.support.crash import Tell, When, every_crash
from tests.support.documents import HERO, PELT
from tests.support.factories import add_character, add_item
from tests.support.operating import operation
from tests.support.undoing import world_now

MERCHANT, PELTS = 102, 900


@pytest.mark.usefixtures("world")
def test_a_trade_is_whole_or_nothing_at_each_kill() -> None:
    add_character(MERCHANT, gold=10_000)
    add_item(HERO, "hp_pot_small", 901, quantity=10_000)
    add_item(MERCHANT, PELT, PELTS, quantity=10_000)

    for number, at in enumerate(every_crash([When.BEFORE, When.AFTER])):
        asked = Operation.read(_trade(f"trade-{number}"))
        before = world_now()
        connections.close_all()

        run = crash.run(_work(asked), at)

        is_applied = Row.objects.filter(pk=asked.op_id).exists()
        lines = LedgerLine.objects.filter(kind="operation").count()
        assert (world_now() != before) == is_applied, at
        assert lines == 2 * Row.objects.count(), at
        assert is_applied or not run.told, at
        # Whoever asked, asks again.
        answer = operate(asked, "engine")
        assert answer.duplicate == is_applied, at
        assert answer.characters[MERCHANT].gold == 10_000 - 3 * (number + 1)
        if not run.is_killed:
            break

    assert at.operation > 5
    assert reconcile().findings == []


def _work(asked: Operation) -> crash.Work:
    def work(tell: Tell) -> None:
        tell(str(operate(asked, "engine").id))

    return work


def _trade(op_id: str) -> dict[str, object]:
    return operation(
        op_id,
        "Trade",
        c101={
            "gold_gained": 3,
            "items_consumed": [{"inventory_id": 901, "qty": 2}],
            "items_gained": [{"item_template_id": PELT, "qty": 1}],
        },
        c102={
            "gold_gained": -3,
            "items_consumed": [{"inventory_id": PELTS, "qty": 1}],
            "items_gained": [{"item_template_id": "hp_pot_small", "qty": 2}],
        },
    )
