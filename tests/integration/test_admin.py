"""The admin's pages: read-only, bounded, findable, escaped, in plain words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.contrib.staticfiles import finders
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import translation
from pytest_django import Settings

from combat_history import explain
from combat_history.models import (
    AppliedOperation,
    Character,
    CombatHistory,
    CombatParticipant,
    InventoryItem,
    ItemTemplate,
    LedgerLine,
    RejectedPayload,
    SettlementAttempt,
    SettlementDiscrepancy,
    Status,
)
from combat_history.paginator import MAX_ROWS
from persistence.errors import DiscrepancyCode, FailureCode
from persistence.ids import short_id
from persistence.payload import FinishReason
from persistence.protocols import Outcome
from tests.conftest import Settle
from tests.support.factories import (
    HERO,
    POTION,
    SAMPLE_END,
    add_character,
    add_item,
    add_template,
    make_document,
    make_participant,
    new_session_id,
    sample_document,
)

SCRIPT = "<script>alert('x')</script>"
LIST_URL = "/admin/combat_history/combathistory/"

RECORDS = (
    LedgerLine,
    SettlementDiscrepancy,
    SettlementAttempt,
    RejectedPayload,
    AppliedOperation,
    Character,
    InventoryItem,
    CombatHistory,
)
"""All that the admin shows but never changes."""


@pytest.fixture(autouse=True)
def _static_files(settings: Settings, tmp_path: Path) -> None:
    """WhiteNoise warns about a folder that only `collectstatic` makes."""
    settings.STATIC_ROOT = tmp_path


@pytest.fixture
def client(db: None) -> Client:
    """A superuser who reads English."""
    client = Client(headers={"accept-language": "en"})
    client.force_login(User.objects.create_superuser("root"))
    return client


def add_combat(**over: Any) -> CombatHistory:
    session_id = over.pop("session_id", None) or new_session_id()
    document = make_document(session_id=session_id)
    values = {
        "participant_ids": [HERO],
        "finished_at": datetime.fromtimestamp(SAMPLE_END, UTC),
        "result_payload": document,
    }
    row = CombatHistory.objects.create(**{"session_id": session_id, **values, **over})
    CombatParticipant.objects.bulk_create(
        CombatParticipant(
            character_id=char_id, finished_at=row.finished_at, session_id=row.pk
        )
        for char_id in row.participant_ids
    )
    return row


def add_failed(code: str = "unknown_item", **over: Any) -> CombatHistory:
    return add_combat(settlement_status=Status.FAILED, failure_code=code, **over)


def with_status(status: Status) -> CombatHistory:
    now = datetime.now(UTC)
    return add_combat(
        settlement_status=status,
        settled_at=now if status is Status.PROCESSED else None,
        failure_code="poison" if status is Status.FAILED else None,
    )


def change_url(row: Any) -> str:
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
    return reverse(name, args=[row.pk])


def list_url(model: Any) -> str:
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
    return reverse(name)


def body(client: Client, url: str, data: dict[str, str] | None = None) -> str:
    response = client.get(url, data or {})
    assert response.status_code == 200, url
    return response.content.decode()


def shown_ids(client: Client, **query: str) -> set[UUID]:
    response = client.get(LIST_URL, query)
    assert response.status_code == 200
    return {row.pk for row in response.context["cl"].result_list}


def one_of_each() -> list[Any]:
    """A row of every kind, as a combat with all its trouble leaves them."""
    template = add_template(f"t{new_session_id().hex}")
    character = add_character(int(new_session_id().int % 10**12))
    item = add_item(character.pk, template.pk)
    combat = add_failed(participant_ids=[character.pk], failure_traceback="Trace")
    line = LedgerLine.objects.create(
        session_id=combat.pk,
        character_id=character.pk,
        kind="settlement",
        xp_delta=10,
        gold_delta=-5,
        xp_after=10,
        gold_after=0,
        items=[
            {
                "inventory_id": 1,
                "item_template_id": template.pk,
                "kind": "consumed",
                "delta": -2,
                "after": 3,
            }
        ],
    )
    lack = SettlementDiscrepancy.objects.create(
        session_id=combat.pk,
        character_id=character.pk,
        code="item_gone",
        inventory_id=7,
        wanted=2,
        applied=0,
    )
    attempt = SettlementAttempt.objects.create(session_id=combat.pk, worker="host:1")
    rejected = RejectedPayload.objects.create(
        session_id=combat.pk,
        code="payload_conflict",
        payload_sha256="0" * 64,
        errors=[{"path": "", "message": "another"}],
        raw=b"{}",
    )
    operation = AppliedOperation.objects.create(key=str(combat.pk), scope="inventory")
    return [combat, line, lack, attempt, rejected, operation, character, item, template]


def test_everything_registered_has_a_row_here(db: None) -> None:
    registered = {
        model
        for model in admin.site._registry
        if model._meta.app_label == "combat_history"
    }
    assert {type(row) for row in one_of_each()} == registered
    assert registered == {*RECORDS, ItemTemplate}


def test_lists_and_pages_cost_the_same_for_one_row_and_for_forty(
    client: Client,
) -> None:
    rows = one_of_each()
    for row in rows:
        body(client, list_url(type(row)))  # content types are cached
    few = {type(row): count_queries(client, list_url(type(row))) for row in rows}
    for _ in range(39):
        one_of_each()
    for row in rows:
        assert count_queries(client, list_url(type(row))) == few[type(row)] <= 6
        assert count_queries(client, change_url(row)) <= 10, type(row)


def count_queries(client: Client, url: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        body(client, url)
    return len(queries)


def test_dossier_of_a_large_fight_is_bounded(client: Client) -> None:
    combat = with_status(Status.PROCESSED)
    movement = {"inventory_id": 1, "item_template_id": "t", "kind": "gained",
                "delta": 1, "after": 1}  # fmt: skip
    LedgerLine.objects.bulk_create(
        LedgerLine(
            session_id=combat.pk,
            character_id=n,
            kind="settlement",
            xp_delta=1,
            gold_delta=1,
            xp_after=1,
            gold_after=1,
            items=[movement] * 500,
        )
        for n in range(1, 151)
    )
    assert count_queries(client, change_url(combat)) <= 10
    page = body(client, change_url(combat))
    assert page.count("gained: t #1 +1 → 1") == 100 * 20
    assert "… and 480 more" in page
    assert "There are more" in page


def test_list_reads_no_document_and_no_traceback(client: Client) -> None:
    one_of_each()
    with CaptureQueriesContext(connection) as queries:
        body(client, LIST_URL)
    (select,) = [q["sql"] for q in queries if '"participant_ids"' in q["sql"]]
    assert '"result_payload" ->' in select
    for heavy in ('"result_payload",', '"failure_traceback"', '"raw_payload"'):
        assert heavy not in select


def test_a_settled_fight_shows_what_it_moved(
    client: Client, settle_here: Settle
) -> None:
    document = sample_document()
    settle_here(document)
    page = body(client, f"{LIST_URL}{document['session_id']}/change/")
    for text in (
        f"Герой ({HERO})",
        "+1250",
        "+100",
        f"consumed: hp_pot_small #{POTION} -2 → 3",
        "worn: sword_epic #56 -5 → 95",
        "gained: wolf_pelt",
        "victory",
        "blue",
    ):
        assert text in page
    assert "Replay" not in page


def test_a_shortage_is_shown_with_what_was_wanted(
    client: Client, settle_here: Settle
) -> None:
    part = make_participant(
        gold_gained=-70, items_consumed=[{"inventory_id": POTION, "qty": 9}]
    )
    document = make_document({str(HERO): part})
    settle_here(document)
    page = body(client, f"{LIST_URL}{document['session_id']}/change/")
    assert "too few pieces" in page
    assert "penalty exceeds the purse" in page
    assert "hp_pot_small #55" in page


def test_a_rejected_payload_shows_its_errors_and_bytes(
    client: Client, settle_here: Settle
) -> None:
    settle_here(json.dumps({"session_id": "nonsense", "winner": SCRIPT}))
    row = RejectedPayload.objects.get()
    page = body(client, change_url(row))
    assert "unusable session id" in page
    assert "is not a session id" in page
    assert "&lt;script&gt;" in page
    assert SCRIPT not in page


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("language", ["en", "ru"])
def test_every_status_has_a_badge(
    client: Client, status: Status, language: str
) -> None:
    row = with_status(status)
    with translation.override(language):
        label = str(status.label)
    client.cookies["django_language"] = language
    badge = f'<span class="combat-badge combat-{status}">{label}</span>'
    assert badge in body(client, LIST_URL)
    assert badge in body(client, change_url(row))
    css = finders.find("combat_history/admin.css")
    assert f".combat-{status} " in Path(str(css)).read_text()


@pytest.mark.parametrize("code", FailureCode)
@pytest.mark.parametrize("language", ["en", "ru"])
def test_every_failure_is_explained(
    client: Client, code: FailureCode, language: str
) -> None:
    combat = add_failed(code)
    rejected = RejectedPayload.objects.create(code=code, payload_sha256="0" * 64)
    client.cookies["django_language"] = language
    with translation.override(language):
        known = [str(text) for text in explain.failure(code)]
    pages = [body(client, change_url(row)) for row in (combat, rejected)]
    for page in pages:
        assert all(text and text in page for text in known)
    for url in (LIST_URL, list_url(RejectedPayload)):
        assert f'<span title="{code}">{known[0]}</span>' in body(client, url)


@pytest.mark.parametrize("code", DiscrepancyCode)
@pytest.mark.parametrize("language", ["en", "ru"])
def test_every_discrepancy_is_explained(
    client: Client, code: DiscrepancyCode, language: str
) -> None:
    combat = with_status(Status.PROCESSED)
    lack = SettlementDiscrepancy.objects.create(
        session_id=combat.pk, character_id=HERO, code=code, wanted=1, applied=0
    )
    client.cookies["django_language"] = language
    with translation.override(language):
        known = explain.discrepancy(code)
        label, meaning = str(known.label), str(known.meaning)
    for row in (combat, lack):
        page = body(client, change_url(row))
        assert label in page
        assert meaning in page


def test_words_exist_for_every_outcome_and_reason() -> None:
    assert set(explain.FAILURES) == set(FailureCode)
    assert set(explain.DISCREPANCIES) == set(DiscrepancyCode)
    assert set(explain.OUTCOMES) == {*Outcome, ""}
    assert set(explain.FINISH_REASONS) == set(FinishReason)


def test_a_code_of_tomorrow_names_itself(client: Client) -> None:
    combat = add_failed("invented_tomorrow")
    assert "invented_tomorrow" in body(client, change_url(combat))
    assert "invented_tomorrow" in body(client, LIST_URL)


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
    "payload",
    [
        "text",
        [],
        {},
        {"meta": None},
        {"meta": []},
        {"meta": {"winner_team": 1, "finish_reason": {}}, "participants": []},
        {"meta": {"finish_reason": "bribery"}, "participants": {"101": None}},
    ],
)
def test_malformed_documents_can_be_looked_at(client: Client, payload: Any) -> None:
    combat = add_failed("invalid_payload", result_payload=payload)
    body(client, LIST_URL)
    body(client, change_url(combat))
    replay = f"{LIST_URL}replay/"
    assert "invalid document" in body(client, replay, {"session_id": str(combat.pk)})


def test_data_is_escaped_on_every_page(client: Client) -> None:
    character = add_character(HERO, name=SCRIPT, location=SCRIPT)
    template = add_template(SCRIPT, name=SCRIPT, name_en=f"en {SCRIPT}")
    item = add_item(HERO, template.pk, slot=SCRIPT)
    document = make_document({"101": {"name": SCRIPT, SCRIPT: SCRIPT}})
    document["meta"] = {"winner_team": SCRIPT, "finish_reason": SCRIPT}
    combat = add_failed(
        SCRIPT,
        result_payload=document,
        raw_payload=SCRIPT.encode(),
        failure_detail=SCRIPT,
        failure_traceback=SCRIPT,
    )
    movement = {"inventory_id": SCRIPT, "item_template_id": SCRIPT, "kind": SCRIPT,
                "delta": 1, "after": SCRIPT}  # fmt: skip
    line = LedgerLine.objects.create(
        session_id=combat.pk,
        character_id=HERO,
        kind="settlement",
        xp_delta=0,
        gold_delta=0,
        xp_after=0,
        gold_after=0,
        items=[movement],
    )
    lack = SettlementDiscrepancy.objects.create(
        session_id=combat.pk,
        character_id=HERO,
        code=SCRIPT,
        item_template_id=SCRIPT,
        wanted=1,
        applied=0,
    )
    attempt = SettlementAttempt.objects.create(
        session_id=combat.pk,
        worker=SCRIPT,
        outcome="failed",
        code=SCRIPT,
        detail=SCRIPT,
    )
    rejected = RejectedPayload.objects.create(
        code=SCRIPT,
        payload_sha256="0" * 64,
        raw=SCRIPT.encode(),
        errors=[{"path": SCRIPT, "message": SCRIPT}],
    )
    operation = AppliedOperation.objects.create(key=SCRIPT, scope=SCRIPT)
    rows = [character, template, item, combat, line, lack, attempt, rejected, operation]
    assert {type(row) for row in rows} == {*RECORDS, ItemTemplate}
    pages = [body(client, change_url(row)) for row in rows]
    pages.append(body(client, f"{LIST_URL}replay/", {"session_id": str(combat.pk)}))
    for page in pages:
        assert "script&gt;alert" in page
    for page in [*pages, *(body(client, list_url(type(row))) for row in rows)]:
        assert "<script>alert" not in page
    reason = {"session_id": [str(combat.pk)], "reason": f"Fixed {SCRIPT}"}
    client.post(f"{LIST_URL}replay/", reason)
    history = body(client, f"{LIST_URL}{combat.pk}/history/")
    assert "<script>alert" not in history
    assert "script&gt;alert" in history


def test_control_characters_are_shown_instead_of_acting(client: Client) -> None:
    document = make_document(note="a\u202eb")
    combat = add_failed(result_payload=document, raw_payload=b"\x00\xff\x1b[2J")
    page = body(client, change_url(combat))
    assert "a\\u202eb" in page
    assert "\\u0000\\xff\\u001b[2J" in page
    assert "\u202e" not in page


def test_a_huge_document_is_cut(client: Client) -> None:
    combat = add_failed(
        result_payload={"text": "x" * 900_000}, raw_payload=b"y" * 900_000
    )
    page = body(client, change_url(combat))
    assert len(page) < 300_000
    assert page.count("more characters") == 2


@pytest.mark.parametrize("model", RECORDS)
def test_records_are_read_only_for_superusers(client: Client, model: Any) -> None:
    (row,) = [row for row in one_of_each() if type(row) is model]
    before = list(model.objects.filter(pk=row.pk).values())
    assert client.get(f"{list_url(model)}add/").status_code == 403
    assert client.post(f"{list_url(model)}add/", {}).status_code == 403
    assert client.post(change_url(row), {"gold": 1_000_000}).status_code == 403
    delete = change_url(row).replace("/change/", "/delete/")
    assert client.post(delete, {"post": "yes"}).status_code == 403
    action = {"action": "delete_selected", "_selected_action": [str(row.pk)]}
    client.post(list_url(model), {**action, "post": "yes"})
    assert list(model.objects.filter(pk=row.pk).values()) == before
    assert 'name="_save"' not in body(client, change_url(row))


def test_without_view_permission_nothing_is_shown(db: None) -> None:
    client = Client()
    client.force_login(User.objects.create_user("guest", is_staff=True))
    for row in one_of_each():
        assert client.get(list_url(type(row))).status_code == 403
        assert client.get(change_url(row)).status_code == 403


def test_a_viewer_sees_everything(db: None) -> None:
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.set(
        Permission.objects.filter(
            content_type__app_label="combat_history", codename__startswith="view_"
        )
    )
    client = Client()
    client.force_login(viewer)
    for row in one_of_each():
        body(client, list_url(type(row)))
        body(client, change_url(row))


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
    character = one_of_each()[6]
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


def test_catalogue_is_completed_and_corrected_in_the_admin(client: Client) -> None:
    url = list_url(ItemTemplate)
    form = body(client, f"{url}add/")
    assert re.search(r'<input type="checkbox" name="stackable"[^>]* checked', form)
    data = {"id": "scale_1", "name": "Чешуя", "name_en": "", "stackable": "on"}
    client.post(f"{url}add/", data)
    row = ItemTemplate.objects.get(pk="scale_1")
    assert row.stackable
    client.post(
        change_url(row), {"id": "other", "name": "Чешуя дракона", "max_durability": "9"}
    )
    row.refresh_from_db()
    assert (row.name, row.stackable, row.max_durability) == ("Чешуя дракона", False, 9)
    assert not ItemTemplate.objects.filter(pk="other").exists()
    found = client.get(url, {"q": "драк"}).context["cl"].result_list
    assert list(found) == [row]
    delete = change_url(row).replace("/change/", "/delete/")
    assert client.post(delete, {"post": "yes"}).status_code == 403


def test_russian_is_spoken_to_whoever_asks_for_it(client: Client) -> None:
    combat = add_failed()
    client.cookies["django_language"] = "ru"
    for url in (
        LIST_URL,
        change_url(combat),
        f"{LIST_URL}replay/?session_id={combat.pk}",
    ):
        page = body(client, url)
        assert "неизвестный предмет" in page
        assert "unknown item" not in page


def test_old_rows_of_the_seeds_three_columns_can_be_opened(client: Client) -> None:
    session_id = new_session_id()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO combat_history (session_id, participant_ids, result_payload)"
            " VALUES (%s, '{101}', '{}')",
            [session_id],
        )
    row = CombatHistory.objects.get(pk=session_id)
    assert row.finished_at > datetime.now(UTC) - timedelta(minutes=1)
    body(client, LIST_URL)
    body(client, change_url(row))
