"""Who comes in, how often it may be tried, and what an old sign-in no longer opens."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from pytest_django import Settings

from combat_history.actions import sign_in
from combat_history.models import AuditEntry, Status
from tests.support.admin import REASON, with_status
from tests.support.factories import add_character

LOGIN = "/admin/login/"
AGAIN = "/admin/sign-in-again/"
PASSWORD = "neither short nor common 7"

pytestmark = pytest.mark.django_db


@pytest.fixture
def anna() -> User:
    return User.objects.create_superuser("anna", password=PASSWORD)


def came_in(name: str, password: str, address: str = "10.0.0.1") -> bool:
    client = Client(REMOTE_ADDR=address)
    answer = client.post(LOGIN, {"username": name, "password": password})
    assert answer.status_code in (200, 302)
    return answer.status_code == 302


def entries(**filters: Any) -> list[tuple[str, str, str]]:
    rows = AuditEntry.objects.filter(**filters).order_by("id")
    return list(rows.values_list("actor_name", "verb", "target_id"))


def grown_old(client: Client, seconds: int) -> None:
    session = client.session
    session[sign_in.SIGNED_IN_AT] -= seconds
    session.save()


def test_a_failure_is_in_the_audit_and_holds_no_password(anna: User) -> None:
    assert not came_in("anna", "a password of somebody else")
    assert not came_in("no such user", PASSWORD)

    assert entries() == [
        ("nobody@10.0.0.1", "sign_in", "anna"),
        ("nobody@10.0.0.1", "sign_in", "no such user"),
    ]
    assert came_in("anna", PASSWORD)


def test_guessing_is_slowed_and_written_down_no_longer(anna: User) -> None:
    for _ in range(sign_in.MAX_OF_NAME):
        assert not came_in("anna", "wrong")

    assert not came_in("anna", PASSWORD)
    assert len(entries(verb="sign_in")) == sign_in.MAX_OF_NAME
    # Others, and she herself from elsewhere, come in all the same.
    assert came_in("anna", PASSWORD, "10.0.0.2")


def test_an_address_may_not_try_every_name(
    anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_in, "MAX_OF_ADDRESS", 3)
    for name in ("boris", "vera", "gleb"):
        assert not came_in(name, "wrong")

    assert not came_in("anna", PASSWORD)
    assert came_in("anna", PASSWORD, "10.0.0.2")


def test_an_old_failure_counts_no_longer(anna: User) -> None:
    for _ in range(sign_in.MAX_OF_NAME):
        came_in("anna", "wrong")
    monday = AuditEntry.objects.latest("id").at - sign_in.WINDOW
    AuditEntry.objects.bulk_create(
        AuditEntry(
            actor_name="nobody@10.0.0.9",
            verb=sign_in.VERB,
            target_type="user",
            target_id="anna",
            outcome="failed",
            at=monday,
        )
        for _ in range(sign_in.MAX_OF_NAME)
    )

    assert came_in("anna", PASSWORD, "10.0.0.9")


def test_a_session_ends_eight_hours_after_its_sign_in(anna: User) -> None:
    client = Client()
    client.post(LOGIN, {"username": "anna", "password": PASSWORD})
    ends = client.session.get_expiry_date()

    time.sleep(0.01)
    session = client.session
    session["anything"] = 1
    session.save()

    assert client.session.get_expiry_date() == ends
    assert 8 * 3600 - 60 < client.session.get_expiry_age() <= 8 * 3600


def guarded(anna: User) -> dict[str, str]:
    combat = with_status(Status.PROCESSED)
    add_character(7)
    group = Group.objects.create(name="Support")
    return {
        "undo": f"/admin/combat_history/combathistory/{combat.pk}/undo/",
        "inventory": "/admin/combat_history/character/7/inventory/",
        "pause": "/admin/combat_history/settlementcontrol/",
        "user": f"/admin/auth/user/{anna.pk}/change/",
        "new user": "/admin/auth/user/add/",
        "password": f"/admin/auth/user/{anna.pk}/password/",
        "group": f"/admin/auth/group/{group.pk}/delete/",
    }


def test_what_cannot_be_taken_back_asks_for_the_password_again(
    transactional_db: None, anna: User, settings: Settings
) -> None:
    client = Client()
    client.force_login(anna)
    pages = guarded(anna)
    for url in pages.values():
        assert client.get(url).status_code == 200, url
    grown_old(client, settings.SETTLEMENT_FRESH_SIGN_IN_SECONDS + 1)

    for url in pages.values():
        asked = client.get(url)
        assert asked.headers.get("Location", "").startswith(f"{AGAIN}?next="), url
    # A form that was opened in time may still be sent, and lists only show.
    assert client.post(pages["pause"]).status_code == 200
    assert client.get("/admin/auth/user/").status_code == 200
    assert client.get("/admin/combat_history/combathistory/").status_code == 200
    grown_old(client, settings.SETTLEMENT_FRESH_SIGN_IN_SECONDS)
    for url in (*pages.values(), "/admin/auth/user/"):
        assert client.post(url, {"reason": REASON})["Location"].startswith(AGAIN), url
    assert entries() == []


def test_the_password_once_more_leads_back(anna: User, settings: Settings) -> None:
    client = Client(headers={"accept-language": "en"})
    client.force_login(anna)
    grown_old(client, settings.SETTLEMENT_FRESH_SIGN_IN_SECONDS + 1)
    url = "/admin/combat_history/settlementcontrol/"
    again = client.get(url)["Location"]

    page = client.get(again).content.decode()
    assert "Give your password once more" in page
    assert 'value="anna"' in page
    assert "not authorized" not in page
    assert (
        client.post(again, {"username": "anna", "password": "wrong"}).status_code == 200
    )
    done = client.post(again, {"username": "anna", "password": PASSWORD, "next": url})

    assert done["Location"] == url
    assert client.get(url).status_code == 200


def test_who_may_only_look_is_asked_for_nothing(
    settings: Settings, viewer: User
) -> None:
    client = Client()
    client.force_login(viewer)
    grown_old(client, 10 * settings.SETTLEMENT_FRESH_SIGN_IN_SECONDS)

    assert client.get("/admin/combat_history/settlementcontrol/").status_code == 200


def test_a_password_that_anybody_guesses_is_refused(anna: User) -> None:
    client = Client(headers={"accept-language": "en"})
    client.force_login(anna)
    for password in ("1", "password1234", "123456789012345", "boris-boris-boris"):
        sent = {"username": "boris-boris", "password1": password}
        sent |= {"password2": password, "usable_password": "true"}
        page = client.post("/admin/auth/user/add/", sent).content.decode()
        assert "errorlist" in page, password


def test_every_change_of_a_user_is_in_the_audit(anna: User) -> None:
    client = Client()
    client.force_login(anna)
    new = {"username": "boris", "password1": PASSWORD, "password2": PASSWORD}
    client.post("/admin/auth/user/add/", {**new, "usable_password": "true"})
    boris = User.objects.get(username="boris")
    group = Group.objects.create(name="Operator")
    permission = Permission.objects.get(codename="control_settlement")
    dates = {"date_joined_0": "2026-01-01", "date_joined_1": "10:00:00"}
    changed = {"username": "boris", "is_staff": "on", "is_active": "on", **dates}
    client.post(
        f"/admin/auth/user/{boris.pk}/change/", {**changed, "groups": [group.pk]}
    )
    client.post(
        f"/admin/auth/group/{group.pk}/change/",
        {"name": "Operator", "permissions": [permission.pk]},
    )
    client.post(f"/admin/auth/user/{boris.pk}/delete/", {"post": "yes"})

    written = AuditEntry.objects.order_by("id")
    assert {entry.actor_name for entry in written} == {"anna"}
    told = [(entry.verb, entry.target_type, entry.target_id) for entry in written]
    assert told == [
        ("add", "user", "boris"),
        ("change", "user", "boris"),
        ("change", "user", "boris"),
        ("change", "group", "Operator"),
        ("delete", "user", "boris"),
    ]
    added, changed, joined, allowed, _ = [entry.after or {} for entry in written]
    assert added["password"] == "***"
    assert changed["is_staff"] is True
    assert joined == {"groups added": ["Operator"]}
    assert "pause" in str(allowed) or "control" in str(allowed)
    assert PASSWORD not in str([entry.after for entry in written])
