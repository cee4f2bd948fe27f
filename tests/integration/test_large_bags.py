"""Undo and preview cost what the fight moves, however much else lies in the bags."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from combat_history.actions.undo import preview_undo
from combat_history.models import Character, InventoryItem
from tests.conftest import Settle
from tests.support.admin import LIST_URL, REASON, body, logged_in, unknown_loot
from tests.support.documents import HERO, make_document, make_participant
from tests.support.factories import add_template

KINDS, EACH = 4, 50
BAG = 3_000


@pytest.fixture
def pieces(world: None) -> list[dict[str, Any]]:
    """Loot of two hundred rows."""
    for n in range(KINDS):
        add_template(f"piece{n}", stackable=False)
    return [{"item_template_id": f"piece{n}", "qty": EACH} for n in range(KINDS)]


def fill_bag(rows: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO inventory (character_id, item_template_id, quantity,"
            " is_equipped) SELECT %s, 'piece' || (n %% %s), 1, false"
            " FROM generate_series(1, %s) n",
            [HERO, KINDS, rows],
        )


@contextmanager
def rows_read() -> Iterator[list[int]]:
    """How many rows each statement gives back."""
    counts: list[int] = []

    class Counting(connection.connection.cursor_factory):  # type: ignore[name-defined,misc]
        def execute(self, *args: Any, **kwargs: Any) -> Any:
            done = super().execute(*args, **kwargs)
            counts.append(max(0, self.rowcount))
            return done

    usual = connection.connection.cursor_factory
    connection.connection.cursor_factory = Counting
    try:
        yield counts
    finally:
        connection.connection.cursor_factory = usual


def most_read(client: Client, url: str) -> int:
    body(client, url)
    with rows_read() as counts:
        body(client, url)
    assert counts
    return max(counts)


def test_the_undo_page_reads_what_the_fight_moved(
    settle_here: Settle, pieces: list[dict[str, Any]]
) -> None:
    document = make_document({str(HERO): make_participant(items_gained=pieces)})
    settle_here(document)
    client = logged_in(User.objects.create_superuser("boss"))
    url = f"{LIST_URL}{document['session_id']}/undo/"
    fill_bag(BAG)
    # The rows that were won, and as many that could stand in for them.
    assert most_read(client, url) <= 2 * KINDS * EACH
    assert body(client, url).count("· removed") == 100
    assert "… and 100 more" in body(client, url)


def test_what_is_gone_is_taken_from_the_lowest_rows_of_a_large_bag(
    settle_here: Settle, pieces: list[dict[str, Any]]
) -> None:
    document = make_document({str(HERO): make_participant(items_gained=pieces)})
    settle_here(document)
    won = InventoryItem.objects.filter(item_template__id__startswith="piece")
    won.filter(item_template_id="piece0").delete()
    fill_bag(BAG)
    client = logged_in(User.objects.create_superuser("boss"))
    url = f"{LIST_URL}{document['session_id']}/undo/"
    lowest = list(
        InventoryItem.objects.filter(item_template_id="piece0")
        .order_by("pk")
        .values_list("pk", flat=True)[:EACH]
    )

    seen = preview_undo(UUID(document["session_id"]), "refuse")
    assert seen.undo is not None
    assert seen.undo.shortages == []
    assert set(lowest) <= set(seen.undo.removed)
    client.post(url, {"reason": REASON, "on_shortage": "refuse"})

    assert not InventoryItem.objects.filter(pk__in=lowest).exists()
    assert won.count() == BAG - EACH


def test_a_preview_reads_what_the_fight_would_move(
    settle_here: Settle, pieces: list[dict[str, Any]]
) -> None:
    document = unknown_loot()
    document["participants"][str(HERO)]["changes"]["items_gained"] += pieces
    settle_here(document)
    add_template("dragon_scale")
    fill_bag(BAG)
    client = logged_in(User.objects.create_superuser("boss"))
    page = f"{LIST_URL}{document['session_id']}/preview/"
    assert most_read(client, page) <= 2 * KINDS * EACH
    assert Character.objects.get(pk=HERO).gold == 0
    assert "… and" in body(client, page)
