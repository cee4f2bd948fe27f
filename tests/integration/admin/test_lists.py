"""Lists find by id, narrow by filter, and cost the same at any table size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from combat_history.admin.paginator import MAX_ROWS
from combat_history.models import (
    Character,
    CombatHistory,
    InventoryItem,
    LedgerLine,
    ParkedOperation,
    RejectedPayload,
    SettlementAttempt,
    SettlementDiscrepancy,
    Status,
)
from persistence.contract.ids import short_id
from tests.support.admin import (
    LIST_URL,
    add_combat,
    add_failed,
    body,
    change_url,
    list_url,
    one_of_each,
    shown_ids,
    with_status,
)
from tests.support.documents import HERO
from tests.support.factories import add_character


def test_list_reads_no_document_and_no_traceback(client: Client) -> None:
    one_of_each()
    with CaptureQueriesContext(connection) as queries:
        body(client, LIST_URL)
    (select,) = [q["sql"] for q in queries if '"participant_ids"' in q["sql"]]
    assert '"result_payload" ->' in select
    for heavy in ('"result_payload",', '"failure_traceback"', '"raw_payload"'):
        assert heavy not in select


@pytest.mark.parametrize(
    "model", [LedgerLine, SettlementDiscrepancy, ParkedOperation, InventoryItem]
)
def test_lists_name_the_player(client: Client, model: Any) -> None:
    character = next(row for row in one_of_each() if isinstance(row, Character))
    link = f'<a href="{change_url(character)}">{character.name}</a> ({character.pk})'
    assert link in body(client, list_url(model))
    row = model.objects.filter(character_id=character.pk).latest("pk")
    assert link in body(client, change_url(row))


@pytest.mark.parametrize("form", [str, lambda pk: pk.hex, short_id])
def test_search_finds_a_combat_by_every_form_of_its_id(
    client: Client, form: Callable[[UUID], str]
) -> None:
    wanted, other = add_combat(), add_combat()
    assert shown_ids(client, q=f" {form(wanted.pk)} ") == {wanted.pk}
    assert shown_ids(client) == {wanted.pk, other.pk}


def test_search_finds_the_combats_of_a_character(client: Client) -> None:
    mine = {add_combat(participant_ids=[HERO, 7]).pk for _ in range(3)}
    add_combat(participant_ids=[7])
    assert shown_ids(client, q=str(HERO)) == mine
    assert shown_ids(client, q="999") == set()


@pytest.mark.parametrize(
    "term", ["blue", "%", "9" * 30, "-1", "1 2", "٣", "x" * 22 + "!"]
)
def test_search_for_anything_else_finds_nothing_and_reads_nothing(
    client: Client, term: str
) -> None:
    add_combat()
    with CaptureQueriesContext(connection) as queries:
        assert shown_ids(client, q=term) == set()
    assert not [q for q in queries if '"combat_history"."session_id"' in q["sql"]]


def test_filters_narrow_by_status_and_by_failure(client: Client) -> None:
    unknown, poison = add_failed("unknown_item"), add_failed("poison")
    waiting = add_combat(failure_code="poison")
    fine = with_status(Status.PROCESSED)
    assert shown_ids(client, status="failed") == {unknown.pk, poison.pk}
    assert shown_ids(client, status="pending") == {waiting.pk}
    assert shown_ids(client, status="processed") == {fine.pk}
    assert shown_ids(client, failure="poison") == {poison.pk}
    assert shown_ids(client, failure="poison", q=str(unknown.pk)) == set()


def test_a_large_table_is_estimated_and_paged_only_so_far(
    transactional_db: None,
    client: Client,  # ANALYZE outlives a rollback
) -> None:
    def changes(**query: str) -> Any:
        return client.get(LIST_URL, query).context["cl"]

    def counts(queries: CaptureQueriesContext) -> list[str]:
        return [q["sql"] for q in queries if "COUNT(*)" in q["sql"]]

    add_combat()
    assert changes().result_count == 1
    total = MAX_ROWS + 2_000
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO combat_history (session_id, participant_ids, result_payload)"
            " SELECT gen_random_uuid(), '{}', '{}' FROM generate_series(2, %s)",
            [total],
        )
        assert changes().result_count == MAX_ROWS
        cursor.execute("ANALYZE combat_history")
    with CaptureQueriesContext(connection) as queries:
        assert changes().result_count == total
    assert counts(queries) == []
    pages = MAX_ROWS // 50
    assert changes().paginator.num_pages == pages
    assert len(changes(p=str(pages)).result_list) == 50
    assert client.get(LIST_URL, {"p": pages + 1}).status_code == 302
    with CaptureQueriesContext(connection) as queries:
        assert changes(status="pending").result_count == MAX_ROWS
    (count,) = counts(queries)
    assert f"LIMIT {MAX_ROWS}" in count


@pytest.mark.parametrize(
    "model",
    [
        CombatHistory,
        LedgerLine,
        RejectedPayload,
        SettlementAttempt,
        SettlementDiscrepancy,
    ],
)
def test_records_are_found_by_session(client: Client, model: Any) -> None:
    combat = one_of_each()[0]
    one_of_each()
    for form in (str(combat.pk), combat.pk.hex, short_id(combat.pk)):
        found = client.get(list_url(model), {"q": form}).context["cl"].result_list
        assert [row.session_id for row in found] == [combat.pk]


@pytest.mark.parametrize("model", [LedgerLine, SettlementDiscrepancy, InventoryItem])
def test_records_are_found_by_character(client: Client, model: Any) -> None:
    character = next(row for row in one_of_each() if isinstance(row, Character))
    one_of_each()
    query = {"q": str(character.pk)}
    found = client.get(list_url(model), query).context["cl"].result_list
    assert {row.character_id for row in found} == {character.pk}


def test_characters_are_found_by_id_and_by_name(client: Client) -> None:
    add_character(101, name="Ратибор")
    add_character(102, name="Ждан 101")
    url = list_url(Character)

    def found(term: str) -> list[int]:
        response = client.get(url, {"q": term})
        return [row.pk for row in response.context["cl"].result_list]

    assert found("101") == [101]
    assert found("ратиб") == [101]
    assert found("nobody") == []
