"""Why a player did not get something: these things, nothing, or not yours to see."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client

from combat_history.models import Character, RejectedPayload
from persistence.contract.errors import FailureCode, PayloadInvalid
from persistence.protocols import Delivery
from persistence.worker import rejected
from persistence.worker.transactions import open_cursor
from tests.conftest import Settle
from tests.support.admin import body, change_url, count_queries, logged_in, viewer
from tests.support.documents import HERO, make_document, sample_document
from tests.support.ids import new_session_id
from tests.support.pages import text_of

NOTHING = "Nothing was refused"
UNSEEN = "these are not yours to see"


@pytest.fixture
def hero(world: None) -> Character:
    return Character.objects.get(pk=HERO)


def told(client: Client, hero: Character) -> str:
    return text_of(body(client, change_url(hero)))


def reject(raw: bytes | None, code: FailureCode, session_id: UUID) -> None:
    delivery = Delivery(session_id, raw, "0" * 64)
    with open_cursor() as cursor:
        rejected.reject(
            cursor, delivery, PayloadInvalid.single(code, "", "as it happens")
        )


def test_who_may_see_all_of_it_is_told_that_there_is_nothing(hero: Character) -> None:
    page = told(logged_in(viewer()), hero)
    assert NOTHING in page
    assert UNSEEN not in page


@pytest.mark.parametrize(
    ("model", "source"),
    [
        ("combathistory", "combats"),
        ("rejectedpayload", "rejected payloads"),
        ("parkedoperation", "parked operations"),
        ("settlementdiscrepancy", "discrepancies"),
    ],
)
def test_who_may_not_see_is_not_told_that_there_is_nothing(
    hero: Character, model: str, source: str
) -> None:
    user = viewer()
    user.user_permissions.remove(Permission.objects.get(codename=f"view_{model}"))
    page = told(logged_in(User.objects.get(pk=user.pk)), hero)
    assert NOTHING not in page
    assert f"{UNSEEN}: {source}." in page


def test_a_refused_second_document_is_told(
    hero: Character, settle_here: Settle
) -> None:
    document = sample_document()
    other = {**document, "note": "another one"}
    settle_here(document, other)
    page = told(logged_in(viewer()), hero)
    assert NOTHING not in page
    assert "rejected payload #" in page
    assert "conflict" in page


def test_a_payload_without_a_usable_session_is_told(
    hero: Character, settle_here: Settle
) -> None:
    settle_here({**sample_document(), "session_id": "none"})
    assert "rejected payload #" in told(logged_in(viewer()), hero)


def test_a_missing_result_is_told_to_who_was_in_the_fight(hero: Character) -> None:
    session = {"status": "finished", "participants": json.dumps([HERO, 7])}
    raw = json.dumps(session).encode()
    reject(raw, FailureCode.RESULT_MISSING, new_session_id())
    page = told(logged_in(viewer()), hero)
    assert "rejected payload #" in page
    assert NOTHING not in page


def test_a_lost_payload_is_told_by_the_session(
    hero: Character, settle_here: Settle
) -> None:
    document = make_document()
    settle_here(document)
    session_id = UUID(document["session_id"])
    RejectedPayload.objects.create(session_id=session_id, code="payload_lost")
    assert "rejected payload #" in told(logged_in(viewer()), hero)


def test_what_concerns_others_is_not_told(hero: Character, settle_here: Settle) -> None:
    settle_here({**make_document({"7": {}}), "session_id": "none"})
    assert RejectedPayload.objects.get().participant_ids == [7]
    assert NOTHING in told(logged_in(viewer()), hero)


def test_rejected_payloads_of_a_player_are_found_by_an_index(hero: Character) -> None:
    client = logged_in(viewer())
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO rejected_payloads (code, participant_ids, payload_sha256)"
            " SELECT 'invalid_payload', ARRAY[n], n FROM generate_series(1000, 9000) n"
        )
        cursor.execute("ANALYZE rejected_payloads")
        told(client, hero)
        few = count_queries(client, change_url(hero))
        cursor.execute(
            "EXPLAIN SELECT id FROM rejected_payloads"
            " WHERE participant_ids @> ARRAY[101]::bigint[] ORDER BY id DESC LIMIT 50"
        )
        plan = "\n".join(line for (line,) in cursor.fetchall())
        assert "rejected_payloads_players" in plan
        cursor.execute("UPDATE rejected_payloads SET participant_ids = ARRAY[101]")
    assert count_queries(client, change_url(hero)) == few
    page = told(client, hero)
    assert page.count("rejected payload #") == 50
