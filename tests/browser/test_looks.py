"""The main pages over a living world: readable in light and dark, Russian and English.

With `--pictures` they are photographed for the README.
"""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from playwright.sync_api import expect

from combat_history.actions.replay import AS_USUAL, announce, reopen
from combat_history.models import CombatHistory, MinuteCount
from persistence.savers.economy import roll_up
from persistence.tasks import settle_inbox
from tests.browser import living
from tests.browser.conftest import Visit
from tests.browser.pictures import Album
from tests.conftest import Settle
from tests.support.admin import LIST_URL, REASON, unknown_loot
from tests.support.documents import make_document
from tests.support.factories import add_template

WEAK_CONTRASTS = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")

BESIDE_THE_SCREEN = """
() => [...document.querySelectorAll("#container *")]
    .filter((part) => part.checkVisibility() && part.scrollWidth > part.clientWidth + 1)
    .filter((part) => ["auto", "scroll"].includes(getComputedStyle(part).overflowX))
    .filter((part) => !part.matches("pre, textarea"))
    .map((part) => part.outerHTML.slice(0, 80))
"""
"""What can be scrolled sideways."""


@pytest.fixture
def lived(settle_here: Settle) -> dict[str, str]:
    """The address of each main page."""
    living.live(settle_here)
    roll_up("0 seconds")
    history = CombatHistory.objects.order_by("-finished_at")
    won = history.filter(result_payload__meta__finish_reason="victory")
    settled = won.filter(participant_ids__len=2, settlement_status="processed")[0].pk
    failed = history.filter(failure_code="unknown_item")[0]
    (player, *_) = failed.participant_ids
    return {
        "dashboard": "/admin/",
        "combats": LIST_URL,
        "combat": f"{LIST_URL}{settled}/change/",
        "fight-log": f"{LIST_URL}{settled}/fight-log/",
        "failed": f"{LIST_URL}{failed.pk}/change/",
        "preview": f"{LIST_URL}{failed.pk}/preview/",
        "undo": f"{LIST_URL}{settled}/undo/",
        "failed-settlements": f"{LIST_URL}failures/",
        "economy": f"{LIST_URL}economy/",
        "player": f"/admin/combat_history/character/{player}/change/",
    }


def test_pages_are_readable_light_in_english_and_dark_in_russian(
    visit: Visit, lived: dict[str, str], game_admin: User, album: Album
) -> None:
    weak: dict[str, list[str]] = {}
    headings: dict[str, dict[str, list[str]]] = {"en": {}, "ru": {}}
    for language, scheme in (("en", "light"), ("ru", "dark")):
        visitor = visit(game_admin, locale=language, color_scheme=scheme)
        for name, path in lived.items():
            page = visitor.open(path)
            titles = page.locator("#content > h1, #content-main h2")
            headings[language][name] = titles.all_inner_texts()
            assert page.locator("html").get_attribute("lang") == language
            if found := page.evaluate(WEAK_CONTRASTS):
                weak[f"{name}, {scheme}"] = found
            album.take(page, f"{name}-{language}")
    assert weak == {}
    for name in lived:
        english, russian = headings["en"][name], headings["ru"][name]
        assert len(english) == len(russian) > 0
        assert not set(english) & set(russian), name


def test_a_combat_that_waits_is_shown_anew_once_it_is_settled(
    visit: Visit, settle_here: Settle, game_admin: User
) -> None:
    document = unknown_loot()
    settle_here(document)
    session_id = UUID(document["session_id"])
    add_template("dragon_scale")
    # As of a process that dies before it tells the inbox: no worker is faster.
    with transaction.atomic():
        reopen([session_id], game_admin, REASON, AS_USUAL)
    page = visit(game_admin).open(f"{LIST_URL}{session_id}/change/")
    expect(page.locator("#combat-pending")).to_be_visible()

    announce([session_id])
    settle_inbox()

    expect(page.locator("#combat-pending")).to_have_count(0)
    expect(page.locator(".combat-outcome")).to_contain_text("settled")


def test_what_failed_is_drawn_otherwise_than_what_went_well(
    visit: Visit, settle_here: Settle, game_admin: User
) -> None:
    settle_here(unknown_loot(), make_document())
    now = timezone.now().replace(second=0, microsecond=0)
    for outcome in ("processed", "failed", "conflict", "duplicate"):
        name = f"combat.{outcome}"
        MinuteCount.objects.create(minute=now, name=name, process="w:1", count=3)
    for scheme in ("light", "dark"):
        page = visit(game_admin, color_scheme=scheme).open("/admin/")
        bars = page.locator(".combat-bar rect")
        colours = bars.evaluate_all("all => all.map(bar => getComputedStyle(bar).fill)")
        failure, conflict, duplicate, failed, processed = colours
        assert failure == failed, scheme
        assert len({conflict, duplicate, failed, processed}) == 4, scheme


def test_the_dashboard_renews_itself(
    visit: Visit, settle_here: Settle, game_admin: User
) -> None:
    visitor = visit(game_admin)
    visitor.page.clock.install()
    page = visitor.open("/admin/")
    settled = page.locator(".combat-facts div", has_text="settled").first.locator("dd")
    expect(settled).to_have_text("0")
    expect(page.locator("svg.combat-chart")).to_have_count(3)
    settle_here(make_document())

    page.clock.run_for(6_000)

    expect(settled).to_have_text("1")
    assert page.locator(".combat-stale").is_hidden()
    assert visitor.page.url.endswith("/admin/")


def test_a_phone_shows_each_row_as_a_card_and_nothing_beside_the_screen(
    visit: Visit, lived: dict[str, str], game_admin: User
) -> None:
    visitor = visit(game_admin)
    visitor.page.set_viewport_size({"width": 390, "height": 800})
    for name in (
        "dashboard",
        "combat",
        "failed",
        "failed-settlements",
        "economy",
        "player",
    ):
        page = visitor.open(lived[name])
        wide = page.evaluate(BESIDE_THE_SCREEN)
        assert wide == [], name
    card = page.locator("#fights .combat-wide tbody tr").first
    expect(card.locator("td[data-label=Gold]")).to_be_visible()
