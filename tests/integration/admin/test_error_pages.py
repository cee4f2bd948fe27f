"""Refusals as pages: what is missing is named, and there is a way back."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from django.utils.translation import override

from combat_history.admin import error_pages
from tests.support.admin import LIST_URL, add_combat, body, change_url, logged_in
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db(transaction=True)

FAILURES = f"{LIST_URL}failures/"


@pytest.fixture
def guest(db: None) -> Client:
    return logged_in(User.objects.create_user("guest", is_staff=True))


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (FAILURES, "to view: combats (combat_history.view_combathistory)"),
        (LIST_URL, "to view: combats (combat_history.view_combathistory)"),
        (
            f"{LIST_URL}{UUID(int=1)}/void/",
            "Can void combats that are not settled (combat_history.void_combat)",
        ),
        (
            "/admin/combat_history/itemtemplate/add/",
            "combat_history.add_itemtemplate",
        ),
    ],
)
def test_the_missing_permission_is_named(guest: Client, path: str, told: str) -> None:
    response = guest.get(path, headers={"referer": "http://testserver/admin/"})
    assert response.status_code == 403
    page = response.content.decode()
    assert told in text_of(page)
    assert 'href="http://testserver/admin/">Go back' in page


def test_it_is_said_in_the_language_of_the_reader(guest: Client) -> None:
    page = guest.get(FAILURES, headers={"accept-language": "ru"}).content.decode()
    assert "Не хватает права: просматривать: бои" in text_of(page)


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        (f"{LIST_URL}{UUID(int=1)}/fight-log/", 404, "nothing at this address"),
        (f"{FAILURES}group/", 400, "a cause is expected"),
    ],
)
def test_other_refusals_have_pages_too(
    client: Client, path: str, status: int, told: str
) -> None:
    elsewhere = {"referer": "https://elsewhere.example/admin/"}
    response = client.get(path, headers=elsewhere)
    assert response.status_code == status
    page = response.content.decode()
    assert told in page
    assert "elsewhere.example" not in page
    assert 'href="/admin/">Go back' in page


def test_a_form_that_is_too_old_says_so(operator: User) -> None:
    client = Client(enforce_csrf_checks=True, headers={"accept-language": "en"})
    client.force_login(operator)
    response = client.post(f"{LIST_URL}replay/", {"reason": "x"})
    assert response.status_code == 403
    assert "The form is too old" in response.content.decode()


def test_what_broke_asks_no_database(
    rf: RequestFactory, django_assert_num_queries: object
) -> None:
    with override("en"), django_assert_num_queries(0):  # type: ignore[operator]
        response = error_pages.server_error(rf.get("/admin/"))
    assert response.status_code == 500
    assert "Something broke here" in response.content.decode()


def test_programs_are_answered_as_before(client: Client) -> None:
    assert client.get("/nowhere").content.count(b"combat-buttons") == 0


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("Asia/Tokyo", "21:00"),
        ("America/New_York", "07:00"),
        ("", "12:00"),
        ("../../etc/passwd", "12:00"),
        ("No/Where", "12:00"),
        ("x" * 5000, "12:00"),
    ],
)
def test_times_are_of_the_zone_that_the_browser_names(
    client: Client, zone: str, shown: str
) -> None:
    combat = add_combat(finished_at=datetime(2026, 1, 5, 12, tzinfo=UTC))
    client.cookies["timezone"] = zone
    page = body(client, change_url(combat))
    assert f"2026-01-05 {shown}:00" in page
    named = zone if shown != "12:00" else "UTC"
    assert f"Times are of {named}." in page
