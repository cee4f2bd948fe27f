"""Who may look but not act: no buttons, and a request of their own is refused."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.contrib.auth.models import User

from combat_history.models import AuditEntry, CombatHistory
from tests.browser.conftest import Visit
from tests.conftest import Settle
from tests.support.admin import LIST_URL, REASON, unknown_loot
from tests.support.documents import HERO, sample_document
from tests.support.undoing import world_now

ACTIONS = re.compile(
    r"^(Replay(?! batches)|Retry|Correct|Void|Undo|Run|Save|Add|Delete|Write)"
)


def test_support_looks_and_cannot_act(
    visit: Visit, settle_here: Settle, member: Callable[[str], User]
) -> None:
    failed, settled = unknown_loot(), sample_document()
    settle_here(failed, settled)
    pages = [f"{LIST_URL}{doc['session_id']}" for doc in (failed, settled)]
    before = world_now()
    visitor = visit(member("Support"))
    visitor.forgive("status of 403")

    for path in (
        "/admin/",
        LIST_URL,
        f"{LIST_URL}failures/",
        f"{pages[0]}/change/",
        f"{pages[0]}/preview/",
        f"{pages[1]}/change/",
        f"/admin/combat_history/character/{HERO}/change/",
    ):
        page = visitor.open(path)
        place = page.locator("#content")
        links = place.get_by_role("link", name=ACTIONS)
        buttons = place.get_by_role("button", name=ACTIONS)
        assert links.or_(buttons).all_inner_texts() == [], path
        assert page.locator("select[name=action]").count() == 0

    visitor.open(f"{pages[0]}/change/")
    refused = {
        f"{pages[0]}/preview/": "replay",
        f"{pages[0]}/void/": "void",
        f"{pages[0]}/correct/": "correct",
        f"{pages[1]}/undo/": "compensate",
        f"{LIST_URL}replay/": "replay",
        f"{LIST_URL}replay/batch/": "replay",
        "/admin/combat_history/settlementcontrol/": "pause",
    }
    for path in refused:
        fields = {
            "reason": REASON,
            "session_id": failed["session_id"],
            "shortages": "record",
            "on_shortage": "record",
            "document": "{}",
            "apply": "yes",
            "mode": "paused",
            "confirmed": "on",
        }
        assert visitor.post(path, fields) == 403, path

    assert world_now() == before
    statuses = CombatHistory.objects.order_by("received_at")
    assert list(statuses.values_list("settlement_status", flat=True)) == [
        "failed",
        "processed",
    ]
    denied = AuditEntry.objects.order_by("id").values_list("verb", "outcome")
    assert list(denied) == [(verb, "denied") for verb in refused.values()]
