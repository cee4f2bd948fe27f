"""The pages of preview, correct and void, as an admin's browser sees them."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from combat_history.models import (
    AuditEntry,
    Character,
    CombatHistory,
    CombatRevision,
    InventoryItem,
    ReplayRequest,
)
from persistence.contract.document import Document
from persistence.tasks import settle_combat, settle_inbox
from tests.support.admin import (
    REASON,
    audit,
    body,
    logged_in,
    told,
    unknown_loot,
    viewer,
)
from tests.support.documents import HERO, PELT, POTION
from tests.support.factories import add_template
from tests.support.pages import text_of

pytestmark = pytest.mark.usefixtures("world")

PAGES = ["preview", "correct", "void"]


@pytest.fixture
def client() -> Client:
    """Of a game admin: every action, and nothing of the site's own users."""
    user = viewer("anna")
    user.user_permissions.add(
        *Permission.objects.filter(
            codename__in=["replay_combat", "correct_combat", "void_combat"]
        )
    )
    return logged_in(User.objects.get(pk=user.pk))


@pytest.fixture
def onlooker() -> Client:
    """Support: may look at everything and do nothing."""
    return logged_in(viewer("sam"))


@pytest.fixture
def document() -> Document:
    document = unknown_loot()
    document["participants"]["101"]["changes"]["items_consumed"] = [
        {"inventory_id": POTION, "qty": 9}
    ]
    return document


@pytest.fixture
def failed(document: Document) -> UUID:
    settle_combat(document)
    return UUID(document["session_id"])


def url(session_id: UUID, page: str) -> str:
    return f"/admin/combat_history/combathistory/{session_id}/{page}/"


def status(session_id: UUID) -> str:
    return CombatHistory.objects.get(pk=session_id).settlement_status


def hidden(page: str, name: str) -> str:
    (value,) = re.findall(rf'name="{name}" value="([^"]*)"', page)
    return str(value)


def test_a_preview_explains_what_would_fail(client: Client, failed: UUID) -> None:
    page = body(client, url(failed, "preview"))

    assert "It would fail" in page
    assert "dragon_scale" in page
    assert "Replay anyway" in page
    assert "Replay exactly this" not in page


@pytest.mark.parametrize("page", ["change", "preview"])
def test_a_missing_item_is_a_click_from_the_catalogue(failed: UUID, page: str) -> None:
    client = logged_in(User.objects.create_superuser("root"))
    link = "/admin/combat_history/itemtemplate/add/?id=dragon_scale"

    assert f'href="{link}"' in body(client, url(failed, page))

    assert 'value="dragon_scale"' in body(client, link)
    assert link not in body(logged_in(viewer("bert")), url(failed, page))
    add_template("dragon_scale")
    assert link not in body(client, url(failed, page))


def test_a_preview_shows_before_and_after_and_what_falls_short(
    client: Client, failed: UUID
) -> None:
    add_template("dragon_scale")

    text = text_of(body(client, url(failed, "preview")))

    assert "It would fail" not in text
    assert "1 thing falls short" in text
    assert f"(hp_pot_small) #{POTION} consumed · row removed 5 -5 0" in text
    assert f"Герой ({HERO}) before change after" in text
    strict = body(client, url(failed, "preview") + "?shortages=fail")
    assert "It would fail" in strict


def test_replaying_a_preview_runs_exactly_what_was_shown(
    client: Client, failed: UUID
) -> None:
    add_template("dragon_scale")
    page = body(client, url(failed, "preview"))
    data = {
        "reason": REASON,
        "shortages": hidden(page, "shortages"),
        "fingerprint": hidden(page, "fingerprint"),
    }

    response = client.post(url(failed, "preview"), data)

    assert told(response) == ["The combat was put back into the queue on these terms."]
    settle_inbox()
    assert status(failed) == "processed"
    request = ReplayRequest.objects.get()
    assert (request.state, request.shortages) == ("processed", "record")


def test_a_state_that_moved_after_the_preview_is_refused(
    client: Client, failed: UUID
) -> None:
    add_template("dragon_scale")
    page = body(client, url(failed, "preview"))
    InventoryItem.objects.filter(pk=POTION).update(quantity=99)

    client.post(
        url(failed, "preview"),
        {
            "reason": REASON,
            "shortages": "record",
            "fingerprint": hidden(page, "fingerprint"),
        },
    )
    settle_inbox()

    assert status(failed) == "failed"
    assert ReplayRequest.objects.get().state == "refused"


