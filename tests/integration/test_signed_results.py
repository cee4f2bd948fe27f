"""With engine keys configured, what no engine has signed is kept and never applied."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import pytest
import redis
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from combat_history.actions import replay
from combat_history.models import (
    Character,
    CombatHistory,
    CombatParticipant,
    RejectedPayload,
)
from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.contract.signing import EngineKeys
from persistence.dispatcher import SyncDispatcher
from persistence.engine.handoff import Handoff, Receipt, checked, unchecked
from persistence.tasks import settle_combat, settle_inbox, sweep
from persistence.worker import inbox
from tests.support.api import TOKEN
from tests.support.documents import HERO, hero_fight, make_document
from tests.support.forging import forge

KEYS = EngineKeys.parse("old:an-old-secret-of-ours, new:a-new-secret-of-ours")
OURS = EngineKeys.parse("new:a-new-secret-of-ours")
OTHERS = EngineKeys.parse("new:what-a-forger-guesses")

FAILED = ("failed", "bad_signature")

pytestmark = pytest.mark.usefixtures("world")


@pytest.fixture(autouse=True)
def keys(settings: Settings) -> None:
    settings.SETTLEMENT_ENGINE_KEYS = KEYS


@pytest.fixture
def signing(settings: Settings) -> Any:
    dispatcher = SyncDispatcher(
        settings.REDIS_URL, settings.BROKER_URL, timeout=1, keys=OURS
    )
    yield dispatcher
    dispatcher.close()


def handoff(document: Document, keys: EngineKeys | None = None) -> Handoff:
    found = checked(document)
    return found.signed(keys.sign(found.raw)) if keys else found


def state(document: Document) -> tuple[str, str | None]:
    row = CombatHistory.objects.get(pk=document["session_id"])
    return row.settlement_status, row.failure_code


def gold() -> int:
    return Character.objects.get(pk=HERO).gold


def test_the_dispatcher_signs_by_itself(signing: SyncDispatcher) -> None:
    document = hero_fight(gold_gained=7)

    assert signing.submit_combat_sync(document) is Receipt.ACCEPTED
    settle_inbox()

    assert state(document) == ("processed", None)
    assert gold() == 7


@pytest.mark.parametrize("key", ["old", "new"])
def test_every_key_verifies_a_task(key: str) -> None:
    document = hero_fight(gold_gained=7)
    text = json.dumps(document)
    secret = {"old": "old:an-old-secret-of-ours", "new": "new:a-new-secret-of-ours"}

    settle_combat(text, EngineKeys.parse(secret[key]).sign(text))

    assert state(document) == ("processed", None)


@pytest.mark.parametrize(
    "signature", [None, "", "new", "new:", "x:00", OTHERS.sign("x"), "new:é", "n" * 999]
)
def test_an_unsigned_task_fails_and_applies_nothing(
    redis_client: redis.Redis, signature: str | None
) -> None:
    document = hero_fight(gold_gained=7)
    live = redis_keys.SESSION_PREFIX + document["session_id"]
    redis_client.hset(live, "status", "active")

    settle_combat(json.dumps(document), signature)
    settle_inbox()

    assert state(document) == FAILED
    assert gold() == 0
    assert redis_client.hget(live, "status") == b"active", "the fight goes on"


def test_a_signature_is_of_the_bytes() -> None:
    document = hero_fight(gold_gained=7)
    signature = OURS.sign(json.dumps(document))

    settle_combat(json.dumps({**document, "note": "more"}), signature)

    assert state(document) == FAILED


def test_what_is_written_into_redis_is_worthless(redis_client: redis.Redis) -> None:
    """Neither a mark nor a guess, nor what another fight was signed by."""
    stolen = OURS.sign(json.dumps(hero_fight()))
    documents = [hero_fight(gold_gained=10**6) for _ in range(5)]
    documents[4]["meta"] |= {"finish_reason": "abandoned", "forced": True}
    marks: list[dict[str, str]] = [
        {},
        {"signature": stolen},
        {"signature": OTHERS.sign(json.dumps(documents[2]))},
        {"forced": "1", "replay": "1", "signature": "forced"},
        {"sha256": checked(hero_fight()).sha256},
    ]
    for document, fields in zip(documents, marks, strict=True):
        forge(redis_client, document, **fields)

    settle_inbox()

    assert {state(document) for document in documents} == {FAILED}
    assert gold() == 0
    assert not redis_client.exists(redis_keys.INBOX)


@pytest.mark.parametrize("is_drained", [False, True])
def test_a_forger_who_comes_first_keeps_the_engine_not_out(
    redis_client: redis.Redis, *, is_drained: bool
) -> None:
    """With the same document."""
    document = hero_fight(gold_gained=7)
    for number in range(3):
        forged = handoff(document).signed(f"new:{number:064}")
        inbox.record(forged)
    if is_drained:
        settle_inbox()
        assert state(document) == FAILED

    receipt, _ = inbox.record(handoff(document, OURS))
    inbox.record(handoff(document).signed("new:" + "0" * 63 + "9"))
    settle_inbox()

    assert receipt is (Receipt.ACCEPTED if is_drained else Receipt.DUPLICATE)
    assert state(document) == ("processed", None)
    assert gold() == 7
    assert not RejectedPayload.objects.exists()
    assert inbox.record(handoff(document, OURS))[0] is Receipt.DUPLICATE
    settle_inbox()
    assert gold() == 7


@pytest.mark.parametrize("is_drained", [False, True])
def test_the_signed_document_wins_over_an_unsigned_one(
    redis_client: redis.Redis, *, is_drained: bool
) -> None:
    forged = make_document({"102": {"changes": {"gold_gained": 10**6}}})
    true = hero_fight(
        session_id=forged["session_id"],
        gold_gained=7,
        end_timestamp=forged["meta"]["end_timestamp"] + 60,
    )
    forge(redis_client, forged, sha256="0" * 64)
    if is_drained:
        settle_inbox()
        assert state(forged) == FAILED

    receipt, _ = inbox.record(handoff(true, OURS))
    settle_inbox()

    assert receipt is (Receipt.ACCEPTED if is_drained else Receipt.CONFLICT)
    assert state(true) == ("processed", None)
    assert gold() == 7
    fought = CombatParticipant.objects.filter(session_id=true["session_id"])
    assert [row.character_id for row in fought] == [HERO]
    row = CombatHistory.objects.get(pk=true["session_id"])
    if is_drained:
        assert row.result_payload == forged, "kept as it came"
        assert row.revision == 2
    else:
        assert row.result_payload == true
        kept = RejectedPayload.objects.get()
        assert json.loads(bytes(kept.raw or b"")) == forged
    # And the engine may say it again.
    assert inbox.record(handoff(true, OURS))[0] is Receipt.DUPLICATE
    settle_inbox()
    assert gold() == 7


def test_a_fight_log_that_has_no_place_beside_the_first_one_is_kept(
    redis_client: redis.Redis,
) -> None:
    forge(redis_client, forged := hero_fight())
    settle_inbox()
    true = {**hero_fight(session_id=forged["session_id"]), "replay_log": [{"turn": 1}]}

    inbox.record(handoff(true, OURS))
    settle_inbox()

    assert state(true) == ("processed", None)
    kept = RejectedPayload.objects.get()
    assert json.loads(bytes(kept.raw or b"")) == true
    assert "fight log" in kept.errors[0]["message"]


def test_a_signed_document_that_breaks_the_contract_stays_beside_the_row(
    redis_client: redis.Redis,
) -> None:
    forge(redis_client, forged := hero_fight())
    settle_inbox()
    broken = json.dumps({"session_id": forged["session_id"], "meta": 7})

    settle_combat(broken, OURS.sign(broken))

    assert state(forged) == FAILED
    assert RejectedPayload.objects.get().code == "payload_conflict"


def test_a_person_may_replay_what_is_not_signed(admin: User) -> None:
    document = hero_fight(gold_gained=7)
    settle_combat(json.dumps(document))

    replay.replay([document["session_id"]], actor=admin, reason="the key was late")
    settle_inbox()

    assert state(document) == ("processed", None)
    assert gold() == 7


def test_a_key_that_was_taken_away_fails_what_still_waits(
    settings: Settings, redis_client: redis.Redis
) -> None:
    document = hero_fight()
    inbox.record(handoff(document, EngineKeys.parse("old:an-old-secret-of-ours")))

    settings.SETTLEMENT_ENGINE_KEYS = OURS
    settle_inbox()

    assert state(document) == FAILED


def test_a_document_that_is_settled_alone_is_judged_too(
    redis_client: redis.Redis,
) -> None:
    forged, true = hero_fight(gold_gained=5), hero_fight(gold_gained=7)
    forge(redis_client, forged, claims="1")
    settle_inbox()
    inbox.record(handoff(true, OURS))
    redis_client.hset(redis_keys.RESULT_PREFIX + true["session_id"], "claims", 1)
    settle_inbox()

    assert state(forged) == FAILED
    assert state(true) == ("processed", None)
    assert gold() == 7


def over_http(document: Document, keys: EngineKeys | None) -> HTTPStatus:
    raw = json.dumps(document)
    response = Client().post(
        "/api/combats",
        data=raw,
        content_type="application/json",
        headers={
            "Authorization": f"Bearer {TOKEN}",
            **({"X-Settlement-Signature": keys.sign(raw)} if keys else {}),
        },
    )
    return HTTPStatus(response.status_code)


@pytest.mark.usefixtures("api")
def test_over_http_the_signature_is_a_header(redis_client: redis.Redis) -> None:
    unsigned, signed = hero_fight(gold_gained=5), hero_fight(gold_gained=7)

    assert over_http(unsigned, OTHERS) is HTTPStatus.ACCEPTED
    assert not redis_client.exists(redis_keys.RESULT_PREFIX + unsigned["session_id"])
    assert over_http(signed, OURS) is HTTPStatus.ACCEPTED
    settle_inbox()
    assert (state(unsigned), state(signed)) == (FAILED, ("processed", None))

    assert over_http(unsigned, OURS) is HTTPStatus.ACCEPTED
    settle_inbox()
    assert state(unsigned) == ("processed", None)
    assert gold() == 12


@pytest.mark.usefixtures("api")
def test_over_http_the_signed_document_wins_while_redis_is_away(
    settings: Settings,
) -> None:
    forged = hero_fight(gold_gained=5)
    true = hero_fight(session_id=forged["session_id"], gold_gained=7)
    assert over_http(forged, None) is HTTPStatus.ACCEPTED

    assert over_http(true, OURS) is HTTPStatus.ACCEPTED
    inbox.client().flushdb()
    CombatHistory.objects.filter(pk=true["session_id"]).update(
        due_at="2020-01-01T00:00Z"
    )
    sweep()
    settle_inbox()

    assert state(true) == ("processed", None)
    assert gold() == 7


@pytest.mark.parametrize("is_signed", [True, False])
def test_a_result_that_was_left_behind_is_judged_by_its_own_signature(
    redis_client: redis.Redis, *, is_signed: bool
) -> None:
    raw = json.dumps(document := hero_fight(gold_gained=7))
    redis_client.hset(
        redis_keys.SESSION_PREFIX + document["session_id"],
        mapping={
            "status": "finished",
            "result": raw,
            "signature": (OURS if is_signed else OTHERS).sign(raw),
        },
    )

    sweep()
    settle_inbox()

    assert state(document) == (("processed", None) if is_signed else FAILED)


def test_a_forced_save_is_signed_by_the_worker(
    redis_client: redis.Redis, signing: SyncDispatcher
) -> None:
    document = hero_fight()
    sid = document["session_id"]
    signing.start_combat_sync(sid, [HERO])
    redis_client.hset(redis_keys.SESSION_PREFIX + sid, "heartbeat", 1)
    redis_client.zadd(redis_keys.ACTIVE, {sid: 1})

    sweep()
    settle_inbox()

    assert state(document) == ("processed", None)


def test_a_field_that_is_no_text_holds_nothing_up(redis_client: redis.Redis) -> None:
    inbox.record(handoff(document := hero_fight(), OURS))
    key = redis_keys.RESULT_PREFIX + document["session_id"]
    redis_client.hset(key, mapping={b"conflict:\xff": b"\xff", "conflict:x": "{}"})

    settle_inbox()

    assert state(document) == ("processed", None)
    assert not redis_client.exists(redis_keys.INBOX)


def test_without_keys_nothing_is_asked_for(settings: Settings) -> None:
    settings.SETTLEMENT_ENGINE_KEYS = EngineKeys({})
    settle_combat(json.dumps(document := hero_fight()))

    assert state(document) == ("processed", None)
    assert unchecked(json.dumps(document)).signature == ""
