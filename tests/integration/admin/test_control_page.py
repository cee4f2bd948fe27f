"""Pause, drain and resume on their page: who may, what is asked, what is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.test import Client

from combat_history.models import AuditEntry, SettlementControl
from persistence.worker import mode as settlement
from persistence.worker.mode import Mode
from tests.support.admin import REASON, body, logged_in, told
from tests.support.pages import text_of

URL = "/admin/combat_history/settlementcontrol/"

pytestmark = pytest.mark.usefixtures("world", "_forgotten")


@pytest.fixture
def _forgotten() -> Iterator[None]:
    """No test hears of the mode of another."""
    settlement.forget()
    yield
    settlement.forget()


def one_of(group: str) -> Client:
    call_command("create_groups", verbosity=0)
    user = User.objects.create_user(group, is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    return logged_in(user)


def say(client: Client, mode: str, **over: str) -> Any:
    data = {"mode": mode, "reason": REASON, "confirmed": "on", **over}
    return client.post(URL, data)


def audited() -> list[tuple[str, str, str, str]]:
    entries = AuditEntry.objects.order_by("id")
    return list(entries.values_list("actor_name", "verb", "outcome", "reason"))


def test_an_operator_drains_pauses_and_resumes_and_the_page_says_so() -> None:
    client = one_of("Operator")
    page = body(client, URL)
    assert "Settlement is running." in text_of(page)
    assert "It was never paused." in text_of(page)

    for mode, words in [
        ("draining", "Settlement is draining."),
        ("paused", "Settlement is paused."),
        ("running", "Settlement is running."),
    ]:
        response = say(client, mode)
        assert (response.status_code, response["Location"]) == (302, URL)
        assert told(response)[-1] == f"Settlement is now: {mode}."
        text = text_of(body(client, URL))
        assert words in text
        assert f"Who Operator Why {REASON}" in text
    assert audited() == [
        ("Operator", verb, "done", REASON) for verb in ("drain", "pause", "resume")
    ]


def test_a_page_that_is_opened_changes_nothing() -> None:
    client = one_of("Operator")
    client.get(URL, {"mode": "paused", "reason": REASON, "confirmed": "on"})
    assert client.head(URL).status_code == 200
    assert settlement.read().mode is Mode.RUNNING
    assert not SettlementControl.objects.exists()
    assert audited() == []


@pytest.mark.parametrize(
    "over", [{"reason": "short"}, {"confirmed": ""}, {"mode": "stopped"}, {"mode": ""}]
)
def test_what_is_not_said_in_full_is_asked_again(over: dict[str, str]) -> None:
    response = say(one_of("Operator"), **{"mode": "paused", **over})
    assert response.status_code == 200
    assert "errorlist" in response.content.decode()
    assert settlement.read().mode is Mode.RUNNING
    assert audited() == []


@pytest.mark.parametrize("group", ["Support", "Game admin"])
def test_who_may_not_sees_no_button_and_is_refused(group: str) -> None:
    client = one_of(group)
    page = body(client, URL)
    assert "You may not pause or resume settlement." in text_of(page)
    assert 'name="mode"' not in page
    assert say(client, "paused").status_code == 403
    # Not even with a form that nobody could send from the page.
    assert say(client, "nonsense", reason="").status_code == 403
    assert settlement.read().mode is Mode.RUNNING
    assert [(verb, outcome) for _, verb, outcome, _ in audited()] == [
        ("pause", "denied")
    ] * 2


def test_a_guest_is_shown_nothing() -> None:
    guest = logged_in(User.objects.create_user("guest", is_staff=True))
    assert guest.get(URL).status_code == 403
    assert Client().post(URL, {"mode": "paused"}).status_code == 302


def test_a_post_from_elsewhere_is_refused() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("boss"))
    assert say(client, "paused").status_code == 403
    assert settlement.read().mode is Mode.RUNNING


def test_the_same_mode_again_is_no_change_but_is_written_down() -> None:
    client = one_of("Operator")
    say(client, "paused")
    since = settlement.read().since
    response = say(client, "paused")
    assert "already" in told(response)[-1]
    assert settlement.read().since == since
    assert [outcome for _, _, outcome, _ in audited()] == ["done", "skipped"]


def test_the_page_is_found_from_the_first_page_and_from_the_banner() -> None:
    client = one_of("Operator")
    assert f'href="{URL}"' in body(client, "/admin/")
    elsewhere = "/admin/combat_history/character/"
    link = f'<a href="{URL}">Pause and resume settlement</a>'
    assert link not in body(client, elsewhere)
    say(client, "paused", reason="<script>alert(1)</script> a new disk")
    page = body(client, elsewhere)
    assert link in page
    assert "<script>alert(1)" not in page
    assert "<script>alert(1)" not in body(client, URL)
    guest = logged_in(User.objects.create_user("guest", is_staff=True))
    assert link not in body(guest, "/admin/")
