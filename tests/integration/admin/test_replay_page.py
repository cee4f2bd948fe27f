"""What the page of a combat tells while a replay waits, and after it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from combat_history.actions import void
from combat_history.actions.dry_run import dry_run
from combat_history.actions.replay import Terms, replay
from combat_history.models import Character, SettlementFailure
from persistence.tasks import settle_combat, settle_inbox
from tests.support.admin import REASON, body, logged_in, status, unknown_loot
from tests.support.documents import HERO
from tests.support.factories import add_template
from tests.support.pages import text_of

pytestmark = pytest.mark.usefixtures("world")

ADVICE = "Add the item template"


@pytest.fixture
def client() -> Client:
    return logged_in(User.objects.create_superuser("anna"))


@pytest.fixture
def failed() -> UUID:
    document = unknown_loot()
    settle_combat(document)
    return UUID(document["session_id"])


def actor() -> User:
    return User.objects.get(username="anna")


def url(session_id: UUID, page: str = "change") -> str:
    return f"/admin/combat_history/combathistory/{session_id}/{page}/"


def put_back(session_id: UUID, terms: Terms | None = None) -> None:
    replay([session_id], actor=actor(), reason=REASON, terms=terms or Terms())


def test_a_refusal_is_the_cause_and_the_older_one_stays_readable(
    client: Client, failed: UUID
) -> None:
    add_template("dragon_scale")
    seen = dry_run(failed, fail_on_shortage=True)
    assert seen.fingerprint is not None
    Character.objects.filter(pk=HERO).update(gold=7)
    put_back(failed, Terms("fail", {failed: seen.fingerprint}))
    settle_inbox()

    page = body(client, url(failed))

    text = text_of(page)
    assert "state moved (state_moved)" in text
    assert ADVICE not in text
    again = f'href="{url(failed, "preview")}?shortages=fail">Preview again<'
    assert again in page
    assert "Before that replay it had failed:" in text
    assert text.count("unknown item (unknown_item)") == 2  # there, and in the timeline
    listed = body(client, "/admin/combat_history/combathistory/?failure=state_moved")
    assert str(failed) in listed


def test_after_the_new_preview_the_combat_is_settled_and_all_is_told(
    client: Client, failed: UUID
) -> None:
    test_a_refusal_is_the_cause_and_the_older_one_stays_readable(client, failed)
    preview = body(client, f"{url(failed, 'preview')}?shortages=fail")
    assert "Replay exactly this" in preview

    put_back(failed)
    settle_inbox()

    text = text_of(body(client, url(failed)))
    assert "Preview again" not in text
    assert ADVICE not in text
    for failure in SettlementFailure.objects.all():
        assert f"failed {LABELS[failure.code]} ({failure.code})" in text
        assert failure.detail in text


LABELS = {"unknown_item": "unknown item", "state_moved": "state moved"}


def test_what_waits_shows_no_cause_and_asks_until_it_waits_no_longer(
    client: Client, failed: UUID
) -> None:
    add_template("dragon_scale")
    put_back(failed)

    page = body(client, url(failed))

    text = text_of(page)
    assert "In the queue" in text
    assert "Put back by anna at" in text
    assert "It failed before:" in text
    assert ADVICE not in text
    assert f'data-url="{url(failed, "status")}"' in page
    assert "pending.js" in page
    assert body(client, url(failed, "status")) == "pending"
    settle_inbox()
    assert body(client, url(failed, "status")) == "processed"
    page = body(client, url(failed))
    assert "In the queue" not in page
    assert "pending.js" not in page


def test_the_status_is_for_those_who_may_view_the_combat(failed: UUID) -> None:
    nobody = logged_in(User.objects.create_user("nobody", is_staff=True))

    assert nobody.get(url(failed, "status")).status_code == 403


def test_the_status_of_no_combat_is_not_found(client: Client) -> None:
    assert client.get(url(UUID(int=7), "status")).status_code == 404


@contextmanager
def settled_before_the_ledger_is_read() -> Iterator[threading.Event]:
    """By somebody else, in the middle of a page."""
    settled = threading.Event()

    def settle() -> None:
        settle_inbox()
        connection.close()
        settled.set()

    def in_between(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if '"settlement_ledger"' in sql and not settled.is_set():
            worker = threading.Thread(target=settle)
            worker.start()
            worker.join(20)
        return execute(sql, *rest)

    with connection.execute_wrapper(in_between):
        yield settled


def test_a_page_is_of_one_moment(client: Client, failed: UUID) -> None:
    """The combat is settled between two queries of the page."""
    add_template("dragon_scale")
    put_back(failed)

    with settled_before_the_ledger_is_read() as settled:
        text = text_of(body(client, url(failed)))

    assert settled.is_set()
    assert status(failed) == "processed"
    assert "In the queue" in text
    assert "Nothing: no balance and no item was touched." in text
    assert "replay requested queued" in text
    assert "0 → 10 (+10)" in text_of(body(client, url(failed)))


def test_what_was_given_up_tells_its_cause_without_advice(
    client: Client, failed: UUID
) -> None:
    void.void([failed], actor=actor(), reason=REASON)

    text = text_of(body(client, url(failed)))

    assert "unknown item (unknown_item)" in text
    assert ADVICE not in text


def test_the_page_of_a_player_is_of_one_moment_too(
    client: Client, failed: UUID
) -> None:
    add_template("dragon_scale")
    put_back(failed)
    page = f"/admin/combat_history/character/{HERO}/change/"

    with settled_before_the_ledger_is_read() as settled:
        text = text_of(body(client, page))

    assert settled.is_set()
    assert "10 (+10)" not in text
    assert "10 (+10)" in text_of(body(client, page))
