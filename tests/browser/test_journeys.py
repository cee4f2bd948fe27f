"""What game admins come for, from the log-in to the settled combat."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect
from pytest_django import Settings

from combat_history.models import Character, CombatHistory
from persistence.contract import redis_keys
from persistence.worker import inbox
from tests.browser.conftest import Visit
from tests.browser.visitor import Visitor
from tests.conftest import Settle
from tests.support.admin import LIST_URL, REASON, unknown_loot
from tests.support.documents import (
    HERO,
    POTION,
    make_document,
    make_participant,
    sample_document,
)
from tests.support.factories import add_character
from tests.support.undoing import world_now
from tests.support.waiting import wait_until

TURNS = [
    {"turn": 1, "actor": "101", "target": "wolf_1", "action": "attack", "amount": 40},
    {"turn": 2, "actor": "wolf_1", "target": "101", "action": "bite", "amount": 25},
    {"turn": 3, "actor": "101", "target": "wolf_1", "action": "skill", "amount": 30},
]


def fight() -> dict[str, Any]:
    """The sample against a wolf, told turn by turn."""
    health = [{"wolf_1": 30}, {"101": 450}, {"wolf_1": 0}]
    log = [{**turn, "hp": hp} for turn, hp in zip(TURNS, health, strict=True)]
    document = sample_document(replay_log=log)
    document["meta"]["end_timestamp"] = int(datetime.now(UTC).timestamp())
    document["participants"]["101"]["team"] = "blue"
    document["participants"]["wolf_1"] = {"name": "Волк", "team": "wild"}
    return document


def status(session_id: UUID | str) -> str:
    return CombatHistory.objects.get(pk=session_id).settlement_status


def give_reason(visitor: Visitor) -> None:
    visitor.page.get_by_label("Reason").fill(REASON)


def message(visitor: Visitor) -> str:
    return visitor.page.locator(".messagelist").inner_text()


def test_log_in_find_a_fight_and_watch_it(
    visit: Visit, settle_here: Settle, game_admin: User
) -> None:
    document = fight()
    add_character(202)
    of_another = make_document({"202": make_participant(xp_gained=1)})
    settle_here(document, of_another)
    visitor = visit()
    page = visitor.open("/admin/login/?next=/admin/")
    page.get_by_label("Username").fill("game-admin")
    page.get_by_label("Password").fill("game-admin")
    visitor.press("Log in")

    visitor.press("Combats", within=page.locator("#content-main"))
    assert page.locator("#result_list tbody tr").count() == 2
    for term in ("гер", str(HERO), document["session_id"].replace("-", "")):
        page.locator("#searchbar").fill(term)
        visitor.press("Search")
        assert page.locator("#result_list tbody tr").count() == 1
    visitor.follow(page.locator("#result_list tbody a").first)

    text = visitor.text()
    assert "Victory · winner: blue" in text
    assert "0 → 1250 (+1250)" in text
    assert "0 → 100 (+100)" in text
    assert "Small health potion" in text
    assert "5 → 3" in text
    assert "100 → 95" in text
    timeline = page.locator("section", has=page.get_by_role("heading", name="Timeline"))
    assert timeline.locator("tbody tr").count() >= 2

    visitor.press("Watch the fight")
    expect(page.locator("svg.combat-chart")).to_have_count(2)
    drawn = page.locator("svg.combat-chart polyline").last.bounding_box()
    assert drawn is not None
    assert drawn["width"] > 50
    assert "Герой attack Волк 40 Волк 30" in visitor.text()


def test_preview_fix_the_catalogue_replay_and_a_worker_settles(
    visit: Visit, settle: Settle, game_admin: User
) -> None:
    document = unknown_loot()
    settle(document)
    session_id = UUID(document["session_id"])
    # A ring within a second of another may be taken for answered; then beat drains.
    wait_until(lambda: not inbox.client().exists(redis_keys.DOORBELL), "it is silent")
    visitor = visit(game_admin)
    page = visitor.open("/admin/")
    visitor.press("unknown item")
    visitor.follow(page.locator("#result_list tbody a").first)
    assert "dragon_scale" in visitor.text()
    combat = page.url
    visitor.press("Preview")
    assert "It would fail: unknown item" in visitor.text()

    visitor.open("/admin/combat_history/itemtemplate/add/")
    page.locator("#id_id").fill("dragon_scale")
    page.locator("#id_name").fill("Чешуя дракона")
    visitor.press("Save")
    assert "was added successfully" in message(visitor)
    visitor.open(combat)
    visitor.press("Preview")
    assert "dragon_scale" in visitor.text()
    give_reason(visitor)
    visitor.press("Replay exactly this")

    assert "was put back into the queue" in message(visitor)
    wait_until(lambda: status(session_id) == "processed", "it is processed")
    page.reload()
    assert page.locator(".combat-summary .combat-badge").inner_text() == "settled"
    assert "0 → 10 (+10)" in visitor.text()
    assert REASON in visitor.text()
    hero = Character.objects.get(pk=HERO)
    assert (hero.xp, hero.gold) == (10, 5)


@pytest.mark.usefixtures("worker")
def test_a_shortage_is_replayed_on_terms_that_the_page_lists(
    visit: Visit, settle_here: Settle, game_admin: User, settings: Settings
) -> None:
    settings.SETTLEMENT_SHORTAGES = "fail"
    used = {"inventory_id": POTION, "item_template_id": "hp_pot_small", "qty": 7}
    part = make_participant(xp_gained=30, items_consumed=[used])
    document = make_document({str(HERO): part})
    settle_here(document)
    assert status(document["session_id"]) == "failed"
    visitor = visit(game_admin)
    page = visitor.open(f"{LIST_URL}{document['session_id']}/preview/?shortages=fail")
    assert "It would fail" in visitor.text()

    visitor.press("settle with what is there; record each shortage")
    assert f"#{POTION} 7 5" in visitor.text()
    give_reason(visitor)
    visitor.press("Replay exactly this")
    wait_until(lambda: status(document["session_id"]) == "processed", "it is processed")

    page.reload()
    assert "5 → 0" in visitor.text()
    lacks = page.locator("section", has=page.get_by_role("heading", name="Discrepan"))
    assert " ".join(lacks.locator("td").all_inner_texts()).endswith("7 5")


def test_a_failed_combat_is_voided(
    visit: Visit, settle_here: Settle, game_admin: User
) -> None:
    document = unknown_loot()
    settle_here(document)
    visitor = visit(game_admin)
    page = visitor.open(f"{LIST_URL}{document['session_id']}/change/")
    visitor.choose("Void")
    visitor.press_in_vain("Void this combat")
    assert status(document["session_id"]) == "failed"

    give_reason(visitor)
    visitor.press("Void this combat")

    assert "it will never be settled" in message(visitor)
    assert page.locator(".combat-summary .combat-badge").inner_text() == "voided"
    assert page.locator(".object-tools").get_by_text("Replay").count() == 0
    assert status(document["session_id"]) == "voided"


def test_a_settled_combat_is_undone_and_all_is_as_before(
    visit: Visit, settle_here: Settle, game_admin: User
) -> None:
    before = world_now()
    document = sample_document()
    settle_here(document)
    assert world_now() != before
    visitor = visit(game_admin)
    page = visitor.open(f"{LIST_URL}{document['session_id']}/change/")
    visitor.choose("Undo")
    text = visitor.text()
    assert "1250 → 0" in text
    assert "3 → 5" in text
    assert "durability 95 → 100" in text
    give_reason(visitor)
    visitor.press("Undo the combat")

    assert "undone by counter-lines" in message(visitor)
    assert "undone" in page.locator(".combat-summary").inner_text()
    assert "1250 → 0 (-1250)" in visitor.text()
    assert world_now() == before
    visitor.open(f"/admin/combat_history/character/{HERO}/change/")
    assert "1250 → 0 (-1250)" in visitor.text()
