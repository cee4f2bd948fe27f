"""Shortages: settled with what is there and recorded, or, by setting, failed."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django import Settings

from combat_history.models import (
    Character,
    CombatHistory,
    InventoryItem,
    LedgerLine,
    SettlementDiscrepancy,
)
from persistence.contract.document import Document
from tests.conftest import Settle
from tests.support.documents import HERO, POTION, SWORD, make_document, make_participant
from tests.support.factories import add_character, add_item, add_template

OTHERS_POTION = 77

SHORTAGES = [
    pytest.param(
        {"items_consumed": [{"inventory_id": 999, "qty": 2}]},
        ("item_gone", 999, None, 2, 0),
        id="row is gone",
    ),
    pytest.param(
        {"items_consumed": [{"inventory_id": OTHERS_POTION, "qty": 2}]},
        ("item_not_owned", OTHERS_POTION, None, 2, 0),
        id="row was traded away",
    ),
    pytest.param(
        {
            "items_consumed": [
                {"inventory_id": POTION, "item_template_id": "mp_pot", "qty": 2}
            ]
        },
        ("item_mismatch", POTION, "mp_pot", 2, 0),
        id="row is of another kind",
    ),
    pytest.param(
        {"items_consumed": [{"inventory_id": POTION, "qty": 7}]},
        ("item_shortage", POTION, "hp_pot_small", 7, 5),
        id="too few pieces",
    ),
    pytest.param(
        {"gold_gained": -50},
        ("gold_shortage", None, None, 50, 30),
        id="penalty exceeds the purse",
    ),
    pytest.param(
        {"durability_loss": {"item:axe": 5}},
        ("not_equipped", None, "axe", 5, 0),
        id="nothing of the kind equipped",
    ),
    pytest.param(
        {"durability_loss": {f"inventory:{OTHERS_POTION}": 5}},
        ("item_not_owned", OTHERS_POTION, None, 5, 0),
        id="worn row is another's",
    ),
    pytest.param(
        {"durability_loss": {f"inventory:{POTION}": 5}},
        ("no_durability", POTION, "hp_pot_small", 5, 0),
        id="worn row does not wear",
    ),
]


@pytest.fixture
def purse(world: None) -> None:
    """30 gold for the hero; another character with potions in a row of his own."""
    Character.objects.filter(pk=HERO).update(gold=30)
    add_character(102)
    add_item(102, "hp_pot_small", OTHERS_POTION, quantity=9)


def hero_fight(changes: dict[str, Any]) -> Document:
    return make_document({str(HERO): make_participant(xp_gained=40, **changes)})


@pytest.mark.parametrize(("changes", "expected"), SHORTAGES)
def test_shortage_is_recorded_and_the_rest_applied(
    purse: None, settle_here: Settle, changes: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    document = hero_fight(changes)

    settle_here(document)

    assert CombatHistory.objects.get().settlement_status == "processed"
    assert Character.objects.get(pk=HERO).xp == 40
    line = SettlementDiscrepancy.objects.get()
    assert (str(line.session_id), line.character_id) == (document["session_id"], HERO)
    assert expected == (
        line.code,
        line.inventory_id,
        line.item_template_id,
        line.wanted,
        line.applied,
    )
    assert InventoryItem.objects.get(pk=OTHERS_POTION).quantity == 9


def test_what_is_there_is_taken(purse: None, settle_here: Settle) -> None:
    settle_here(
        hero_fight(
            {
                "gold_gained": -50,
                "items_consumed": [{"inventory_id": POTION, "qty": 7}],
            }
        )
    )

    assert Character.objects.get(pk=HERO).gold == 0
    assert not InventoryItem.objects.filter(pk=POTION).exists()
    line = LedgerLine.objects.get(kind="settlement", character_id=HERO)
    assert (line.gold_delta, line.gold_after) == (-30, 0)
    assert [m["delta"] for m in line.items] == [-5]


@pytest.mark.parametrize(("changes", "expected"), SHORTAGES)
def test_shortage_fails_the_combat_where_the_setting_says_so(
    purse: None,
    settle_here: Settle,
    settings: Settings,
    changes: dict[str, Any],
    expected: tuple[Any, ...],
) -> None:
    settings.SETTLEMENT_SHORTAGES = "fail"

    settle_here(hero_fight(changes))

    row = CombatHistory.objects.get()
    assert (row.settlement_status, row.failure_code) == ("failed", "shortage")
    assert expected[0] in (row.failure_detail or "")
    hero = Character.objects.get(pk=HERO)
    assert (hero.xp, hero.gold) == (0, 30)
    assert InventoryItem.objects.get(pk=POTION).quantity == 5
    assert not SettlementDiscrepancy.objects.exists()
    assert not LedgerLine.objects.filter(kind="settlement").exists()


def test_no_shortage_passes_under_the_strict_setting(
    purse: None, settle_here: Settle, settings: Settings
) -> None:
    settings.SETTLEMENT_SHORTAGES = "fail"

    settle_here(
        hero_fight(
            {
                "gold_gained": -30,
                "items_consumed": [{"inventory_id": POTION, "qty": 5}],
                "durability_loss": {"item:sword_epic": 500},
            }
        )
    )

    assert CombatHistory.objects.get().settlement_status == "processed"
    assert InventoryItem.objects.get(pk=SWORD).durability == 0


def test_only_the_equipped_piece_of_the_lowest_id_wears(
    purse: None, settle_here: Settle
) -> None:
    add_template("axe", stackable=False, max_durability=50)
    wear = {"durability": 50, "max_durability": 50}
    for row_id, equipped in ((60, False), (61, True), (62, True)):
        add_item(HERO, "axe", row_id, is_equipped=equipped, **wear)
    add_item(102, "axe", 59, is_equipped=True, **wear)

    settle_here(hero_fight({"durability_loss": {"item:axe": 5, "inventory:60": 7}}))

    axes = InventoryItem.objects.filter(item_template_id="axe").order_by("id")
    assert list(axes.values_list("id", "durability")) == [
        (59, 50),
        (60, 43),
        (61, 45),
        (62, 50),
    ]
    assert not SettlementDiscrepancy.objects.exists()
