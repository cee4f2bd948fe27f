"""A rejected payload, put right by hand and handed over again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from pytest_django import Settings

from combat_history.actions.resubmit import AlreadyHandedOver, resubmit
from combat_history.models import (
    AuditEntry,
    Character,
    CombatHistory,
    RejectedPayload,
)
from persistence.contract.document import Document
from persistence.contract.ids import short_id
from persistence.engine.handoff import checked
from persistence.tasks import settle_combat, settle_inbox
from persistence.worker import inbox
from tests.support.admin import REASON, audit, body, logged_in, told, viewer
from tests.support.documents import HERO, make_document
from tests.support.ids import new_session_id
from tests.support.pages import text_of
from tests.support.parallel import in_threads

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


@contextmanager
def redis_away(settings: Settings) -> Iterator[None]:
    there = settings.REDIS_URL
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    _connect_anew()
    try:
        yield
    finally:
        settings.REDIS_URL = there
        _connect_anew()


def _connect_anew() -> None:
    for cached in (inbox.client, inbox.script):
        cached.cache_clear()


def list_page(client: Client) -> str:
    return text_of(body(client, "/admin/combat_history/rejectedpayload/"))


def renamed(document: Document) -> Document:
    return {**document, "session_id": str(new_session_id())}


def inbox_sessions() -> set[str]:
    return {str(entry.session_id) for entry in inbox.claim(10)[0]}


def test_what_was_handed_over_is_marked(
    client: Client, rejected: RejectedPayload, document: Document
) -> None:
    assert "by anna" not in list_page(client)

    client.post(url(rejected), sent(document, resubmit="1"))

    session = short_id(UUID(document["session_id"]))
    for page in (list_page(client), text_of(body(client, page_url(rejected)))):
        assert f"{session} by anna, " in page
    row = RejectedPayload.objects.get()
    assert str(row.handed_over_as) == document["session_id"]
    assert row.handed_over_at is not None


def test_a_second_session_for_the_same_payload_is_asked_about(
    client: Client, rejected: RejectedPayload, document: Document
) -> None:
    first, second = document, renamed(document)
    client.post(url(rejected), sent(first, resubmit="1"))
    settle_inbox()

    for button in ("check", "resubmit"):
        page = client.post(url(rejected), sent(second, **{button: "1"}))
        text = text_of(page.content.decode())
        assert f"handed over as combat {short_id(UUID(first['session_id']))}" in text
        assert "a second time" in text
    assert inbox_sessions() == set()
    assert AuditEntry.objects.count() == 1

    response = client.post(url(rejected), sent(second, resubmit="1", again="on"))

    assert told(response)[-1] == "The document is accepted: the workers settle it."
    assert inbox_sessions() == {second["session_id"]}
    entry = AuditEntry.objects.latest("id")
    assert entry.detail == (
        f"accepted: combat {second['session_id']}; "
        f"again, handed over as combat {first['session_id']} before"
    )


def test_another_row_of_the_same_fight_is_asked_about(
    client: Client, rejected: RejectedPayload, document: Document
) -> None:
    settle_combat({**document, "session_id": "another broken id"})
    other = RejectedPayload.objects.exclude(pk=rejected.pk).get()
    client.post(url(rejected), sent(document, resubmit="1"))

    page = client.post(url(other), sent(renamed(document), resubmit="1"))

    assert "a second time" in page.content.decode()
    assert inbox_sessions() == {document["session_id"]}
    assert "a second time" not in body(client, url(other))


def test_another_fight_of_another_row_is_not_asked_about(
    client: Client, rejected: RejectedPayload, document: Document
) -> None:
    client.post(url(rejected), sent(document, resubmit="1"))
    fight = make_document(note="another")
    settle_combat({**fight, "session_id": "another broken id"})
    other = RejectedPayload.objects.exclude(pk=rejected.pk).get()

    client.post(url(other), sent(fight, resubmit="1"))

    assert inbox_sessions() == {document["session_id"], fight["session_id"]}


@pytest.mark.parametrize("rows", ["one", "two"])
def test_two_at_once_accept_one_session(
    client: Client, rejected: RejectedPayload, document: Document, rows: str
) -> None:
    pks = [rejected.pk, rejected.pk]
    if rows == "two":
        settle_combat({**document, "session_id": "another broken id"})
        pks[1] = RejectedPayload.objects.latest("id").pk
    anna = User.objects.get(username="anna")
    texts = [json.dumps(renamed(document)) for _ in pks]

    results: list[str] = []

    def accept(pk: int, text: str) -> None:
        try:
            results.append(resubmit(pk, text, actor=anna, reason=REASON))
        except AlreadyHandedOver:
            results.append("asked")

    in_threads(*(partial(accept, pk, t) for pk, t in zip(pks, texts, strict=True)))

    assert sorted(results) == ["accepted", "asked"]
    assert len(inbox_sessions()) == 1


def test_an_answer_that_was_lost_asks_too(
    client: Client, rejected: RejectedPayload, document: Document, settings: Settings
) -> None:
    """Redis may have taken the document."""
    with redis_away(settings):
        client.post(url(rejected), sent(document, resubmit="1"))

    page = client.post(url(rejected), sent(renamed(document), resubmit="1"))
    assert "a second time" in page.content.decode()

    again = client.post(url(rejected), sent(document, resubmit="1"))
    assert told(again)[-1] == "The document is accepted: the workers settle it."


def test_what_another_document_conflicts_with_is_not_marked(
    client: Client, rejected: RejectedPayload, document: Document
) -> None:
    inbox.record(checked({**document, "note": "another"}))

    client.post(url(rejected), sent(document, resubmit="1"))

    assert RejectedPayload.objects.get(pk=rejected.pk).handed_over_at is None


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
    with redis_away(settings):
        response = client.post(url(rejected), sent(document, resubmit="1"))

    assert told(response)[0].startswith("It is not known whether Redis took it:")
    (line,) = audit(rejected.pk)
    assert line.startswith("resubmit failed: ConnectionError")


def test_a_payload_that_never_was_is_not_found(client: Client) -> None:
    assert (
        client.get("/admin/combat_history/rejectedpayload/999999/resubmit/").status_code
        == 404
    )
