"""Spellings of one fight: one row, whoever sends it, and whenever it was first sent."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import UUID

import pytest
import redis
from django.db import connection

from combat_history.models import (
    Character,
    CombatHistory,
    CombatReplay,
    RejectedPayload,
)
from combat_history.reading.lookup import find_result
from combat_history.reconcile.run import reconcile
from persistence.contract import redis_keys
from persistence.contract.document import Document, canonical_json, parse_document
from persistence.contract.errors import PayloadConflict, PayloadInvalid
from persistence.contract.identity import former_identity
from persistence.contract.payload import CombatResultPayload, validate
from persistence.dispatcher import SyncDispatcher
from persistence.engine.handoff import Receipt, unchecked
from persistence.protocols import Delivery, Outcome, Verdict
from persistence.savers.combat_saver import CombatStateSaver
from persistence.tasks import settle_combat, settle_inbox
from persistence.worker.transactions import open_cursor
from tests.support.api import post
from tests.support.documents import HERO, POTION, make_document, make_participant

pytestmark = pytest.mark.usefixtures("world", "api")


@pytest.fixture
def fight() -> Document:
    consumed = [{"inventory_id": POTION, "qty": 1}]
    hero = make_participant(gold_gained=5, xp_gained=10, items_consumed=consumed)
    return make_document(
        {str(HERO): hero}, replay_log=[{"turn": 1, "odds": 10}], note=[2.5, 0]
    )


def respelt(document: Document) -> list[Document | str | bytes | CombatResultPayload]:
    session = UUID(document["session_id"])
    text = json.dumps(document)
    by_alias = text.replace('"inventory_id"', '"inv_id"')
    return [
        {**document, "session_id": session},
        {**document, "session_id": session.hex},
        json.dumps({**document, "session_id": str(session).upper()}, indent=1),
        by_alias,
        by_alias.replace('"odds": 10}', '"odds": 1e1}').encode(),
        text.replace("[2.5, 0]", "[25e-1, -0.0]"),
        validate(parse_document(by_alias.encode())),
    ]


def settle_as_before(document: Document) -> str:
    """By an engine of a version that hashed a document as it was spelt."""
    sha256 = former_identity(document)
    raw = canonical_json(document)
    with open_cursor() as cursor:
        saver = CombatStateSaver(cursor)
        saver.settle([Delivery(UUID(document["session_id"]), raw, sha256)])
    return sha256


def deliver(form: Any) -> Verdict:
    """To the Saver, past all that Redis knows."""
    handoff = unchecked(form)
    with open_cursor() as cursor:
        (verdict,) = CombatStateSaver(cursor).settle(
            [Delivery(handoff.session_id, handoff.raw, handoff.sha256)]
        )
    return verdict


def test_every_spelling_is_a_duplicate_at_every_door(
    engine: SyncDispatcher, redis_client: redis.Redis, fight: Document
) -> None:
    settle_combat(json.dumps(fight))
    before = Character.objects.get(pk=HERO).gold

    for form in respelt(fight):
        assert engine.submit_combat_sync(form) is Receipt.DUPLICATE
        if isinstance(form, dict | str):
            settle_combat(form)
        if isinstance(form, str | bytes):
            assert json.loads(post(form).content)["duplicate"] is True
        settle_inbox()
    redis_client.flushdb()
    for form in respelt(fight):
        assert engine.submit_combat_sync(form) in (Receipt.ACCEPTED, Receipt.DUPLICATE)
        settle_inbox()

    assert CombatHistory.objects.count() == 1
    assert not RejectedPayload.objects.exists()
    assert Character.objects.get(pk=HERO).gold == before
    assert reconcile().findings == []


def spelt_with_fractions(document: Document) -> str:
    """Every whole number of the contract as a float."""
    text = json.dumps(document)
    return re.sub(r'(": |\[)(-?\d+)(?=[],}])', r"\1\2.0", text)


@pytest.mark.parametrize("door", ["task", "dict", "engine", "http"])
def test_a_whole_number_with_a_fraction_of_zero_is_that_number(
    engine: SyncDispatcher, fight: Document, door: str
) -> None:
    fight["participants"][str(HERO)]["ui_report"] = {
        "loot_obtained": [{"name": "Шкура волка", "qty": 1}]
    }
    text = spelt_with_fractions(fight)
    assert '"gold_gained": 5.0' in text
    assert '"qty": 1.0' in text
    before = Character.objects.get(pk=HERO).gold

    if door in ("task", "dict"):
        settle_combat(text if door == "task" else json.loads(text))
    elif door == "engine":
        assert engine.submit_combat_sync(text) is Receipt.ACCEPTED
    else:
        assert post(text.encode()).status_code == 202
    settle_inbox()
    assert engine.submit_combat_sync(fight) is Receipt.DUPLICATE

    combat = CombatHistory.objects.get()
    assert (combat.settlement_status, combat.failure_detail) == ("processed", None)
    assert combat.document() == fight
    assert Character.objects.get(pk=HERO).gold == before + 5
    told = find_result(combat.pk, HERO).outcome
    assert told is not None
    assert (told.gold, told.xp, told.loot[0].qty) == (5, 10, 1)
    assert reconcile().findings == []


def test_a_number_with_another_fraction_is_refused(
    engine: SyncDispatcher, fight: Document
) -> None:
    fight["participants"][str(HERO)]["changes"]["gold_gained"] = 5.5

    with pytest.raises(PayloadInvalid, match="gold_gained"):
        engine.submit_combat_sync(fight)


def test_what_is_stored_is_what_was_received(fight: Document) -> None:
    fight["session_id"] = fight["session_id"].upper()
    settle_combat(fight)

    assert CombatHistory.objects.get().document() == fight


def test_another_value_is_another_document(
    engine: SyncDispatcher, fight: Document
) -> None:
    settle_combat(fight)

    for other in ({**fight, "note": [2.5, "0"]}, {**fight, "replay_log": []}):
        with pytest.raises(PayloadConflict):
            engine.submit_combat_sync(other)
        settle_inbox()

    assert RejectedPayload.objects.filter(code="payload_conflict").count() == 2


def test_a_row_of_an_older_version_is_found_by_every_spelling(
    engine: SyncDispatcher, redis_client: redis.Redis, fight: Document
) -> None:
    fight["session_id"] = fight["session_id"].upper()
    fight["odds"] = 10.0
    former = settle_as_before(fight)

    for form in [fight, json.dumps(fight), *respelt(fight)]:
        assert deliver(form).outcome is Outcome.DUPLICATE
        engine.submit_combat_sync(form)
        settle_inbox()

    assert CombatHistory.objects.get().payload_sha256 == former
    assert not RejectedPayload.objects.exists()
    assert reconcile().findings == []
    assert deliver({**fight, "odds": 11}).outcome is Outcome.CONFLICT


def test_a_row_of_an_older_version_without_its_log_is_found_by_its_own_spelling(
    fight: Document,
) -> None:
    fight["odds"] = 10.0
    settle_as_before(fight)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM combat_replay")
    assert not CombatReplay.objects.exists()

    assert deliver(json.dumps(fight, indent=2)).outcome is Outcome.DUPLICATE


def test_an_entry_of_an_older_version_is_found_by_its_own_spelling(
    engine: SyncDispatcher, redis_client: redis.Redis, fight: Document
) -> None:
    fight["odds"] = 10.0
    session_id = UUID(fight["session_id"])
    redis_client.hset(
        redis_keys.result(session_id),
        mapping={"raw": json.dumps(fight), "sha256": former_identity(fight)},
    )
    redis_client.zadd(redis_keys.INBOX, {str(session_id): 0})

    assert engine.submit_combat_sync(fight) is Receipt.DUPLICATE
    settle_inbox()

    assert CombatHistory.objects.get().settlement_status == "processed"


def test_a_spelling_that_was_held_as_a_conflict_is_none(
    redis_client: redis.Redis, fight: Document
) -> None:
    """Of engines of two versions, before the first was settled and after."""
    fight["odds"] = 10.0
    session_id = UUID(fight["session_id"])
    key = redis_keys.result(session_id)
    text = json.dumps({**fight, "odds": 10})
    for _ in range(2):
        settle_combat(fight)
        redis_client.hset(key, f"conflict:{'1' * 64}", text)
        redis_client.zadd(redis_keys.INBOX, {str(session_id): 0})
        settle_inbox()
        redis_client.delete(key)
        redis_client.hset(
            key, mapping={"raw": json.dumps(fight), f"conflict:{'1' * 64}": text}
        )

    assert not RejectedPayload.objects.exists()
    assert not redis_client.exists(redis_keys.INBOX)
