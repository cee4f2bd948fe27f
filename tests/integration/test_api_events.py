"""GET /api/events: keyset pages that miss nothing, whoever commits meanwhile."""

from __future__ import annotations

import json
import random
from http import HTTPStatus
from typing import Any

import psycopg
import pytest
from django.http import HttpResponse
from pytest_django import Settings

from persistence.contract.events import Event
from tests.integration.test_publishing import INSERT, write
from tests.support.api import get, problem
from tests.support.documents import hero_fight
from tests.support.happenings import all_events
from tests.support.worker import database_url

pytestmark = pytest.mark.usefixtures("world", "api")


def page(query: str = "") -> dict[str, Any]:
    response = get(f"/api/events{query}")
    assert response.status_code == HTTPStatus.OK, response.content
    told: dict[str, Any] = json.loads(response.content)
    return told


def items(told: dict[str, Any]) -> list[Event]:
    return [Event.model_validate(item) for item in told["items"]]


def test_a_page_tells_the_events_in_order(settle_here: Any) -> None:
    settle_here(*(hero_fight(gold_gained=gold) for gold in (5, -9, 7)))

    told = page()

    assert items(told) == all_events()
    assert len(told["items"]) == 4
    assert told["next"] is None
    assert told["horizon"] >= told["items"][-1]["id"]
    assert items(page(f"?after={told['horizon']}")) == []


def test_pages_follow_each_other() -> None:
    ids = [write(name=f"op-{number}") for number in range(5)]

    first: HttpResponse = get("/api/events?limit=2")
    told = json.loads(first.content)
    assert first["Link"] == f'<{told["next"]}>; rel="next"'
    seen = [event.id for event in items(told)]
    while told["next"]:
        told = json.loads(get(told["next"]).content)
        seen += [event.id for event in items(told)]

    assert seen == ids
    assert items(page(f"?after={ids[-1]}")) == []
    assert [event.id for event in items(page(f"?after={ids[2]}"))] == ids[3:]


def test_no_event_is_skipped_that_commits_late() -> None:
    """However transactions begin and end: whoever asks after the last id sees all."""
    dice = random.Random(5)
    seen: list[int] = []
    committed: set[int] = set()
    open_ones: list[tuple[psycopg.Connection[Any], int]] = []
    for turn in range(60):
        other = psycopg.connect(database_url())
        row = other.execute(INSERT, [f"op-{turn}"]).fetchone()
        assert row is not None
        open_ones.append((other, row[0]))
        while len(open_ones) > 4 or (turn == 59 and open_ones):
            connection, id_ = open_ones.pop(dice.randrange(len(open_ones)))
            if dice.random() < 0.8:
                connection.commit()
                committed.add(id_)
            connection.close()
            after = seen[-1] if seen else 0
            seen += [e.id for e in items(page(f"?after={after}&limit=3"))]
    while found := items(page(f"?after={seen[-1]}")):
        seen += [event.id for event in found]

    assert seen == sorted(committed)


def test_it_has_a_scope_of_its_own(settings: Settings) -> None:
    reader = "reads-results-alone"
    settings.SETTLEMENT_API_TOKENS = [f"reader=results:read={reader}"]
    response = get("/api/events", reader)
    told = problem(response, HTTPStatus.FORBIDDEN, "missing_scope")
    assert "events:read" in str(told.detail)


@pytest.mark.parametrize("query", ["after=-1", "after=x", "limit=0", "limit=501"])
def test_what_is_no_number_is_refused(query: str) -> None:
    problem(get(f"/api/events?{query}"), HTTPStatus.BAD_REQUEST, "bad_parameter")
