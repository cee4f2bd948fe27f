"""Scripts that players and engines write into what the admin shows stay text."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.db.models import Value
from django.db.models.functions import Concat

from combat_history.models import (
    Character,
    CombatHistory,
    InventoryItem,
    ItemTemplate,
    ParkedOperation,
    RejectedPayload,
)
from tests.browser.conftest import Visit
from tests.conftest import Settle
from tests.support.admin import (
    LIST_URL,
    RECORDS,
    change_url,
    list_url,
    unknown_loot,
)
from tests.support.documents import (
    HERO,
    PELT,
    POTION,
    make_participant,
    op,
    sample_document,
)
from tests.support.operations import (
    queue,
    save,
)

POISON = "\"'></textarea></script><script>pwned=1</script><img src=/pwned>"
"""Gets out of an attribute, a text area and a script; fits into an item's id."""

READABLE = "<script>pwned=1</script>"


BY_OTHERS = (CombatHistory, ParkedOperation, RejectedPayload)
"""Each row of these has something else in it; of the others, one is like the next."""


def poison(value: Any) -> Any:
    """Every text of a fight log, keys included."""
    if isinstance(value, dict):
        return {POISON: POISON, **{key: poison(part) for key, part in value.items()}}
    if isinstance(value, list):
        return [poison(part) for part in value]
    return POISON if isinstance(value, str) else value


@pytest.fixture
def poisoned(settle_here: Settle) -> list[str]:
    """Everything that others may write, written by somebody bad; ids of the combats."""
    Character.objects.filter(pk=HERO).update(name=POISON, location=POISON)
    named = Concat("id", Value(POISON))
    ItemTemplate.objects.exclude(pk=PELT).update(name=named, name_en=named)
    InventoryItem.objects.filter(pk=POTION).update(slot=POISON[-40:])
    log = [
        {"turn": 1, "actor": "101", "target": POISON, "action": POISON, "amount": 3},
        {"turn": 2, "actor": POISON, "target": "101", "hp": {"101": 4, POISON: 9}},
        {POISON: POISON},
        POISON,
    ]
    settled = sample_document(replay_log=log, **{POISON: poison({"a": ["b"]})})
    hero = settled["participants"]["101"]
    hero |= {"name": POISON, "team": POISON}
    used = {"inventory_id": POTION, "item_template_id": POISON, "qty": 1}
    hero["changes"]["items_consumed"].append(used)
    settled["participants"][POISON] = {"name": POISON, "team": POISON}
    settled["meta"]["winner_team"] = POISON
    unknown = unknown_loot()
    changes = unknown["participants"]["101"]["changes"]
    changes["items_gained"][0]["item_template_id"] = POISON
    invalid = sample_document()
    invalid["participants"]["101"] = make_participant(**{POISON: POISON})
    settle_here(
        settled,
        unknown,
        invalid,
        {**settled, "extra": POISON},  # a conflict
        {"session_id": POISON},
    )
    queue(op(POISON, "unequip", inventory_id=999), op("o", POISON))
    save()
    return [doc["session_id"] for doc in (settled, unknown, invalid)]


def test_a_stored_script_stays_text(visit: Visit, poisoned: list[str]) -> None:
    admin = User.objects.create_superuser(f"mallory{READABLE}")
    visitor = visit(admin)
    settled, *failed = poisoned
    pages = ["/admin/", f"{LIST_URL}failures/", f"{LIST_URL}?q={quote(POISON[:40])}"]
    pages += [f"{LIST_URL}{settled}/{page}/" for page in ("fight-log", "undo")]
    for session_id in failed:
        pages += [
            f"{LIST_URL}{session_id}/{page}/" for page in ("preview", "correct", "void")
        ]
        pages.append(f"{LIST_URL}replay/?session_id={session_id}")
    for model in (*RECORDS, ItemTemplate):
        rows = model.objects.order_by("-pk")
        shown = rows if model in BY_OTHERS else rows[:1]
        pages += [list_url(model), *(change_url(row) for row in shown)]

    told = set()
    for path in pages:
        page = visitor.open(path)
        page.evaluate(
            "document.querySelectorAll('details').forEach(d => d.open = true)"
        )
        assert page.evaluate("window.pwned") is None, path
        assert page.locator("img[src='/pwned']").count() == 0, path
        if READABLE in page.locator("#content").inner_text():
            told.add(path)
    assert not [url for url in visitor.asked if url.endswith("/pwned")]
    hero = Character.objects.get(pk=HERO)
    assert told >= {
        *(f"{LIST_URL}{settled}/{page}/" for page in ("change", "fight-log")),
        f"{LIST_URL}{failed[0]}/preview/",
        change_url(hero),
        list_url(Character),
        list_url(ItemTemplate),
        list_url(ParkedOperation),
    }
