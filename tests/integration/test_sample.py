"""The sample, from `send_task` to the tables: exactly the documented amounts."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import redis
from django.conf import settings

from combat_history.models import (
    Character,
    CombatHistory,
    CombatParticipant,
    InventoryItem,
    LedgerLine,
    RejectedPayload,
    SettlementDiscrepancy,
)
from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.engine.handoff import checked
from persistence.worker import inbox
from tests.conftest import Settle
from tests.support.documents import HERO, PELT, POTION, SWORD, sample_document
from tests.support.mortal import mortal
from tests.support.waiting import wait_until
from tests.support.worker import PROJECT_ROOT, CeleryProcess, wait_idle

# What an engine needs of ours: nothing.
BARE_SENDER = """
import json
import sys
from celery import Celery

app = Celery(broker=sys.argv[1])
document = json.load(sys.stdin)
for _ in range(int(sys.argv[2])):
    app.send_task("settle_combat", args=[document])
"""


def send_bare(document: Document, times: int = 1) -> subprocess.Popen[str]:
    sender = subprocess.Popen(
        mortal(sys.executable, "-c", BARE_SENDER, settings.BROKER_URL, str(times)),
        stdin=subprocess.PIPE,
        text=True,
        cwd="/",
    )
    assert sender.stdin is not None
    sender.stdin.write(json.dumps(document))
    sender.stdin.close()
    return sender


def tables() -> dict[str, list[Any]]:
    """All that a settlement may change."""
    models = (
        Character,
        InventoryItem,
        CombatHistory,
        CombatParticipant,
        LedgerLine,
        SettlementDiscrepancy,
    )
    return {
        model.__name__: list(model.objects.order_by("pk").values()) for model in models
    }


def assert_sample_applied_once() -> None:
    hero = Character.objects.get(pk=HERO)
    assert (hero.xp, hero.gold, hero.hp, hero.energy) == (1250, 100, 450, 20)
    items = InventoryItem.objects.order_by("id").values_list(
        "character_id", "item_template_id", "quantity", "durability"
    )
    assert list(items) == [
        (HERO, "hp_pot_small", 3, None),
        (HERO, "sword_epic", 1, 95),
        (HERO, PELT, 1, None),
    ]
    line = LedgerLine.objects.get(kind="settlement")
    assert (line.xp_delta, line.gold_delta) == (1250, 100)
    assert (line.xp_after, line.gold_after) == (1250, 100)
    assert not SettlementDiscrepancy.objects.exists()


@pytest.mark.parametrize("form", [dict, json.dumps], ids=["dict", "json text"])
def test_the_sample_changes_the_tables_by_exactly_the_documented_amounts(
    settle: Settle, form: Any
) -> None:
    document = sample_document()

    settle(form(document))

    assert_sample_applied_once()
    row = CombatHistory.objects.get()
    assert str(row.session_id) == document["session_id"]
    assert (row.settlement_status, row.failure_code) == ("processed", None)
    assert row.participant_ids == [HERO]
    assert row.finished_at.timestamp() == document["meta"]["end_timestamp"]
    assert row.settled_at is not None
    assert row.document() == document
    participant = CombatParticipant.objects.get()
    assert participant.character_id == HERO
    assert participant.session_id == row.session_id


def test_the_committed_example_settles_as_it_stands(settle: Settle) -> None:
    text = (PROJECT_ROOT / "examples" / "sample_payload.json").read_text("utf-8")

    settle(text)

    assert_sample_applied_once()
    assert CombatHistory.objects.get().document() == json.loads(text)


def test_ledger_tells_every_movement_of_the_sample(settle: Settle) -> None:
    settle(sample_document())

    movements = LedgerLine.objects.get(kind="settlement").items
    pelt = InventoryItem.objects.get(item_template_id=PELT)
    told = [(m["inventory_id"], m["kind"], m["delta"], m["after"]) for m in movements]
    assert told == [
        (POTION, "consumed", -2, 3),
        (SWORD, "worn", 0, 1),
        (pelt.id, "gained", 1, 1),
    ]
    assert movements[1]["durability_after"] == 95


def test_ten_more_from_four_processes_at_once_change_nothing(
    world: None, worker: CeleryProcess
) -> None:
    document = sample_document()
    assert send_bare(document).wait() == 0
    wait_until(lambda: CombatHistory.objects.exists(), "the sample is settled")
    before = tables()

    senders = [send_bare(document, times) for times in (3, 3, 2, 2)]
    assert [sender.wait() for sender in senders] == [0, 0, 0, 0]
    wait_idle()

    assert tables() == before
    assert_sample_applied_once()
    assert not RejectedPayload.objects.exists()


@pytest.mark.parametrize("form", [dict, json.dumps], ids=["dict", "json text"])
def test_another_body_after_settlement_is_a_conflict_and_changes_nothing(
    settle: Settle, form: Any
) -> None:
    document = sample_document()
    settle(document)
    before = tables()
    other = {**document, "meta": {**document["meta"], "winner_team": "red"}}

    settle(form(other))

    assert tables() == before
    conflict = RejectedPayload.objects.get()
    assert conflict.code == "payload_conflict"
    assert str(conflict.session_id) == document["session_id"]
    assert json.loads(bytes(conflict.raw or b"")) == other


def test_another_body_before_settlement_is_a_conflict_and_the_first_is_applied(
    settle: Settle, redis_client: redis.Redis
) -> None:
    document = sample_document()
    other = sample_document(session_id=document["session_id"], engine="other")
    inbox.record(checked(document))

    settle(other)

    assert_sample_applied_once()
    assert CombatHistory.objects.get().document() == document
    conflict = RejectedPayload.objects.get()
    assert json.loads(bytes(conflict.raw or b"")) == other
    key = redis_keys.result(CombatHistory.objects.get().session_id)
    assert sorted(redis_client.hkeys(key)) == [b"accepted_at", b"sha256"]
