"""Previews, and replays on the terms of whoever saw one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from combat_history.actions import correct
from combat_history.actions.dry_run import DryRun, dry_run
from combat_history.actions.replay import Terms, replay
from combat_history.models import (
    Character,
    CombatHistory,
    InventoryItem,
    LedgerLine,
    ReplayRequest,
    SettlementDiscrepancy,
)
from persistence.contract.document import Document
from persistence.tasks import settle_inbox
from tests.support.actions import REASON, fail, request_of, status
from tests.support.admin import unknown_loot
from tests.support.documents import HERO, PELT, POTION, make_document, make_participant
from tests.support.examples import examples
from tests.support.factories import add_template

pytestmark = pytest.mark.usefixtures("world")


def hungry(qty: int = 9) -> Document:
    """A fight that drinks more than there is, and whose loot is not known."""
    document = unknown_loot()
    document["participants"]["101"]["changes"]["items_consumed"] = [
        {"inventory_id": POTION, "item_template_id": "hp_pot_small", "qty": qty}
    ]
    return document


def test_a_preview_tells_what_will_happen_and_changes_nothing() -> None:
    session_id = fail(hungry())
    add_template("dragon_scale")
    before = list(InventoryItem.objects.order_by("pk").values())

    seen = dry_run(session_id, fail_on_shortage=False)

    assert seen.failure is None
    (line,) = seen.lines
    assert (line.character_id, line.xp_delta, line.gold_delta) == (HERO, 10, 5)
    assert {m["kind"]: m["delta"] for m in line.items} == {"consumed": -5, "gained": 3}
    (short,) = seen.shortages
    assert (short.code, short.wanted, short.applied) == ("item_shortage", 9, 5)
    assert list(InventoryItem.objects.order_by("pk").values()) == before
    assert status(session_id) == "failed"
    assert not SettlementDiscrepancy.objects.exists()


def test_a_preview_says_what_would_fail() -> None:
    session_id = fail(hungry())

    assert failure(dry_run(session_id, fail_on_shortage=False)) == "unknown_item"
    add_template("dragon_scale")
    assert failure(dry_run(session_id, fail_on_shortage=True)) == "shortage"


def failure(seen: DryRun) -> str | None:
    return seen.failure[0] if seen.failure else None


def test_what_was_previewed_is_what_runs(admin: User) -> None:
    session_id = fail(unknown_loot())
    add_template("dragon_scale")
    seen = dry_run(session_id, fail_on_shortage=False)
    assert seen.fingerprint is not None

    terms = Terms("record", {session_id: seen.fingerprint})
    replay([session_id], actor=admin, reason=REASON, terms=terms)
    settle_inbox()

    assert status(session_id) == "processed"
    request = request_of(session_id)
    assert (request.state, request.actor_name) == ("processed", "anna")
    assert (request.shortages, request.reason) == ("record", REASON)
    assert request.finished_at is not None


MOVES: dict[str, Callable[[], object]] = {
    "purse": lambda: Character.objects.filter(pk=HERO).update(gold=7),
    "stack": lambda: InventoryItem.objects.filter(pk=POTION).update(quantity=4),
    "template": lambda: connection.cursor().execute(
        "UPDATE item_templates SET stackable = NOT stackable WHERE id = 'dragon_scale'"
    ),
}


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_a_replay_refuses_a_state_that_moved(
    admin: User, move: Callable[[], object]
) -> None:
    session_id = fail(hungry(2))
    add_template("dragon_scale")
    seen = dry_run(session_id, fail_on_shortage=False)
    assert seen.fingerprint is not None
    move()

    terms = Terms(fingerprints={session_id: seen.fingerprint})
    replay([session_id], actor=admin, reason=REASON, terms=terms)
    settle_inbox()

    combat = CombatHistory.objects.get(pk=session_id)
    assert (combat.settlement_status, combat.failure_code) == ("failed", "state_moved")
    request = request_of(session_id)
    assert request.state == "refused"
    assert request.detail.startswith("state_moved: ")
    assert not LedgerLine.objects.filter(session_id=session_id).exists()


def test_a_batch_that_moves_the_state_first_refuses_too(admin: User) -> None:
    """Both were previewed on the same purse; only the earlier one finds it."""
    first, second = unknown_loot(), unknown_loot()
    second["meta"]["end_timestamp"] += 1
    ids = [fail(first), fail(second)]
    add_template("dragon_scale")
    fingerprints = {}
    for session_id in ids:
        seen = dry_run(session_id, fail_on_shortage=False)
        assert seen.fingerprint is not None
        fingerprints[session_id] = seen.fingerprint

    terms = Terms(fingerprints=fingerprints)
    replay(ids, actor=admin, reason=REASON, terms=terms)
    settle_inbox()

    assert [status(session_id) for session_id in ids] == ["processed", "failed"]
    assert request_of(ids[1]).state == "refused"


@pytest.mark.parametrize(
    ("shortages", "ends"), [("record", "processed"), ("fail", "failed")]
)
def test_the_policy_of_a_replay_is_its_own(
    admin: User, shortages: str, ends: str
) -> None:
    session_id = fail(hungry())
    add_template("dragon_scale")

    replay([session_id], actor=admin, reason=REASON, terms=Terms(shortages))
    settle_inbox()

    assert status(session_id) == ends
    assert request_of(session_id).state == ends


def test_a_combat_has_one_queued_replay(admin: User) -> None:
    session_id = fail(unknown_loot())
    replay([session_id], actor=admin, reason=REASON)

    with pytest.raises(IntegrityError), transaction.atomic():
        ReplayRequest.objects.create(
            session_id=session_id, actor_name="x", reason=REASON
        )


PARTS = st.fixed_dictionaries(
    {
        "xp_gained": st.integers(0, 50),
        "gold_gained": st.integers(-40, 40),
        "items_consumed": st.lists(
            st.fixed_dictionaries(
                {
                    "inventory_id": st.sampled_from([55, 56, 77]),
                    "qty": st.integers(1, 6),
                }
            ),
            max_size=3,
        ),
        "durability_loss": st.dictionaries(
            st.sampled_from(["item:sword_epic", "inventory:56", "inventory:55"]),
            st.integers(0, 9),
            max_size=2,
        ),
        "items_gained": st.lists(
            st.fixed_dictionaries(
                {
                    "item_template_id": st.sampled_from([PELT, "dragon_scale"]),
                    "qty": st.integers(1, 3),
                }
            ),
            max_size=2,
        ),
    }
)


@given(
    parts=st.lists(PARTS, min_size=1, max_size=2),
    purse=st.integers(0, 30),
    potions=st.integers(1, 9),
    is_strict=st.booleans(),
    is_known=st.booleans(),
)
@settings(
    max_examples=examples(20),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_preview_equals_effect(
    admin: User,
    parts: list[dict[str, Any]],
    purse: int,
    potions: int,
    is_strict: bool,
    is_known: bool,
) -> None:
    if is_known:
        add_template_once("dragon_scale")
    Character.objects.get_or_create(pk=102, defaults={"name": "Rival"})
    names = dict(zip(["101", "102"], parts, strict=False))
    players = {name: make_participant(**part) for name, part in names.items()}
    document = make_document({**players, "101x": {}})
    # It fails for a reason of its own first, whatever it would do.
    broken = copy.deepcopy(document)
    broken["participants"]["999999"] = make_participant()
    session_id = fail(broken)
    correct.correct(session_id, document, actor=admin, reason=REASON)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE characters SET gold = %s WHERE id = 101", [purse])
        cursor.execute("UPDATE inventory SET quantity = %s WHERE id = 55", [potions])
    seen = dry_run(session_id, fail_on_shortage=is_strict)
    assert seen.fingerprint is not None

    policy = "fail" if is_strict else "record"
    terms = Terms(policy, {session_id: seen.fingerprint})
    replay([session_id], actor=admin, reason=REASON, terms=terms)
    settle_inbox()

    lines = LedgerLine.objects.filter(session_id=session_id).order_by("id")
    if seen.failure is not None:
        assert status(session_id) == "failed"
        assert not lines
        return
    assert status(session_id) == "processed"
    # Ids of new rows are taken from the sequence each time.
    assert [without_new_ids(line) for line in lines] == [
        without_new_ids(line) for line in seen.lines
    ]
    shortages = SettlementDiscrepancy.objects.filter(session_id=session_id)
    assert [(d.code, d.wanted, d.applied) for d in shortages.order_by("id")] == [
        (d.code, d.wanted, d.applied) for d in seen.shortages
    ]


def add_template_once(id_: str) -> None:
    from combat_history.models import ItemTemplate

    if not ItemTemplate.objects.filter(pk=id_).exists():
        add_template(id_)


def without_new_ids(line: Any) -> list[Any]:
    items = [
        {
            key: value
            for key, value in movement.items()
            if key != "image"
            and (key != "inventory_id" or movement["kind"] != "gained")
        }
        for movement in line.items
    ]
    return [line.character_id, line.xp_delta, line.gold_after, line.revision, items]
