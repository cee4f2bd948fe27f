"""Tokens of the API on their pages: the secret once, good at once, all in the audit."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from pytest_django import Settings

from combat_history.actions.sign_in import SIGNED_IN_AT
from combat_history.callers import digest_of
from combat_history.models import ApiToken, AuditEntry
from tests.support.admin import REASON, body, change_url, logged_in, told
from tests.support.pages import text_of

LIST = "/admin/combat_history/apitoken/"
SECRET = re.compile(r'id="secret">([^<]*)<')

pytestmark = pytest.mark.django_db(transaction=True)


def made(client: Client, **over: Any) -> Any:
    said = {"name": "bot-2", "scopes": ["results:read"], "reason": REASON, **over}
    return client.post(f"{LIST}make/", said)


def secret_in(response: Any) -> str:
    (found,) = SECRET.findall(response.content.decode())
    return str(found)


def audited() -> list[tuple[str, ...]]:
    entries = AuditEntry.objects.order_by("id")
    names = ("actor_name", "verb", "target_id", "outcome", "reason")
    return list(entries.values_list(*names))


def test_a_secret_is_shown_once_and_is_the_one_that_counts(client: Client) -> None:
    response = made(client, scopes=["results:read", "belts:reserve"])

    first = secret_in(response)
    assert "no-store" in response["Cache-Control"]
    token = ApiToken.objects.get()
    assert (token.name, token.digest) == ("bot-2", digest_of(first))
    assert token.scopes == ["belts:reserve", "results:read"]
    assert token.created_by == "operator"
    for url in (LIST, change_url(token), f"{LIST}make/"):
        assert first not in body(client, url)
    assert first not in str(client.cookies)
    with connection.cursor() as cursor:
        cursor.execute("SELECT s::text FROM django_session s")
        assert first not in str(cursor.fetchall())

    second = secret_in(client.post(f"{LIST}{token.pk}/rotate/", {"reason": REASON}))
    token.refresh_from_db()
    assert token.digest == digest_of(second) != digest_of(first)
    assert token.rotated_at is not None
    assert audited() == [
        ("operator", "make_token", "bot-2", "done", REASON),
        ("operator", "rotate_token", "bot-2", "done", REASON),
    ]


def test_a_list_says_who_made_it_what_it_may_and_whether_it_is_used(
    client: Client,
) -> None:
    made(client)
    row = text_of(body(client, LIST))
    assert "bot-2 results:read" in row
    assert "operator" in row

    token = ApiToken.objects.get()
    page = body(client, change_url(token))
    assert f"{LIST}{token.pk}/rotate/" in page
    assert token.digest not in page


def test_a_revoked_token_stays_and_can_be_neither_rotated_nor_made_again(
    client: Client,
) -> None:
    made(client)
    token = ApiToken.objects.get()
    page = f"{LIST}{token.pk}"

    response = client.post(f"{page}/revoke/", {"reason": REASON})

    assert (response.status_code, response["Location"]) == (302, LIST)
    assert told(response) == ["The token bot-2 is revoked."]
    assert f"{page}/rotate/" not in body(client, f"{page}/change/")
    for again in (client.post(f"{page}/rotate/", {"reason": REASON}), made(client)):
        assert told(again)[-1].startswith("Nothing was changed: there is ")
    assert [row[3] for row in audited()] == ["done", "done", "failed", "failed"]
    assert ApiToken.objects.get().revoked_at is not None


@pytest.mark.parametrize(
    "over",
    [
        *({"name": name} for name in ("Bot", "a\nb", "", "x" * 61)),
        *({"scopes": scopes} for scopes in ([], ["all"])),
        {"reason": "short"},
    ],
)
def test_what_is_not_said_well_is_asked_again(client: Client, over: Any) -> None:
    response = made(client, **over)
    assert response.status_code == 200
    assert "errorlist" in response.content.decode()
    assert not ApiToken.objects.exists()


def test_who_only_looks_is_offered_nothing(viewer: User) -> None:
    token = ApiToken.objects.create(name="bot", digest="x", scopes=["results:read"])
    client = logged_in(viewer)
    assert "make/" not in body(client, LIST)
    assert "rotate/" not in body(client, change_url(token))


def test_an_old_sign_in_makes_no_token(viewer: User, settings: Settings) -> None:
    viewer.user_permissions.add(Permission.objects.get(codename="manage_apitoken"))
    client = logged_in(viewer)
    session = client.session
    session[SIGNED_IN_AT] -= 2 * settings.SETTLEMENT_FRESH_SIGN_IN_SECONDS
    session.save()

    response = made(client)

    assert response.status_code == 302
    assert response["Location"].startswith("/admin/sign-in-again/")
    assert not ApiToken.objects.exists()
