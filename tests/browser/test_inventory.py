"""A fight that fell short: its player is given what is missing, and it is replayed."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from combat_history.models import CombatHistory, InventoryItem
from tests.browser.conftest import Visit
from tests.conftest import Settle
from tests.support.admin import LIST_URL, REASON
from tests.support.documents import HERO, POTION, make_document, make_participant
from tests.support.operations import rows
from tests.support.reconciling import found
from tests.support.waiting import wait_until


@pytest.mark.usefixtures("worker")
def test_preview_correct_the_inventory_replay_and_a_worker_settles(
    visit: Visit, settle_here: Settle, game_admin: User, settings: Settings
) -> None:
    settings.SETTLEMENT_SHORTAGES = "fail"
    used = {"inventory_id": POTION, "item_template_id": "hp_pot_small", "qty": 7}
    part = make_participant(xp_gained=30, items_consumed=[used])
    document = make_document({str(HERO): part})
    settle_here(document)
    combat = f"{LIST_URL}{document['session_id']}/change/"
    preview = f"{LIST_URL}{document['session_id']}/preview/?shortages=fail"
    visitor = visit(game_admin)
    page = visitor.open(combat)
    assert "correct the inventory on the page of the player" in visitor.text()
    visitor.open(preview)
    assert "It would fail: shortage" in visitor.text()

    visitor.open(combat)
    visitor.follow(page.get_by_role("link", name="Герой", exact=True).first)
    visitor.follow(page.locator("#inventory").get_by_role("link", name=str(POTION)))
    page.get_by_label("Quantity").fill("2")
    visitor.press("Check")
    assert f"#{POTION}: 5 → 7" in visitor.text()
    visitor.press_in_vain("Correct the inventory")
    assert InventoryItem.objects.get(pk=POTION).quantity == 5
    page.get_by_label("Reason").fill(REASON)
    visitor.press("Correct the inventory")
    assert "The correction is queued" in page.locator(".messagelist").inner_text()
    wait_until(lambda: rows()[POTION][1] == 7, "a worker has applied it")
    page.reload()
    assert "given: Small health potion" in page.locator("#ledger").inner_text()

    visitor.open(preview)
    assert "It would fail" not in visitor.text()
    page.get_by_label("Reason").fill(REASON)
    visitor.press("Replay exactly this")
    session_id = UUID(document["session_id"])
    wait_until(lambda: _status(session_id) == "processed", "it is processed")
    page.reload()
    assert "7 → 0" in visitor.text()
    assert POTION not in rows()
    assert found() == {}


def _status(session_id: UUID) -> str:
    return CombatHistory.objects.get(pk=session_id).settlement_status
