"""A rejected payload, put right by hand and handed over again."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from pytest_django import Settings

from combat_history.models import (
    AuditEntry,
    Character,
    CombatHistory,
    RejectedPayload,
)
from persistence import inbox
from persistence.document import Document
from persistence.tasks import settle_combat, settle_inbox
from tests.support.admin import REASON, audit, body, logged_in, told, viewer
from tests.support.factories import HERO, make_document

pytestmark = pytest.mark.usefixtures("world")


@pytest.fixture
def client() -> Client:
    user = viewer("anna")
    user.user_permissions.add(Permission.objects.get(codename="correct_combat"))
    return logged_in(User.objects.get(pk=user.pk))


@pytest.fixture
def document() -> Document:
    return make_document()


@pytest.fixture
def rejected(document: Document) -> RejectedPayload:
    """What the engine sent under an id that cannot be read."""
    settle_combat({**document, "session_id": "uuid-555-666"})
    return RejectedPayload.objects.get()


def page_url(row: RejectedPayload) -> str:
    return f"/admin/combat_history/rejectedpayload/{row.pk}/change/"


def url(row: RejectedPayload) -> str:
    return f"/admin/combat_history/rejectedpayload/{row.pk}/resubmit/"


def sent(document: object, **over: str) -> dict[str, str]:
    text = document if isinstance(document, str) else json.dumps(document)
    return {"document": text, "reason": REASON, **over}


def test_the_page_shows_what_came_and_what_is_wrong(
    client: Client, rejected: RejectedPayload
) -> None:
    assert url(rejected) in body(client, page_url(rejected))

    page = body(client, url(rejected))

    assert "uuid-555-666" in page
    assert "unusable session id" in page
    assert not AuditEntry.objects.exists()


def test_it_is_checked_then_resubmitted_and_settled(
    client: Client, rejected: RejectedPayload, document: Document
) -> None:
    checked = client.post(url(rejected), sent(document, check="1")).content.decode()
    assert "The document keeps the contract" in checked
    assert not AuditEntry.objects.exists()
    assert inbox.claim(10) == ([], False)

    response = client.post(url(rejected), sent(document, resubmit="1"))

    assert told(response) == ["The document is accepted: the workers settle it."]
    settle_inbox()
    session_id = UUID(document["session_id"])
    combat = CombatHistory.objects.get(pk=session_id)
    assert combat.settlement_status == "processed"
    assert Character.objects.get(pk=HERO).xp == 10
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.outcome, entry.reason) == ("resubmit", "done", REASON)
    assert entry.before == {"sha256": rejected.payload_sha256}
    assert entry.after == {
        "sha256": combat.payload_sha256,
        "session_id": str(session_id),
    }
    assert bytes(RejectedPayload.objects.get().raw or b"") == bytes(rejected.raw or b"")
    assert f"accepted: combat {session_id}" in body(client, url(rejected))


def test_a_second_click_settles_nothing_twice(
    client: Client, rejected: RejectedPayload, document: Document
) -> None:
    client.post(url(rejected), sent(document, resubmit="1"))

    again = client.post(url(rejected), sent(document, resubmit="1"))

    assert told(again)[-1] == "This very document was accepted before."
    settle_inbox()
    assert Character.objects.get(pk=HERO).xp == 10
    late = client.post(url(rejected), sent(document, resubmit="1"))
    assert "has a result, which stands" in late.content.decode()
    assert AuditEntry.objects.count() == 2


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "JSON"),
        ("no json", "JSON"),
        ("[]", "expected a JSON object"),
        ('{"session_id": "x"}', "session_id"),
    ],
)
def test_what_breaks_the_contract_is_not_handed_over(
    client: Client, rejected: RejectedPayload, text: str, fault: str
) -> None:
    page = client.post(url(rejected), sent(text, resubmit="1")).content.decode()

    assert "The document cannot be resubmitted:" in page
    assert fault in page
    assert not AuditEntry.objects.exists()


def test_a_conflict_is_not_resubmittable_for_its_session(
    client: Client, document: Document
) -> None:
    settle_combat(document)
    other = {**document, "note": "another"}
    settle_combat(other)
    settle_inbox()
    row = RejectedPayload.objects.get(code="payload_conflict")

    assert "nothing else is accepted for the same" in body(client, url(row))
    page = client.post(url(row), sent(other, resubmit="1")).content.decode()

    assert "has a result, which stands" in page
    assert not AuditEntry.objects.exists()


def test_a_short_reason_hands_nothing_over(
    client: Client, rejected: RejectedPayload, document: Document
) -> None:
    client.post(url(rejected), sent(document, resubmit="1", reason="short"))

    assert not AuditEntry.objects.exists()
    assert inbox.claim(10) == ([], False)


def test_without_the_permission_it_is_refused_and_written_down(
    rejected: RejectedPayload, document: Document
) -> None:
    sam = logged_in(viewer("sam"))
    assert "/resubmit/" not in body(sam, page_url(rejected))
    assert sam.get(url(rejected)).status_code == 403

    response = sam.post(url(rejected), sent(document, resubmit="1"))

    assert response.status_code == 403
    assert audit(rejected.pk) == [f"resubmit denied: no permission; reason: {REASON}"]
    assert inbox.claim(10) == ([], False)


def test_redis_away_is_told_and_written_down(
    client: Client,
    rejected: RejectedPayload,
    document: Document,
    settings: Settings,
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    for cached in (inbox.client, inbox.script):
        cached.cache_clear()
    try:
        response = client.post(url(rejected), sent(document, resubmit="1"))
    finally:
        for cached in (inbox.client, inbox.script):
            cached.cache_clear()

    assert told(response)[0].startswith("Nothing was changed:")
    (line,) = audit(rejected.pk)
    assert line.startswith("resubmit failed: ConnectionError")


def test_a_payload_that_never_was_is_not_found(client: Client) -> None:
    assert (
        client.get("/admin/combat_history/rejectedpayload/999999/resubmit/").status_code
        == 404
    )
