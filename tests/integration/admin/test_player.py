"""A player's page: balances, belongings, fights, ledger, and why not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from combat_history.models import (
    Character,
    CombatHistory,
    InventoryItem,
    LedgerLine,
    ParkedOperation,
    SettlementDiscrepancy,
    Status,
)
from tests.conftest import Settle
from tests.support.admin import (
    add_combat,
    add_failed,
    body,
    change_url,
    count_queries,
    list_url,
    logged_in,
    with_status,
)
from tests.support.documents import (
    HERO,
    PELT,
    POTION,
    SAMPLE_END,
    make_document,
    make_participant,
    sample_document,
)
from tests.support.factories import add_character, add_item, add_template
from tests.support.ids import new_session_id
from tests.support.pages import text_of

SCRIPT = "<script>alert('x')</script>"
START = datetime.fromtimestamp(SAMPLE_END, UTC)
NOTHING = "Nothing was refused"


@pytest.fixture
def hero(db: None) -> Character:
    return add_character(HERO, name="Герой", gold=50, location="Замок")


def page_of(client: Client, hero: Character, query: str = "") -> str:
    return body(client, change_url(hero) + query)


def add_line(hero: Character, **over: Any) -> LedgerLine:
    values: dict[str, Any] = {"xp_delta": 1, "gold_delta": 2}
    values |= {"xp_after": 3, "gold_after": 4, "kind": "operation"}
    return LedgerLine.objects.create(character_id=hero.pk, **{**values, **over})


def test_a_player_is_found_by_id_and_by_name(client: Client, hero: Character) -> None:
    for term in (str(HERO), "герой"):
        page = body(client, list_url(Character), {"q": term})
        assert change_url(hero) in page


def test_a_fight_is_followed_through_the_page(
    client: Client, settle_here: Settle
) -> None:
    document = sample_document()
    settle_here(document)
    hero = Character.objects.get(pk=HERO)
    text = text_of(page_of(client, hero))
    assert "Gold 100 XP 1250 Health 450 Energy 20" in text
    assert "settled victory winner +1250 +100 consumed: Small health potion" in text
    assert "0 → 1250 (+1250) 0 → 100 (+100)" in text
    assert "opening balance — 0 0" in text
    assert "55 Small health potion (hp_pot_small) 3 belt_1 equipped" in text
    assert "Epic sword (sword_epic) 1 main_hand equipped 95 / 100" in text
    assert NOTHING in text
    combat = CombatHistory.objects.get()
    assert page_of(client, hero).count(f'href="{change_url(combat)}"') == 4


def test_belongings_tell_their_origin_and_their_fight(
    client: Client, hero: Character
) -> None:
    add_template("pelt")
    won, fight = new_session_id(), new_session_id()
    add_item(HERO, "pelt", 1, origin_session_id=won)
    add_item(HERO, "pelt", 2, origin_operation=f"inventory:{SCRIPT}")
    add_item(HERO, "pelt", 3)
    InventoryItem.objects.filter(pk=3).update(reserved_session_id=fight)
    page = page_of(client, hero)
    text = text_of(page)
    assert f"/combathistory/{won}/change/" in page
    assert "inventory:<script>" in text
    assert SCRIPT not in page
    assert "came with the character" in text
    assert f'href="/admin/combat_history/combathistory/?q={fight}"' in page


def test_properties_of_items_are_shown_wherever_the_item_is(
    client: Client, settle_here: Settle
) -> None:
    rolled = {"item_template_id": PELT, "qty": 1, "properties": {"affix": SCRIPT}}
    settle_here(make_document({str(HERO): make_participant(items_gained=[rolled])}))
    for row in (
        Character.objects.get(pk=HERO),
        CombatHistory.objects.get(),
        InventoryItem.objects.get(item_template_id=PELT),
    ):
        page = body(client, change_url(row))
        assert f'"affix": "{SCRIPT}"' in text_of(page)
        assert SCRIPT not in page


def test_every_refused_line_is_explained(client: Client, settle_here: Settle) -> None:
    part = make_participant(
        gold_gained=-70, items_consumed=[{"inventory_id": POTION, "qty": 9}]
    )
    lost = make_participant(items_gained=[{"item_template_id": "dragon", "qty": 3}])
    settle_here(make_document({str(HERO): part}), make_document({str(HERO): lost}))
    text = text_of(page_of(client, Character.objects.get(pk=HERO)))
    for told in (
        "too few pieces Fewer pieces were left than were consumed",
        "Small health potion (hp_pot_small) #55: wanted 9, applied 5",
        "penalty exceeds the purse",
        "wanted 70, applied 0",
        "unknown item Loot of this combat is not in the catalogue",
        "Add the item template with that id or name, then replay.",
        "+dragon ×3",
    ):
        assert told in text
    assert NOTHING not in text


@pytest.mark.parametrize("status", [Status.PENDING, Status.VOIDED, Status.FAILED])
def test_fights_without_effect_are_explained(
    client: Client, hero: Character, status: Status
) -> None:
    failure = {"failure_code": "poison"} if status is Status.FAILED else {}
    add_combat(settlement_status=status, **failure)
    told = {
        Status.PENDING: "The fight waits to be settled",
        Status.VOIDED: "will never be settled",
        Status.FAILED: "ended with the death of its worker",
    }
    assert told[status] in text_of(page_of(client, hero))


def test_undone_fights_are_explained(client: Client, hero: Character) -> None:
    combat = with_status(Status.PROCESSED)
    assert NOTHING in text_of(page_of(client, hero))
    CombatHistory.objects.filter(pk=combat.pk).update(compensated_at=START)
    text = text_of(page_of(client, hero))
    assert "What the fight gave and took was undone" in text
    assert "+10 XP, +5 gold" in text


def test_parked_operations_are_shown_and_explained(
    client: Client, hero: Character
) -> None:
    values = {"scope": "inventory", "character_id": HERO, "code": "slot_taken"}
    add = {"op": "equip", "note": SCRIPT}
    parked = ParkedOperation.objects.create(op_id=SCRIPT, operation=add, **values)
    done = {"resolved_at": START, "resolution": "applied"}
    ParkedOperation.objects.create(op_id="old", operation={}, **values, **done)
    page = page_of(client, hero)
    assert SCRIPT not in page
    assert change_url(parked) in page
    assert "old" not in text_of(page).split("Parked operations")[-1]
    assert NOTHING not in text_of(page)


def test_older_fights_and_lines_are_reached(client: Client, hero: Character) -> None:
    fights = [
        add_combat(finished_at=START + timedelta(seconds=n)).pk for n in range(45)
    ]
    lines = [add_line(hero).pk for _ in range(45)]
    seen: dict[str, list[Any]] = {"fights": [], "lines": []}
    for kind, parameter in (("fights", ""), ("lines", "")):
        query = parameter
        while True:
            context = client.get(change_url(hero) + query).context
            if kind == "fights":
                seen[kind] += [fight.link for fight in context["fights"]]
                rest = context["older_fights"]
                query = f"?{rest}"
            else:
                seen[kind] += [line.id for line in context["lines"]]
                rest = context["older_lines"]
                query = f"?ledger_below={rest}"
            if not rest:
                break
    assert len(seen["fights"]) == 45
    for link, pk in zip(seen["fights"], reversed(fights), strict=True):
        assert str(pk) in link
    opening = LedgerLine.objects.get(kind="opening").pk
    assert seen["lines"] == [*reversed(lines), opening]


@pytest.mark.parametrize(
    "query",
    ["?fights_below=x", "?ledger_below=-1", "?ledger_below=" + "9" * 30],
)
def test_a_forged_position_shows_the_newest(
    client: Client, hero: Character, query: str
) -> None:
    add_line(hero)
    assert len(client.get(change_url(hero) + query).context["lines"]) == 2


def test_a_page_costs_a_fixed_number_of_queries(
    client: Client, hero: Character
) -> None:
    add_template("pelt")

    def live() -> None:
        combat = add_failed()
        add_item(HERO, "pelt")
        add_line(hero)
        ParkedOperation.objects.create(
            scope="inventory",
            character_id=HERO,
            op_id=str(combat.pk),
            operation={"op": "unequip"},
            code="item_gone",
        )
        SettlementDiscrepancy.objects.create(
            session_id=combat.pk,
            character_id=HERO,
            code="item_gone",
            wanted=1,
            applied=0,
        )

    live()
    page_of(client, hero)
    few = count_queries(client, change_url(hero))
    for _ in range(60):
        live()
    assert count_queries(client, change_url(hero)) == few == 21


def test_nobody_sees_here_what_they_may_not_see_elsewhere(
    viewer: User, hero: Character
) -> None:
    add_template("pelt")
    add_item(HERO, "pelt", 777)
    combat = add_failed()
    line = add_line(hero)
    assert str(combat.pk) in page_of(logged_in(viewer), hero)
    for model in ("combathistory", "ledgerline", "inventoryitem", "parkedoperation"):
        viewer.user_permissions.remove(Permission.objects.get(codename=f"view_{model}"))
    page = page_of(logged_in(viewer), hero)
    assert str(combat.pk) not in page
    assert "777" not in page
    assert "Ledger" not in text_of(page)
    assert LedgerLine.objects.filter(pk=line.pk).exists()
    viewer.user_permissions.remove(Permission.objects.get(codename="view_character"))
    assert logged_in(viewer).get(change_url(hero)).status_code == 403


def test_a_document_of_any_shape_is_survived(client: Client, hero: Character) -> None:
    payloads: list[Any] = [
        [],
        "text",
        {"participants": []},
        {"participants": {"101": 5}},
    ]
    for payload in payloads:
        add_failed("invalid_payload", result_payload=payload)
    name = {"101": {"changes": {"items_gained": [{"item_template_id": SCRIPT}]}}}
    add_failed(SCRIPT, result_payload={"participants": name})
    page = page_of(client, hero)
    assert SCRIPT not in page
    assert page.count("&lt;script&gt;") >= 2
