"""The economy by day: exact against the ledger, whoever rolls it up and dies at it."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from combat_history.actions.operate import operate
from combat_history.insight import economy
from combat_history.insight.economy import Thing
from combat_history.models import (
    EconomyDay,
    EconomyEarner,
    EconomyProgress,
    LedgerLine,
)
from combat_history.reconcile.economy_check import ECONOMY_CHECKS
from persistence.contract.operate import Operation
from persistence.savers import economy as rolling
from persistence.savers.economy import roll_up
from tests.conftest import Settle
from tests.support.admin import LIST_URL, add_failed, body, count_queries, logged_in
from tests.support.documents import HERO, PELT, make_document, make_participant
from tests.support.factories import add_balance
from tests.support.operating import operation
from tests.support.pages import text_of
from tests.support.parallel import in_threads
from tests.support.undoing import permitted, undo

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = f"{LIST_URL}economy/"
NOW = "0 seconds"


def differences() -> int:
    (check,) = ECONOMY_CHECKS
    with connection.cursor() as cursor:
        return check.run(cursor, {}).count


def fight(gold: int, **changes: Any) -> dict[str, Any]:
    part = make_participant(xp_gained=10, gold_gained=gold, **changes)
    return make_document({str(HERO): part})


def told(thing: Thing) -> dict[str, tuple[int, int]]:
    return {m.name: (int(m.minted), int(m.sunk)) for m in economy.sources(thing)}


@pytest.fixture
def lived(settle_here: Settle) -> None:
    """Two fights, a fine, a purchase of the game, and the second fight undone."""
    add_balance("mana")
    pelts = {"items_gained": [{"item_template_id": PELT, "qty": 3}]}
    undone = fight(20)
    settle_here(fight(100, balances={"mana": 4}, **pelts), undone, fight(-30))
    bought = operation("buy", "Shop", c101={"gold_gained": -15})
    operate(Operation.read(bought), "engine")
    undo(UUID(undone["session_id"]), permitted())


def test_what_fights_operations_and_undoing_move_is_told_apart(lived: None) -> None:
    assert roll_up() == 0  # of the last minutes nothing is taken
    roll_up(NOW)

    gold = told(Thing("gold", ""))
    assert gold == {"victory": (120, 30), "undo": (0, 20), "operation": (0, 15)}
    assert told(Thing("xp", ""))["victory"] == (30, 0)
    assert told(Thing("item", PELT))["victory"] == (3, 0)
    assert told(Thing("balance", "mana")) == {"victory": (4, 0)}
    assert economy.series(Thing("gold", ""))[-1].net == 55
    assert EconomyEarner.objects.get(character_id=HERO).gold == 55
    assert differences() == 0


def test_chunk_by_chunk_and_by_several_at_once_each_line_is_counted_once(
    lived: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rolling, "LINES", 2)
    in_threads(*[partial(roll_up, NOW)] * 3)
    roll_up(NOW)

    newest = LedgerLine.objects.latest("id").pk
    assert EconomyProgress.objects.get().ledger_id == newest
    assert differences() == 0
    assert roll_up(NOW) == 0


def test_a_rollup_that_says_otherwise_than_the_ledger_is_found(lived: None) -> None:
    roll_up(NOW)
    row = EconomyDay.objects.filter(kind="gold", source="victory")
    row.update(minted=1)
    assert differences() == 1
    row.delete()
    assert differences() == 1


@pytest.fixture
def usual_weeks(db: None) -> None:
    today = economy.today()
    for ago in range(2, 20):
        EconomyDay.objects.create(
            kind="gold",
            subject="",
            day=today - timedelta(days=ago),
            source="victory",
            minted=100 + ago % 3,
            sunk=50,
        )


def test_more_than_usual_is_told(usual_weeks: None) -> None:
    today = economy.today()
    new = {"subject": "dragon", "source": "victory", "minted": 1, "sunk": 0}
    usual = {"kind": "gold", "subject": "", "source": "victory", "sunk": 0}
    EconomyDay.objects.create(kind="item", day=today, **new)
    EconomyDay.objects.create(day=today - timedelta(days=1), minted=110, **usual)
    EconomyDay.objects.create(day=today, minted=900, **usual)

    found = economy.anomalies()

    assert [(a.thing.kind, a.day) for a in found] == [("gold", today), ("item", today)]
    assert found[0].usual is not None
    assert 90 < found[0].usual < 130
    assert found[1].usual is None


def test_the_page_tells_a_thing_by_day_and_source_at_a_fixed_price(
    lived: None, usual_weeks: None
) -> None:
    client = logged_in(User.objects.create_superuser("boss"))
    add_failed("held_for_review", failure_subject="rule 7")
    roll_up(NOW)
    EconomyEarner.objects.update(day=economy.today() - timedelta(days=1))
    page = text_of(body(client, PAGE))

    assert "fights: victory" in page
    assert "operations of the game" in page
    assert "undone by admins" in page
    assert f"({HERO})" in page
    assert "rule 7" in page
    assert "never given before" in page
    of_pelts = body(client, PAGE, {"of": f"item:{PELT}"})
    assert "fights: victory 3 0 3" in text_of(of_pelts)
    for nonsense in ("nothing", "item:", "gold:1:2", "'"):
        body(client, PAGE, {"of": nonsense})
    few = count_queries(client, PAGE)
    for n in range(40):
        EconomyDay.objects.create(
            kind="item",
            subject=f"i{n}",
            day=economy.today(),
            source="x",
            minted=n,
            sunk=0,
        )
    assert count_queries(client, PAGE) == few == 13


def test_who_may_not_see_the_economy_is_refused(viewer: User) -> None:
    assert "/economy/" in body(logged_in(viewer), "/admin/")
    assert logged_in(viewer).get(PAGE).status_code == 200
    viewer.user_permissions.remove(
        viewer.user_permissions.get(codename="view_economyday")
    )
    stranger = logged_in(User.objects.get(pk=viewer.pk))
    assert stranger.get(PAGE).status_code == 403
    assert "/economy/" not in body(stranger, "/admin/")
    assert Client().get(PAGE).status_code == 302
