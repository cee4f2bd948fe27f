"""What people come for most, in few clicks."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from combat_history.models import ItemTemplate, ReplayBatch
from tests.browser.conftest import Visit
from tests.support.admin import REASON
from tests.support.batches import add_many_failed, numbers, run

FAILURES = 40


@pytest.mark.usefixtures("world")
def test_all_failures_of_one_item_are_repaired_in_four(
    visit: Visit, game_admin: User
) -> None:
    add_many_failed(FAILURES)
    add_many_failed(1, "of nowhere")
    visitor = visit(game_admin)
    page = visitor.open("/admin/")
    assert "40 combats · 1 player waits · 200 gold · 400 XP" in visitor.text()

    visitor.press("Add it with this id: Unknown item: dragon_scale")
    page.locator("#id_name").fill("Чешуя дракона")
    visitor.press("Save")
    visitor.press("Replay this group")
    page.get_by_label("Reason").fill(REASON)
    visitor.press("Replay in the background")

    assert visitor.clicks == 4
    assert ItemTemplate.objects.filter(pk="dragon_scale").exists()
    assert numbers(run(ReplayBatch.objects.get())) == {"replayed": FAILURES}
    visitor.open("/admin/")
    assert "dragon_scale" not in visitor.text()
    assert "Unknown item: of nowhere" in visitor.text()
