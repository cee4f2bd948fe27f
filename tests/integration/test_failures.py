"""Domain failures: the combat is `failed`, visible, and takes nothing else down."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from combat_history.models import (
    Character,
    CombatHistory,
    InventoryItem,
    LedgerLine,
    RejectedPayload,
    SettlementAttempt,
)
from persistence.contract import redis_keys
from persistence.contract.document import Document, canonical_json
from persistence.contract.errors import PayloadInvalid
from persistence.engine.handoff import checked, unchecked
from persistence.tasks import settle_inbox
from persistence.worker import inbox
from tests.conftest import Settle
from tests.support.documents import (
    HERO,
    SAMPLE_END,
    SWORD,
    hero_fight,
    make_document,
    make_participant,
    sample_document,
)
from tests.support.factories import add_character
from tests.support.ids import new_session_id

BIGINT_MAX = 2**63 - 1


def loot(**entry: Any) -> Document:
    return hero_fight(xp_gained=10, ui_report={"loot_obtained": [{"qty": 1, **entry}]})


def with_meta(**meta: Any) -> Document:
    document = make_document()
    return {**document, "meta": {**document["meta"], **meta}}


FAILURES = [
    pytest.param(
        make_document(
            {"101": make_participant(xp_gained=1), "404": make_participant()}
        ),
        "unknown_character",
        "404",
        id="one of two characters unknown",
    ),
    pytest.param(
        loot(name="Шкура дракона"), "unknown_item", "Шкура дракона", id="name"
    ),
    pytest.param(
        hero_fight(items_gained=[{"item_template_id": "dragon_pelt", "qty": 1}]),
        "unknown_item",
        "dragon_pelt",
        id="template",
    ),
    pytest.param(
        hero_fight(xp_gained=-1), "out_of_range", "xp_gained", id="negative xp"
    ),
    pytest.param(
        hero_fight(gold_gained=10**10),
        "out_of_range",
        "gold_gained",
        id="above the cap",
    ),
    pytest.param(
        hero_fight(xp_gained=BIGINT_MAX + 1), "out_of_range", "xp_gained", id="> bigint"
    ),
    pytest.param(
        hero_fight(items_gained=[{"item_template_id": "sword_epic", "qty": 101}]),
        "out_of_range",
        "sword_epic",
        id="too many pieces",
    ),
    pytest.param(
        hero_fight(xp_gaind=5), "invalid_payload", "xp_gaind", id="misspelt reward"
    ),
    pytest.param(
        hero_fight(xp_gained="5"), "invalid_payload", "xp_gained", id="text as number"
    ),
    pytest.param(
        hero_fight(xp_gained=5.5), "invalid_payload", "xp_gained", id="part of a point"
    ),
    pytest.param(
        with_meta(finish_reason="magic"),
        "invalid_payload",
        "finish_reason",
        id="reason",
    ),
    pytest.param(
        with_meta(end_timestamp=SAMPLE_END * 1000),
        "invalid_payload",
        "end_timestamp",
        id="milliseconds: another unit",
    ),
    pytest.param(
        make_document({"0101": make_participant()}),
        "invalid_payload",
        "0101",
        id="key with leading zero",
    ),
    pytest.param(make_document({}), "invalid_payload", "participants", id="nobody"),
    pytest.param(
        {"session_id": str(new_session_id())},
        "invalid_payload",
        "meta",
        id="only an id",
    ),
]


@pytest.mark.parametrize(("document", "code", "named"), FAILURES)
def test_failure_applies_nothing_and_says_why(
    settle: Settle, document: Document, code: str, named: str
) -> None:
    settle(document)

    row = CombatHistory.objects.get()
    assert (row.settlement_status, row.failure_code) == ("failed", code)
    assert named in (row.failure_detail or "")
    assert row.settled_at is None
    assert row.result_payload == document
    hero = Character.objects.get()
    assert (hero.xp, hero.gold, hero.hp) == (0, 0, 500)
    assert not LedgerLine.objects.filter(kind="settlement").exists()
    assert not RejectedPayload.objects.exists()


BEYOND_BIGINT = {
    "character id": make_document({str(BIGINT_MAX + 1): make_participant()}),
    "worn row id": hero_fight(durability_loss={f"inventory:{BIGINT_MAX + 1}": 1}),
}


@pytest.mark.parametrize("document", BEYOND_BIGINT.values(), ids=BEYOND_BIGINT.keys())
def test_id_beyond_bigint_is_the_documents_own_fault(
    settle: Settle, document: Document
) -> None:
    settle(document)

    row = CombatHistory.objects.get()
    assert row.settlement_status == "failed"
    assert row.failure_code in {"invalid_payload", "out_of_range"}


def test_balance_that_would_leave_bigint_fails_the_combat(settle: Settle) -> None:
    add_character(102, xp=BIGINT_MAX - 5)

    settle(make_document({"102": make_participant(xp_gained=6)}))

    assert CombatHistory.objects.get().failure_code == "out_of_range"
    assert Character.objects.get(pk=102).xp == BIGINT_MAX - 5


def test_failing_combats_of_a_batch_take_nothing_else_down(world: None) -> None:
    failing = [as_document(param) for param in FAILURES]
    good = [hero_fight(xp_gained=2**n) for n in range(5)]
    for position, document in enumerate(good):
        failing.insert(position * 3, document)
    for document in failing:
        raw = json.dumps(document).encode()
        inbox.record(unchecked(raw))

    settle_inbox()

    assert CombatHistory.objects.filter(settlement_status="processed").count() == 5
    failed = CombatHistory.objects.filter(settlement_status="failed")
    assert failed.count() == len(FAILURES)
    assert "unexpected" not in failed.values_list("failure_code", flat=True)
    assert not SettlementAttempt.objects.exists(), "the batch was not taken apart"
    assert Character.objects.get().xp == 2**5 - 1


def as_document(param: Any) -> Document:
    document: Document = param.values[0]
    return document


UNSTORABLE = [
    pytest.param("\\u0000", "NUL", id="NUL"),
    pytest.param("\\ud800", "surrogate", id="lone surrogate"),
]


@pytest.mark.parametrize(("escape", "named"), UNSTORABLE)
def test_text_that_jsonb_refuses_fails_with_its_exact_bytes(
    settle: Settle, escape: str, named: str
) -> None:
    text = json.dumps(make_document(note="?")).replace("?", escape)

    settle(text)

    row = CombatHistory.objects.get()
    assert (row.settlement_status, row.failure_code) == ("failed", "invalid_payload")
    assert named in (row.failure_detail or "")
    assert bytes(row.raw_payload or b"") == text.encode()
    assert row.participant_ids == [HERO]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_number_that_jsonb_refuses_fails_with_its_exact_bytes(
    settle: Settle, number: str
) -> None:
    text = json.dumps(make_document(note="?")).replace('"?"', number)

    settle(text)

    row = CombatHistory.objects.get()
    assert (row.settlement_status, row.failure_code) == ("failed", "invalid_payload")
    assert bytes(row.raw_payload or b"") == text.encode()


def test_surrogate_in_a_dict_keeps_bytes_that_read_back_the_same(
    settle: Settle,
) -> None:
    document = {**make_document(note="\udfff"), "\ud800": 1}

    settle(document)

    row = CombatHistory.objects.get()
    assert row.failure_code == "invalid_payload"
    kept = bytes(row.raw_payload or b"").decode("utf-8", "surrogatepass")
    assert json.loads(kept) == document


STRANGE = {
    "NUL": '"\\u0000"',
    "lone surrogate": '"\\ud800"',
    "not a number": "NaN",
    "overflow": "1e400",
    "depth 150": "[" * 150 + "]" * 150,
    "10**400": "1" + "0" * 400,
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE.keys())
def test_engine_and_worker_judge_strange_values_alike(
    settle: Settle, strange: str
) -> None:
    """Refused by `submit_combat` if and only if it would end as invalid_payload."""
    text = json.dumps(make_document(note="?")).replace('"?"', strange)
    try:
        checked(text)
        expected: tuple[str, str | None] = ("processed", None)
    except PayloadInvalid as refused:
        expected = ("failed", refused.code)

    settle(text)

    row = CombatHistory.objects.get()
    assert (row.settlement_status, row.failure_code) == expected
    if row.settlement_status == "processed":
        assert row.document() == json.loads(text)
    else:
        assert bytes(row.raw_payload or b"") == text.encode()


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE.keys())
def test_strange_values_in_a_fight_log_do_not_hold_the_rewards(
    settle: Settle, strange: str
) -> None:
    """The fight log never meets jsonb: a bare `send_task` is kept and applied."""
    text = json.dumps(make_document(replay_log=["?"])).replace('"?"', strange)

    settle(text)

    row = CombatHistory.objects.get()
    assert row.settlement_status == "processed"
    assert canonical_json(row.document()) == canonical_json(json.loads(text))
    assert Character.objects.get().gold == 5


@pytest.mark.parametrize("place", ["note", "replay_log"])
@pytest.mark.parametrize("inside", ["", '"\\ud800"', "NaN"])
def test_depth_is_told_as_the_reason_where_no_row_can_be(
    settle: Settle, place: str, inside: str
) -> None:
    deep = "[" * 400 + inside + "]" * 400
    text = json.dumps({**make_document(), place: ["?"]}).replace('"?"', deep)

    settle(text)

    rejected = RejectedPayload.objects.get()
    assert bytes(rejected.raw or b"") == text.encode()
    assert "too deeply" in rejected.errors[0]["message"]


def test_failed_combat_leaves_no_tombstone_and_no_entry(
    settle: Settle, redis_client: redis.Redis
) -> None:
    document = loot(name="Шкура дракона")

    settle(document)

    session_id = CombatHistory.objects.get().session_id
    assert not redis_client.exists(redis_keys.tombstone(session_id))
    assert not redis_client.exists(redis_keys.INBOX)


def test_second_delivery_of_a_failed_combat_leaves_it_failed(settle: Settle) -> None:
    document = loot(name="Шкура дракона")
    settle(document)
    row = CombatHistory.objects.values().get()

    settle(document, json.dumps(document))

    assert CombatHistory.objects.values().get() == row


def test_all_of_a_failing_combat_stays_undone(settle: Settle) -> None:
    """The sample's own changes, and one unknown participant beside them."""
    document = sample_document()
    document["participants"]["404"] = make_participant()

    settle(document)

    assert Character.objects.get().gold == 0
    assert InventoryItem.objects.count() == 2
    assert InventoryItem.objects.get(pk=SWORD).durability == 100
