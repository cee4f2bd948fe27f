"""The history's list: names, finish reasons, ages, and orders that an index serves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from combat_history.admin.combats import filters
from combat_history.models import CombatHistory, Status
from tests.support.admin import (
    LIST_URL,
    add_combat,
    add_failed,
    body,
    count_queries,
    logged_in,
    shown_ids,
    with_status,
)
from tests.support.documents import HERO, SAMPLE_END, make_document
from tests.support.factories import add_character
from tests.support.ids import new_session_id
from tests.support.pages import text_of

START = datetime.fromtimestamp(SAMPLE_END, UTC)


def add_fights(count: int, reason: str = "victory", char_id: int = HERO) -> list[UUID]:
    """A second apart; the newest is the first of the answer."""
    fights = []
    for number in range(count):
        session_id = new_session_id()
        document = make_document(session_id=session_id)
        document["meta"]["finish_reason"] = reason
        add_combat(
            session_id=session_id,
            result_payload=document,
            finished_at=START + timedelta(seconds=number),
            participant_ids=[char_id],
        )
        fights.append(session_id)
    return fights[::-1]


def test_search_finds_the_combats_of_a_name(client: Client) -> None:
    add_character(7, name="Ратибор")
    add_character(8, name="Ратибор Хмурый")
    first, second, other = (add_combat(participant_ids=[pk]).pk for pk in (7, 8, 9))
    assert shown_ids(client, q="ратибор х") == {second}
    assert shown_ids(client, q="Рати") == {first, second}
    # A whole name means that character, however many begin with it.
    assert shown_ids(client, q="РАТИБОР") == {first}
    assert shown_ids(client, q="тибор") == set()
    assert other not in shown_ids(client, q="Р")


def test_search_by_name_treats_a_pattern_as_text(client: Client) -> None:
    add_character(7, name="Ратибор")
    add_combat(participant_ids=[7])
    for term in ("%", "_атибор", "Рати%", "\\"):
        assert shown_ids(client, q=term) == set()


def test_a_page_of_the_list_costs_a_fixed_number_of_queries(client: Client) -> None:
    add_character(HERO, name="Герой")
    add_fights(3)
    urls = {
        "": 6,
        "?q=Герой": 6,
        "?q=101": 5,
        "?status=failed": 5,
        "?status=undone": 5,
        "?failure=poison": 5,
        "?end=flee": 6,
    }
    body(client, LIST_URL)
    few = {url: count_queries(client, LIST_URL + url) for url in urls}
    add_fights(60)
    assert {url: count_queries(client, LIST_URL + url) for url in urls} == few
    assert few == urls


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("", "combat_history_newest"),
        ("?status=failed", "combat_history_failed"),
        ("?failure=poison", "combat_history_failed"),
        ("?status=pending", "combat_history_pending"),
        ("?status=voided", "combat_history_voided"),
        ("?status=undone", "combat_history_compensated"),
    ],
)
def test_every_order_is_that_of_an_index(
    client: Client, query: str, index: str
) -> None:
    """At most ties are left to be sorted."""
    add_failed("poison")
    with CaptureQueriesContext(connection) as queries:
        body(client, LIST_URL + query)
    (select,) = [q["sql"] for q in queries if '"participant_ids"' in q["sql"]]
    with connection.cursor() as cursor:
        # An empty table is read without an index unless that is forbidden.
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
        if query:
            cursor.execute("DROP INDEX combat_history_newest")
        cursor.execute(f"EXPLAIN {select}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert index in plan
    assert "Sort  (" not in plan.replace("Incremental Sort  (", "")


def test_finish_reasons_are_looked_for_among_the_newest(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("combat_history.admin.combats.history.REASON_WINDOW", 4)
    older = add_fights(3, "flee")
    newer = add_fights(3, "victory")
    shown = shown_ids(client, end="flee")
    everything = {*older, *newer}
    by_age = list(
        CombatHistory.objects.filter(pk__in=everything)
        .order_by("-finished_at", "-session_id")
        .values_list("pk", flat=True)
    )
    assert shown == set(by_age[:4]) & set(older)
    page = body(client, LIST_URL, {"end": "flee"})
    assert "looked through" in page
    older_url = client.get(LIST_URL, {"end": "flee"}).context["cl"].older_url
    rest = client.get(LIST_URL + older_url).context["cl"].result_list
    assert {row.pk for row in rest} == set(by_age[4:]) & set(older)


def test_abandoned_fights_are_found_within_a_status(client: Client) -> None:
    (abandoned,) = add_fights(1, "abandoned")
    add_fights(1, "victory")
    assert shown_ids(client, end="abandoned") == {abandoned}
    assert shown_ids(client, end="abandoned", status="pending") == {abandoned}
    assert shown_ids(client, end="abandoned", status="failed") == set()
    assert shown_ids(client, end="abandoned", q=str(HERO)) == {abandoned}


def test_older_combats_are_reached_by_position(client: Client) -> None:
    wanted = add_fights(120)
    found: list[UUID] = []
    url: str | None = LIST_URL
    while url is not None:
        response = client.get(url)
        cl = response.context["cl"]
        found += [row.pk for row in cl.result_list]
        url = None if cl.older_url is None else LIST_URL + cl.older_url
    assert found == wanted
    assert "older than" in text_of(response.content.decode())


def test_combats_of_one_moment_are_neither_skipped_nor_repeated(
    client: Client,
) -> None:
    wanted = {add_combat().pk for _ in range(75)}
    first = client.get(LIST_URL).context["cl"]
    second = client.get(LIST_URL + first.older_url).context["cl"]
    pages = [[row.pk for row in cl.result_list] for cl in (first, second)]
    assert [len(page) for page in pages] == [50, 25]
    assert {*pages[0], *pages[1]} == wanted


@pytest.mark.parametrize(
    "token", ["x", "~", "2026-01-01~x", "2026-01-01~AaH82tvPfOC46szobws1YA"]
)
def test_a_forged_position_is_left_out(client: Client, token: str) -> None:
    response = client.get(LIST_URL, {"older": token})
    assert response.status_code == 302
    assert client.get(response["Location"]).status_code == 200


@pytest.mark.parametrize("name", ["status", "failure", "end", "older", "q"])
@pytest.mark.parametrize("value", ["x" * 5000, "'", "'; --", "\ud83d\ude00"])
def test_nonsense_in_an_address_is_survived(
    client: Client, name: str, value: str
) -> None:
    add_failed()
    response = client.get(LIST_URL, {name: value.encode("utf-8", "surrogatepass")})
    assert response.status_code in (200, 302)
    if name in ("status", "failure", "end"):
        assert list(response.context["cl"].result_list) == []


def test_undone_combats_have_a_badge_and_a_filter(client: Client) -> None:
    undone = with_status(Status.PROCESSED)
    with_status(Status.PROCESSED)
    CombatHistory.objects.filter(pk=undone.pk).update(compensated_at=START)
    assert shown_ids(client, status="undone") == {undone.pk}
    badge = '<span class="combat-badge combat-undone">undone</span>'
    assert body(client, LIST_URL).count(badge) == 1
    assert body(client, f"{LIST_URL}{undone.pk}/change/").count(badge) == 1


def test_the_past_hour_is_a_choice(client: Client) -> None:
    recent = add_combat(finished_at=datetime.now(UTC) - timedelta(minutes=5)).pk
    add_combat(finished_at=datetime.now(UTC) - timedelta(hours=3))
    page = client.get(LIST_URL)
    (spec,) = [
        spec
        for spec in page.context["cl"].filter_specs
        if isinstance(spec, filters.FinishedFilter)
    ]
    (link,) = [
        choice["query_string"]
        for choice in spec.choices(page.context["cl"])
        if choice["display"] == "Past hour"
    ]
    found: Any = client.get(LIST_URL + link).context["cl"].result_list
    assert {row.pk for row in found} == {recent}


def test_a_viewer_reads_the_list(viewer: User) -> None:
    combat = add_combat()
    assert shown_ids(logged_in(viewer)) == {combat.pk}
