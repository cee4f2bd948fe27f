"""Export of a list: as it is filtered, by who may view it, a piece at a time."""

from __future__ import annotations

import csv
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any, cast

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext

from combat_history.actions import export
from combat_history.admin import export as export_views
from combat_history.models import AuditEntry, Status
from tests.support.admin import (
    LIST_URL,
    REASON,
    add_combat,
    add_failed,
    audit,
    body,
    logged_in,
    with_status,
)
from tests.support.documents import HERO
from tests.support.factories import add_character

URL = f"{LIST_URL}export/"
AUDIT_URL = "/admin/combat_history/auditentry/export/"
START = datetime(2026, 1, 1, tzinfo=UTC)


def asked(**over: str) -> dict[str, str]:
    return {"format": "jsonl", "reason": REASON, **over}


def exported(client: Client, query: str = "", url: str = URL) -> list[dict[str, Any]]:
    response = client.post(f"{url}{query}", asked())
    assert response.status_code == 200
    return [json.loads(line) for line in response.getvalue().splitlines()]


def ids(client: Client, query: str = "") -> list[str]:
    return [row["session_id"] for row in exported(client, query)]


def listed(client: Client, query: str) -> list[str]:
    rows = client.get(f"{LIST_URL}{query}").context["cl"].result_list
    return [str(row.pk) for row in rows]


@pytest.mark.parametrize("page", [1, 2, 500])
@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 8),
        ("?status=failed", 4),
        ("?status=pending", 2),
        ("?failure=poison", 3),
        ("?end=victory", 8),
        ("?finished_at__gte=2026-01-03T00:00:00Z", 1),
        ("?q=Hero", 8),
        ("?q=202&status=failed", 1),
        ("?q=nobody", 0),
        ("?failure=nonsense", 0),
    ],
)
def test_what_the_list_shows_is_what_is_exported_in_its_order(
    client: Client, monkeypatch: pytest.MonkeyPatch, page: int, query: str, count: int
) -> None:
    monkeypatch.setattr(export, "PAGE", page)
    add_character(HERO, name="Hero")
    for number in range(3):
        at = START + timedelta(days=number)
        add_failed("poison", finished_at=at, received_at=START)
    add_failed("shortage", finished_at=START, participant_ids=[HERO, 202])
    for status in (Status.PENDING, Status.PENDING, Status.PROCESSED, Status.VOIDED):
        with_status(status)

    found = ids(client, query)

    assert len(found) == count
    assert found == listed(client, query)


def test_an_older_page_is_exported_from_there_on(client: Client) -> None:
    made = [
        str(add_combat(finished_at=START + timedelta(days=number)).pk)
        for number in range(3)
    ]
    below = f"{(START + timedelta(days=1)).isoformat()}~{made[1]}".replace("+", "%2B")
    assert ids(client, f"?older={below}") == [made[0]]
    assert client.get(f"{URL}?older=nonsense").status_code == 400


def test_the_page_says_what_it_will_be_and_changes_nothing(client: Client) -> None:
    add_failed("poison")
    page = body(client, f"{LIST_URL}?failure=poison")
    assert f'href="{URL}?failure=poison"' in page
    page = body(client, f"{URL}?failure=poison")
    assert "<dt>failure</dt><dd>poison</dd>" in page
    for over in ({"reason": "short"}, {"format": "xml"}):
        response = client.post(URL, asked(**over))
        assert response.status_code == 200
        assert "errorlist" in response.content.decode()
    assert not AuditEntry.objects.exists()


def test_every_export_is_written_down(client: Client) -> None:
    response = client.post(f"{URL}?status=failed&q=7", asked(format="csv"))
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert "attachment" in response["Content-Disposition"]
    assert "no-store" in response["Cache-Control"]
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.target_id) == ("export", "combat_history")
    assert (entry.outcome, entry.reason) == ("done", REASON)
    filters = {"status": ["failed"], "q": ["7"]}
    assert entry.after == {"format": "csv", "filters": filters}


def test_the_audit_is_exported_as_it_is_filtered(client: Client) -> None:
    for name, outcome in (("=anna", "done"), ("boris", "denied")):
        AuditEntry.objects.create(
            actor_name=name, verb="void", target_type="combat", outcome=outcome
        )
    assert f'href="{AUDIT_URL}?"' in body(client, "/admin/combat_history/auditentry/")
    (row,) = exported(client, "?outcome__exact=denied", AUDIT_URL)
    assert row["actor_name"] == "boris"
    response = client.post(AUDIT_URL, asked(format="csv"))
    rows = list(csv.DictReader(StringIO(response.getvalue().decode())))
    # The newest first: the two exports themselves.
    assert [row["verb"] for row in rows] == ["export", "export", "void", "void"]
    assert rows[-1]["actor_name"] == "'=anna"


def may_export(user: User) -> None:
    found = Permission.objects.filter(codename__startswith="export_")
    user.user_permissions.add(*found)


def test_who_may_only_look_may_not_export(viewer: User) -> None:
    client = logged_in(viewer)
    assert "export/" not in body(client, LIST_URL)
    for url in (URL, AUDIT_URL):
        assert client.get(url).status_code == 403
        assert client.post(url, asked()).status_code == 403
    assert len(audit("combat_history")) == 1  # type: ignore[arg-type]
    may_export(viewer)
    assert "export/" in body(client, LIST_URL)


def test_who_may_not_view_may_not_export(viewer: User) -> None:
    may_export(viewer)
    viewer.user_permissions.remove(
        Permission.objects.get(codename="view_combathistory")
    )
    client = logged_in(viewer)
    add_failed()
    assert client.get(URL).status_code == 403
    assert client.post(URL, asked()).status_code == 403
    (line,) = audit("combat_history")  # type: ignore[arg-type]
    assert line == f"export denied: no permission; reason: {REASON}"
    assert client.post(AUDIT_URL, asked()).status_code == 200


def test_a_large_export_is_read_only_as_far_as_it_was_taken(
    operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under ASGI, where what is iterated over in step would be read whole."""
    monkeypatch.setattr(export, "PAGE", 10)
    monkeypatch.setattr(export_views, "CHUNK_CHARACTERS", 1)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO combat_history (session_id, participant_ids, finished_at, "
            "result_payload) SELECT gen_random_uuid(), '{7}', now() - number * "
            "interval '1 second', '{}' FROM generate_series(1, 500) number"
        )

    async def take(lines: int) -> tuple[int, int]:
        client = AsyncClient()
        await client.aforce_login(operator)
        response = cast("Any", await client.post(URL, asked(format="csv")))
        assert response.is_async
        parts: AsyncIterator[bytes] = aiter(response.streaming_content)
        before = await sync_to_async(len)(queries)
        for _ in range(lines):
            await anext(parts)
        few = await sync_to_async(len)(queries) - before
        rest = sum([1 async for part in parts if part])
        await sync_to_async(response.close)()
        return few, rest

    with CaptureQueriesContext(connection) as queries:
        few, rest = async_to_sync(take)(1 + 25)  # the heading first
    assert few == 2 * 3  # of each page the keys, then the rows
    assert rest == 500 - 25
