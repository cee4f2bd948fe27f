"""Pages of combats and records: in plain words, bounded, escaped."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.db import connection
from django.test import Client
from django.utils import translation

from combat_history.insight import explain
from combat_history.models import (
    ApiToken,
    AppliedOperation,
    AuditEntry,
    BalanceTemplate,
    CombatHistory,
    ItemTemplate,
    LedgerLine,
    Operation,
    ParkedOperation,
    RejectedPayload,
    ReplayBatch,
    SettlementAttempt,
    SettlementDiscrepancy,
    SettlementEvent,
    SettlementFailure,
    Status,
)
from persistence.contract.errors import DiscrepancyCode, FailureCode
from persistence.contract.meta import FinishReason
from persistence.protocols import Outcome
from tests.conftest import Settle
from tests.support.admin import (
    LIST_URL,
    OFFER,
    RECORDS,
    add_failed,
    body,
    change_url,
    count_queries,
    list_url,
    with_status,
)
from tests.support.documents import (
    HERO,
    POTION,
    make_document,
    make_participant,
    sample_document,
)
from tests.support.factories import add_character, add_item, add_template
from tests.support.ids import new_session_id
from tests.support.pages import text_of

SCRIPT = "<script>alert('x')</script>"


def test_dossier_of_a_large_fight_is_bounded(client: Client) -> None:
    combat = with_status(Status.PROCESSED)
    movement = {
        "inventory_id": 1,
        "item_template_id": "t",
        "kind": "gained",
        "delta": 1,
        "after": 1,
    }
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
    assert count_queries(client, change_url(combat)) <= 15
    page = text_of(body(client, change_url(combat)))
    assert page.count("gained: t #1 0 → 1 (+1)") == 100 * 20
    assert "… and 480 more" in page
    assert "There are more" in page


def test_a_settled_fight_shows_what_it_moved(
    client: Client, settle_here: Settle
) -> None:
    document = sample_document()
    settle_here(document)
    html = body(client, f"{LIST_URL}{document['session_id']}/change/")
    page = text_of(html)
    for text in (
        f"Герой ({HERO})",
        "0 → 1250 (+1250)",
        "0 → 100 (+100)",
        f"consumed: Small health potion (hp_pot_small) #{POTION} 5 → 3 (-2)",
        "worn: Epic sword (sword_epic) #56, durability 100 → 95 (-5)",
        "gained: Wolf pelt (wolf_pelt) #",
        "Victory · winner: blue",
    ):
        assert text in page
    assert not OFFER.search(html)


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
    assert "Small health potion (hp_pot_small) #55" in page


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
    movement = {
        "inventory_id": SCRIPT,
        "item_template_id": SCRIPT,
        "kind": SCRIPT,
        "delta": 1,
        "after": SCRIPT,
    }
    line = LedgerLine.objects.create(
        session_id=combat.pk,
        character_id=HERO,
        kind="settlement",
        xp_delta=0,
        gold_delta=0,
        xp_after=0,
        gold_after=0,
        items=[movement],
        balances={"x": {"delta": 1, "after": SCRIPT}, SCRIPT: {}},
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
    balance = BalanceTemplate.objects.create(id="x", name=SCRIPT, name_en=SCRIPT)
    trade = Operation.objects.create(
        op_id="script",
        id=new_session_id(),
        reason=SCRIPT,
        caller=SCRIPT,
        sha256="0" * 64,
        document={"characters": {}, SCRIPT: SCRIPT},
        answer={SCRIPT: SCRIPT},
    )
    operation = AppliedOperation.objects.create(key=SCRIPT, scope=SCRIPT)
    parked = ParkedOperation.objects.create(
        scope=SCRIPT,
        character_id=HERO,
        op_id=SCRIPT,
        operation=SCRIPT,
        code=SCRIPT,
        detail=SCRIPT,
        blocked_by=SCRIPT,
    )
    entry = AuditEntry.objects.create(
        actor_name=SCRIPT,
        verb=SCRIPT,
        target_type="combat",
        target_id=SCRIPT,
        reason=SCRIPT,
        detail=SCRIPT,
        before={SCRIPT: SCRIPT},
        outcome="done",
    )
    batch = ReplayBatch.objects.create(
        selection={"kind": "group", "code": SCRIPT},
        actor_id=1,
        actor_name=SCRIPT,
        reason=SCRIPT,
        detail=SCRIPT,
    )
    failure = SettlementFailure.objects.get()
    event = SettlementEvent.objects.create(
        kind="operation.applied",
        op_id=SCRIPT,
        character_ids=[HERO],
        body={SCRIPT: SCRIPT},
    )
    records = [event, line, lack, attempt, failure, rejected, trade, operation]
    rows = [character, template, balance, item, combat, *records, parked, batch, entry]
    # The name of a token is letters and digits.
    every = {*RECORDS, BalanceTemplate, ItemTemplate} - {ApiToken}
    assert {type(row) for row in rows} == every
    pages = [body(client, change_url(row)) for row in rows]
    pages.append(body(client, f"{LIST_URL}replay/", {"session_id": str(combat.pk)}))
    for page in pages:
        assert "script&gt;alert" in page
    for page in [*pages, *(body(client, list_url(type(row))) for row in rows)]:
        assert "<script>alert" not in page
    reason = {"session_id": [str(combat.pk)], "reason": f"Fixed {SCRIPT}"}
    client.post(f"{LIST_URL}replay/", reason)
    page = body(client, change_url(combat))
    assert "<script>alert" not in page
    assert "Fixed &lt;script&gt;alert" in page


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
