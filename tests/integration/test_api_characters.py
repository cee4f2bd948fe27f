"""A character over HTTP: its fights in keyset pages, and its belt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from pytest_django import DjangoAssertNumQueries

from combat_history.api.schemas import Belt, CombatPage
from combat_history.models import CombatHistory, CombatParticipant
from persistence.contract.document import Document
from tests.conftest import Settle
from tests.support.api import get, problem
from tests.support.documents import (
    HERO,
    POTION,
    SAMPLE_END,
    make_document,
    make_participant,
)
from tests.support.factories import add_character, add_item, add_template

pytestmark = pytest.mark.usefixtures("world", "api")


def pages_of(char_id: int, limit: int) -> Iterator[CombatPage]:
    path: str | None = f"/api/characters/{char_id}/combats?limit={limit}"
    while path is not None:
        response = get(path)
        assert response.status_code == HTTPStatus.OK, response.content
        page = CombatPage.model_validate_json(response.content)
        link = f'<{page.next}>; rel="next"' if page.next else None
        assert response.get("Link") == link
        yield page
        path = page.next


def fights(count: int, **over: Any) -> list[Document]:
    """Some of them at the same second: ties are broken by session id."""
    return [
        make_document(end_timestamp=SAMPLE_END + n // 3, **over) for n in range(count)
    ]


def newest_first(documents: list[Document]) -> list[UUID]:
    return [
        UUID(document["session_id"])
        for document in sorted(
            documents,
            key=lambda d: (d["meta"]["end_timestamp"], UUID(d["session_id"]).int),
            reverse=True,
        )
    ]


def test_pages_hold_every_fight_once_newest_first(settle_here: Settle) -> None:
    documents = fights(11)
    add_character(102)
    others = {"102": make_participant()}
    settle_here(*documents, make_document(others))

    pages = list(pages_of(HERO, 4))

    assert [len(page.items) for page in pages] == [4, 4, 3]
    listed = [entry.session_id for page in pages for entry in page.items]
    assert listed == newest_first(documents)
    assert {entry.credit for page in pages for entry in page.items} == {"credited"}


def test_times_are_told_apart_to_the_microsecond() -> None:
    """A row written with three columns has the database's own time."""
    documents = [make_document() for _ in range(5)]
    for number, document in enumerate(documents):
        finished_at = datetime(2026, 1, 1, 12, 0, 0, number, tzinfo=UTC)
        CombatHistory.objects.create(
            session_id=document["session_id"],
            participant_ids=[HERO],
            finished_at=finished_at,
            result_payload=document,
        )
        CombatParticipant.objects.create(
            character_id=HERO,
            finished_at=finished_at,
            session_id=document["session_id"],
        )

    listed = [entry for page in pages_of(HERO, 1) for entry in page.items]

    assert [entry.finished_at.microsecond for entry in listed] == [4, 3, 2, 1, 0]


def test_page_that_ends_with_the_last_fight_has_no_next(settle_here: Settle) -> None:
    settle_here(*fights(4))

    assert [len(page.items) for page in pages_of(HERO, 2)] == [2, 2]


def test_fights_recorded_meanwhile_move_no_other(settle_here: Settle) -> None:
    documents = fights(9)
    settle_here(*documents)
    listed: list[UUID] = []
    for number, page in enumerate(pages_of(HERO, 2)):
        listed += [entry.session_id for entry in page.items]
        settle_here(make_document(end_timestamp=SAMPLE_END + 1000 + number))

    assert listed == newest_first(documents)


def test_entry_tells_the_players_own_part(settle_here: Settle) -> None:
    parts = {
        "101": make_participant(gold_gained=7, team="red"),
        "102": make_participant(gold_gained=9, items_gained=[]),
    }
    document = make_document(parts)
    settle_here(document)  # fails: nobody knows 102

    (page,) = pages_of(HERO, 20)

    (entry,) = page.items
    assert entry.credit == "under_review"
    assert entry.finished_at == datetime.fromtimestamp(SAMPLE_END, UTC)
    assert entry.outcome is not None
    assert (entry.outcome.gold, entry.outcome.team) == (7, "red")


def test_fight_whose_document_is_unusable_is_listed_without_a_part(
    settle_here: Settle,
) -> None:
    text = json.dumps(make_document(note="?")).replace("?", "\\u0000")
    settle_here(text)
    settle_here(make_document({str(HERO): make_participant(xp_gained="many")}))

    (page,) = pages_of(HERO, 20)

    assert [entry.outcome for entry in page.items] == [None, None]


def test_player_without_fights_has_an_empty_page() -> None:
    (page,) = pages_of(424242, 20)

    assert (page.items, page.next) == ([], None)


def test_page_costs_two_queries(
    settle_here: Settle, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    settle_here(*fights(7))

    with django_assert_num_queries(2):
        get(f"/api/characters/{HERO}/combats?limit=5")


def test_page_is_read_from_the_players_own_key() -> None:
    """Whatever the others have fought: the key's range is all that is looked at."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO combat_participants (character_id, finished_at, session_id) "
            "SELECT i % 500, now() - i * interval '1 second', gen_random_uuid() "
            "FROM generate_series(1, 20000) i"
        )
        cursor.execute("ANALYZE combat_participants")
    last = CombatParticipant.objects.filter(character_id=7).order_by("finished_at")[20]

    plan = (
        CombatParticipant.objects.filter(
            character_id=7, pk__lt=(7, last.finished_at, last.session_id)
        )
        .order_by("-finished_at", "-session_id")[:3]
        .explain(analyze=True, costs=False, timing=False)
    )

    assert "Index Only Scan Backward" in plan or "Index Scan Backward" in plan, plan
    assert "Rows Removed by Filter" not in plan
    assert "Sort" not in plan


def test_belt_is_the_equipped_items_of_its_slots_in_their_order() -> None:
    add_template("bomb")
    for slot, row in {"belt_10": 60, "belt_2": 61}.items():
        add_item(HERO, "bomb", row, quantity=3, is_equipped=True, slot=slot)
    add_item(HERO, "bomb", 62, quantity=9, slot="belt_3")  # not equipped
    add_item(HERO, "bomb", 63, is_equipped=True, slot="belt_buckle")
    add_character(102)
    add_item(102, "bomb", 64, is_equipped=True, slot="belt_1")

    response = get(f"/api/characters/{HERO}/belt")

    assert response.status_code == HTTPStatus.OK
    assert json.loads(response.content) == {
        "character_id": HERO,
        "items": [
            {
                "inventory_id": POTION,
                "item_template_id": "hp_pot_small",
                "slot": "belt_1",
                "quantity": 5,
            },
            {
                "inventory_id": 61,
                "item_template_id": "bomb",
                "slot": "belt_2",
                "quantity": 3,
            },
            {
                "inventory_id": 60,
                "item_template_id": "bomb",
                "slot": "belt_10",
                "quantity": 3,
            },
        ],
    }


def test_belt_of_somebody_with_nothing_on_it_and_of_nobody() -> None:
    add_character(102)

    empty = Belt.model_validate_json(get("/api/characters/102/belt").content)
    assert empty.items == []
    problem(get("/api/characters/103/belt"), HTTPStatus.NOT_FOUND, "unknown_character")
