"""Names of the greatest length wrap: what stands beside them stays where it is."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from combat_history.models import ItemTemplate
from tests.browser.conftest import Visit
from tests.conftest import Settle
from tests.support.admin import LIST_URL
from tests.support.documents import make_document, make_participant
from tests.support.factories import add_character

NAMES = {
    "no spaces": "W" * 200,
    "words": "Великий князь " * 14,
    "right to left": "شمس" * 66,
    "emoji": "🐉" * 200,
}

SPREAD = """
() => {
    const found = [];
    const screen = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth > screen + 1)
        found.push(`the page is ${document.documentElement.scrollWidth} px wide`);
    for (const table of document.querySelectorAll("#content table")) {
        const own = table.getBoundingClientRect();
        const least = parseFloat(getComputedStyle(table).minWidth) || 0;
        const room = Math.max(least, table.parentElement.clientWidth);
        const columns = table.rows[0] ? table.rows[0].cells.length : 1;
        const isNarrow = screen < 768 && !table.matches(".combat-wide");
        const allowed = isNarrow ? Math.max(room, columns * 11 * 16) : room;
        if (own.width > allowed + 2)
            found.push(`${table.tHead?.innerText} is ${own.width} of ${allowed} px`);
    }
    return found;
}
"""
"""What is wider than it may be, on this screen."""


def fight(char_ids: list[int], name: str) -> dict[str, Any]:
    part = make_participant(
        is_winner=True,
        xp_gained=10,
        gold_gained=5,
        items_gained=[{"item_template_id": "long", "qty": 1}],
    )
    named = {**part, "name": name[:200], "team": name[:100]}
    document = make_document({str(id_): named for id_ in char_ids})
    document["meta"]["winner_team"] = name[:100]
    document["participants"]["wolf"] = {"name": name[:200], "team": "wolves"}
    document["replay_log"] = [
        {"turn": 1, "actor": "wolf", "target": str(char_ids[0]), "action": name}
    ]
    return document


@pytest.fixture
def pages(settle_here: Settle) -> list[str]:
    """Every page that names somebody, of a player and a fight of each sort."""
    paths = [LIST_URL, "/admin/", f"{LIST_URL}failures/"]
    ItemTemplate.objects.create(id="long", name="Щ" * 200, name_en="W" * 200)
    for char_id, name in enumerate(NAMES.values(), 9001):
        add_character(char_id, name=name[:200], location=name[:100])
    ids = list(range(9001, 9001 + len(NAMES)))
    for char_id, name in enumerate(NAMES.values(), 9001):
        won = fight(ids, name)
        lost = fight([char_id], name)
        gained = lost["participants"][str(char_id)]["changes"]["items_gained"]
        gained[0]["item_template_id"] = "x" * 64
        settle_here(won, lost)
        paths += [
            f"/admin/combat_history/character/{char_id}/change/",
            f"/admin/combat_history/character/{char_id}/inventory/",
            *(f"{LIST_URL}{won['session_id']}/{page}/" for page in WON),
            *(f"{LIST_URL}{lost['session_id']}/{page}/" for page in LOST),
        ]
    lists = ("character", "inventoryitem", "ledgerline", "itemtemplate", "auditentry")
    return [*paths, *(f"/admin/combat_history/{name}/" for name in lists)]


WON = ("change", "undo", "fight-log")
LOST = ("change", "preview", "correct", "void")


def test_long_names_leave_the_other_columns_on_the_screen(
    visit: Visit, pages: list[str], game_admin: User
) -> None:
    visitor = visit(game_admin)
    spread: dict[str, list[str]] = {}
    for width in (1280, 390):
        visitor.page.set_viewport_size({"width": width, "height": 800})
        for path in pages:
            if found := visitor.open(path).evaluate(SPREAD):
                spread[f"{path} at {width}"] = found
    assert spread == {}
