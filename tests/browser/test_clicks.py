"""What people come for most, in few clicks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from combat_history.models import ItemTemplate, ReplayBatch
from tests.browser.conftest import Visit
from tests.conftest import Settle
from tests.support.admin import REASON
from tests.support.batches import add_many_failed, numbers, run
from tests.support.documents import sample_document

FAILURES = 400


@pytest.mark.usefixtures("world")
def test_all_failures_of_one_item_are_repaired_in_four(
    visit: Visit, game_admin: User
) -> None:
    add_many_failed(FAILURES)
    add_many_failed(1, "of nowhere")
    visitor = visit(game_admin)
    page = visitor.open("/admin/")
    assert "400 combats · 1 player waits · 2000 gold · 4000 XP" in visitor.text()

    visitor.press("Add it with this id: Unknown item: dragon_scale")
    page.locator("#id_name").fill("Чешуя дракона")
    visitor.press("Save")
    visitor.press("Replay this group")
    assert "would settle 400 of them with a shortage 0 would fail 0" in visitor.text()
    page.get_by_label("Reason").fill(REASON)
    visitor.press("Replay in the background")

    assert visitor.clicks == 4
    assert ItemTemplate.objects.filter(pk="dragon_scale").exists()
    assert numbers(run(ReplayBatch.objects.get())) == {"replayed": FAILURES}
    visitor.open("/admin/")
    assert "dragon_scale" not in visitor.text()
    assert "Unknown item: of nowhere" in visitor.text()


@pytest.mark.usefixtures("world")
def test_support_finds_a_fight_by_time_and_opponent_and_its_text_in_three(
    visit: Visit, settle_here: Settle, member: Callable[[str], User]
) -> None:
    document = sample_document()
    document["participants"]["wolf_1"] = {"name": "Волк", "team": "wild"}
    settle_here(document)
    visitor = visit(member("Support"))
    page = visitor.open("/admin/")

    page.keyboard.press("/")
    page.keyboard.type("гер")
    visitor.enter()
    page.locator("#fights-since").fill("2001-01-01T14:00")
    page.locator("#fights-with").fill("волк")
    visitor.press("Show")
    (row,) = page.locator("#fights tbody tr").all()
    visitor.press("What to tell the player", within=row)

    assert visitor.clicks == 3
    expect(page.locator("#answer-ru")).to_contain_text("Награда: 100 золота")
    expect(page.locator("#answer-en")).to_contain_text("Reward: 100 gold")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