def test_a_correction_is_tried_then_written_and_replayed(
    client: Client, failed: UUID, document: Document
) -> None:
    page = body(client, url(failed, "correct"))
    assert "dragon_scale" in page
    changes = document["participants"]["101"]["changes"]
    changes["items_gained"] = [{"item_template_id": PELT, "qty": 3}]
    data = {"document": json.dumps(document), "reason": REASON}

    tried = client.post(url(failed, "correct"), {**data, "try": "1"})

    text = tried.content.decode()
    assert "items_gained[0].item_template_id" in text
    assert "It would fail" not in text
    assert not CombatRevision.objects.exists()
    response = client.post(url(failed, "correct"), {**data, "apply": "1"})
    assert told(response) == ["The correction is written and was put into the queue."]
    settle_inbox()
    assert status(failed) == "processed"
    assert CombatRevision.objects.get().author_name == "anna"
    assert InventoryItem.objects.get(item_template_id=PELT).quantity == 3


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"session_id": "x"}'])
def test_a_correction_that_is_no_document_says_what_is_wrong(
    client: Client, failed: UUID, text: str
) -> None:
    data = {"document": text, "reason": REASON, "apply": "1"}

    response = client.post(url(failed, "correct"), data)

    assert "errorlist" in response.content.decode()
    assert not CombatRevision.objects.exists()


@pytest.mark.parametrize("value", ["\ud800", "\0", float("nan")])
def test_a_correction_that_no_table_can_hold_is_refused(
    client: Client, failed: UUID, value: Any
) -> None:
    standing = CombatHistory.objects.get(pk=failed).result_payload
    document = json.dumps({**standing, f"note {value}": value})
    data = {"document": document, "apply": "1", "reason": REASON}

    response = client.post(url(failed, "correct"), data)

    assert "The document breaks the contract" in response.content.decode()
    assert not CombatRevision.objects.exists()


def as_text(document: Document) -> str:
    return json.dumps(document)


def as_floats(document: Document) -> str:
    changes = document["participants"]["101"]["changes"]
    changes["xp_gained"] = float(changes["xp_gained"])
    return json.dumps(document)


def in_another_order(document: Document) -> str:
    return json.dumps(dict(reversed(document.items())), indent=3)


@pytest.mark.parametrize("spelt", [as_text, as_floats, in_another_order])
@pytest.mark.parametrize("button", ["try", "apply"])
def test_a_correction_that_changes_nothing_is_refused(
    client: Client, failed: UUID, spelt: Callable[[Document], str], button: str
) -> None:
    text = spelt(CombatHistory.objects.get(pk=failed).result_payload)
    entries = AuditEntry.objects.count()
    data = {"document": text, "reason": REASON, button: "1"}

    page = client.post(url(failed, "correct"), data).content.decode()

    assert "Nothing to correct" in page
    assert 'name="apply"' not in page
    assert not CombatRevision.objects.exists()
    assert not ReplayRequest.objects.exists()
    assert AuditEntry.objects.count() == entries
    assert CombatHistory.objects.get(pk=failed).revision == 1


CHANGES = [
    ("5", 5, '"5"', "5"),
    (None, True, "null", "true"),
    (1, True, "1", "true"),
    ({"a": [None]}, "x", '"a": [', '"x"'),
    ("", 0, '""', "0"),
]


@pytest.mark.parametrize(("before", "after", "old", "new"), CHANGES)
def test_a_difference_shows_json_as_json(
    client: Client,
    document: Document,
    before: object,
    after: object,
    old: str,
    new: str,
) -> None:
    settle_combat({**document, "note": before})
    failed = UUID(document["session_id"])
    text = json.dumps({**document, "note": after})
    data = {"document": text, "reason": REASON}

    tried = client.post(url(failed, "correct"), {**data, "try": "1"})
    assert shown(tried.content.decode()) == [(old, new)]

    client.post(url(failed, "correct"), {**data, "apply": "1"})
    assert shown(body(client, url(failed, "change"))) == [(old, new)]
    entry = AuditEntry.objects.get(verb="correct")
    record = body(client, f"/admin/combat_history/auditentry/{entry.pk}/change/")
    assert f'"after": {new}' in html.unescape(record)


def test_what_is_not_there_is_told_from_null(
    client: Client, document: Document
) -> None:
    settle_combat({**document, "gone": None})
    failed = UUID(document["session_id"])
    data = {"document": json.dumps({**document, "new": None}), "reason": REASON}

    client.post(url(failed, "correct"), {**data, "apply": "1"})

    page = body(client, url(failed, "change"))
    assert shown(page) == [("null", "not there"), ("not there", "null")]


