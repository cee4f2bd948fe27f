"""What operators come for: holding everything up, replaying many, taking data away."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from combat_history.models import CombatHistory
from settlement_project.celery import app
from tests.browser.conftest import Visit
from tests.conftest import Settle
from tests.support.admin import LIST_URL, REASON, unknown_loot
from tests.support.documents import make_document
from tests.support.factories import add_template
from tests.support.waiting import wait_until
from tests.support.worker import wait_idle

CONTROL_URL = "/admin/combat_history/settlementcontrol/"


def processed() -> int:
    return CombatHistory.objects.filter(settlement_status="processed").count()


@pytest.mark.usefixtures("worker")
def test_settlement_is_paused_and_resumed_by_an_operator(
    visit: Visit, member: Callable[[str], User]
) -> None:
    visitor = visit(member("Operator"))
    page = visitor.open("/admin/")
    visitor.press("Pause and resume settlement", within=page.locator("#content"))
    page.get_by_label("Reason").fill(REASON)
    visitor.press_in_vain("Pause")
    page.get_by_label("Yes, this is").check()
    visitor.press("Pause")
    visitor.open(LIST_URL)
    banner = page.locator(".settlement-banner")
    expect(banner).to_contain_text(REASON)
    app.send_task("settle_combat", args=[make_document()])
    wait_idle()
    assert processed() == 0

    visitor.press("Pause and resume settlement", within=banner)
    page.get_by_label("Reason").fill(REASON)
    page.get_by_label("Yes, this is").check()
    visitor.press("Resume")

    expect(banner).to_have_count(0)
    wait_until(lambda: processed() == 1, "what waited is settled")


@pytest.mark.usefixtures("worker")
def test_a_group_of_failures_is_replayed_in_the_background(
    visit: Visit, settle_here: Settle, member: Callable[[str], User]
) -> None:
    settle_here(*(unknown_loot(end_timestamp=1_735_460_000 + n) for n in range(3)))
    add_template("dragon_scale")
    visitor = visit(member("Operator"))
    page = visitor.open("/admin/")
    visitor.press("Failed settlements", within=page.locator("#content"))
    # Its name says as well which group.
    page.get_by_role("link", name="Replay this group").click()
    assert "3 combats have failed" in visitor.text()
    page.get_by_label("Reason").fill(REASON)
    visitor.press("Replay in the background")

    expect(page.locator("#combat-figures")).to_contain_text("3 of 3")
    wait_until(lambda: processed() == 3, "all are processed")


def test_a_filtered_list_is_taken_away_as_csv(
    visit: Visit, settle_here: Settle, game_admin: User, tmp_path: Path
) -> None:
    failed = unknown_loot()
    settle_here(failed, make_document())
    visitor = visit(game_admin)
    page = visitor.open(f"{LIST_URL}?status=failed")
    visitor.press("Export")
    page.get_by_label("Reason").fill(REASON)
    with page.expect_download() as download:
        page.locator(".submit-row").get_by_role("button", name="Export").click()

    download.value.save_as(tmp_path / "combats.csv")
    with (tmp_path / "combats.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["session_id"] for row in rows] == [failed["session_id"]]