def shown(page: str) -> list[tuple[str, str]]:
    """The first line of each side of each difference."""
    sides = [
        [html.unescape(text) for text in re.findall(pattern, page, re.DOTALL)]
        for pattern in (r"<del>(.*?)</del>", r"<ins>(.*?)</ins>")
    ]
    first = [[_first_line(text) for text in side] for side in sides]
    return list(zip(*first, strict=True))


def _first_line(text: str) -> str:
    lines = re.sub(r"<[^>]*>", "", text).strip().splitlines()
    return lines[1].strip() if lines[0] == "{" else lines[0]


def test_a_correction_wants_a_reason(
    client: Client, failed: UUID, document: Document
) -> None:
    data = {"document": json.dumps(document), "reason": "short", "apply": "1"}

    client.post(url(failed, "correct"), data)

    assert not CombatRevision.objects.exists()


def test_a_combat_is_voided_for_good(client: Client, failed: UUID) -> None:
    assert "nobody can take that back" in body(client, url(failed, "void"))
    assert status(failed) == "failed"

    response = client.post(url(failed, "void"), {"reason": REASON})

    assert told(response) == ["The combat is voided: it will never be settled."]
    assert status(failed) == "voided"
    assert "only what is not settled" in body(client, url(failed, "void"))


@pytest.mark.parametrize("page", PAGES)
def test_a_get_changes_nothing(client: Client, failed: UUID, page: str) -> None:
    add_template("dragon_scale")

    body(client, url(failed, page))

    assert status(failed) == "failed"
    assert not AuditEntry.objects.exists()
    assert Character.objects.get(pk=HERO).xp == 0
    assert InventoryItem.objects.get(pk=POTION).quantity == 5


@pytest.mark.parametrize(
    ("page", "verb", "data"),
    [
        ("preview", "replay", {"shortages": "record"}),
        ("correct", "correct", {"document": "{}", "apply": "1"}),
        ("void", "void", {}),
    ],
)
def test_an_action_is_refused_without_its_permission_and_written_down(
    onlooker: Client, failed: UUID, page: str, verb: str, data: dict[str, str]
) -> None:
    response = onlooker.post(url(failed, page), {**data, "reason": REASON})

    assert response.status_code == 403
    assert status(failed) == "failed"
    assert audit(failed) == [f"{verb} denied: no permission; reason: {REASON}"]


def test_who_may_only_look_sees_the_preview_and_no_button(
    onlooker: Client, failed: UUID
) -> None:
    page = body(onlooker, url(failed, "preview"))

    assert "Replay exactly this" not in page
    assert onlooker.get(url(failed, "correct")).status_code == 403
    assert onlooker.get(url(failed, "void")).status_code == 403


def test_a_combat_offers_what_its_reader_may_do(
    client: Client, onlooker: Client, failed: UUID
) -> None:
    for page in PAGES:
        offered = f'href="{url(failed, page)}"'
        assert offered in body(client, url(failed, "change"))
        assert (offered in body(onlooker, url(failed, "change"))) == (page == "preview")


@pytest.mark.parametrize("page", PAGES)
def test_a_stranger_is_shown_the_login(failed: UUID, page: str) -> None:
    response = Client().get(url(failed, page))

    assert response.status_code == 302
    assert "/login/" in response["Location"]


@pytest.mark.parametrize("page", PAGES)
def test_a_combat_that_never_was_is_not_found(client: Client, page: str) -> None:
    never = UUID("0192f3a4-5b6c-7d8e-9f01-555666777888")

    assert client.get(url(never, page)).status_code == 404


def test_the_audit_is_found_by_target_and_by_user(client: Client, failed: UUID) -> None:
    client.post(url(failed, "void"), {"reason": REASON})
    auditor = User.objects.get(username="anna")
    auditor.user_permissions.add(Permission.objects.get(codename="view_auditentry"))
    pages = logged_in(User.objects.get(pk=auditor.pk))

    for term in (failed.hex, "anna"):
        page = body(pages, f"/admin/combat_history/auditentry/?q={term}")
        assert str(failed) in page
    entry = AuditEntry.objects.get()
    page = body(pages, f"/admin/combat_history/auditentry/{entry.pk}/change/")
    assert REASON in page
    assert entry.request_id in page
    history = f"/admin/combat_history/combathistory/{failed}/history/"
    assert pages.get(history)["Location"].endswith(f"?q={failed}")
