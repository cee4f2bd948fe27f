"""The stale button: whatever became of a fight, its player is told the truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
import redis
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from combat_history.models import CombatHistory, Status
from combat_history.reading.lookup import ACTIVE, UNKNOWN, Credit
from combat_history.reading.outcomes import Loot, Outcome
from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.contract.ids import short_id
from persistence.contract.outcome import summary
from persistence.engine.handoff import checked, unchecked
from persistence.protocols import Delivery
from persistence.savers.registry import open_combat_saver
from persistence.tasks import settle_inbox
from persistence.worker import inbox
from tests.conftest import Settle
from tests.support.documents import (
    HERO,
    SAMPLE_END,
    make_document,
    make_participant,
    sample_document,
)
from tests.support.ids import new_session_id
from tests.support.lookups import (
    Find,
    finished,
    hand_off,
    id_of,
    start,
    unknown_loot,
)

STRANGER = 102
UNKNOWN_LOOT = Outcome(
    "blue",
    "victory",
    SAMPLE_END,
    is_winner=True,
    team=None,
    xp=0,
    gold=5,
    loot=(Loot("dragon_scale", 3),),
)

pytestmark = pytest.mark.usefixtures("world")


def test_scenario_b_step_by_step(
    find: Find, redis_client: redis.Redis, document: Document
) -> None:
    session_id = id_of(document)
    key = start(redis_client, document)
    assert find(session_id, HERO) == ACTIVE

    hand_off(document)
    assert find(session_id, HERO) == finished(Credit.PENDING)

    redis_client.delete(key)  # its five minutes are over
    assert find(session_id, HERO) == finished(Credit.PENDING)

    settle_inbox()
    assert find(session_id, HERO) == finished(Credit.CREDITED)

    tombstone = redis_keys.tombstone(session_id)
    assert redis_client.delete(tombstone)  # a day is over
    assert find(session_id, HERO) == finished(Credit.CREDITED)
    assert 86_000 < redis_client.ttl(tombstone) <= 86_400

    redis_client.flushdb()
    assert find(session_id, HERO) == finished(Credit.CREDITED)
    assert redis_client.get(tombstone) == summary(document)


def test_strangers_learn_nothing_at_any_step(
    find: Find, redis_client: redis.Redis, document: Document
) -> None:
    session_id = id_of(document)
    start(redis_client, document)
    never_existed = find(uuid4(), STRANGER)
    assert never_existed == UNKNOWN

    assert find(session_id, STRANGER) == never_existed
    hand_off(document)
    assert find(session_id, STRANGER) == never_existed
    redis_client.delete(redis_keys.session(session_id))
    assert find(session_id, STRANGER) == never_existed
    settle_inbox()
    assert find(session_id, STRANGER) == never_existed
    redis_client.flushdb()
    assert find(session_id, STRANGER) == never_existed
    assert find(session_id, HERO) == finished(Credit.CREDITED)


def test_each_player_is_told_their_own_part(find: Find, settle_here: Settle) -> None:
    winner = make_participant(gold_gained=5, team="blue")
    loser = make_participant(gold_gained=-3, team="red", is_winner=False)
    document = make_document({"-7": {}, "101": winner, "55": loser, "goblin_1": {}})
    hand_off(document)

    mine, theirs = (find(id_of(document), char_id) for char_id in (HERO, 55))

    assert mine.outcome is not None
    assert theirs.outcome is not None
    assert (mine.outcome.gold, mine.outcome.is_winner) == (5, True)
    assert (theirs.outcome.gold, theirs.outcome.team) == (-3, "red")
    assert find(id_of(document), -7) == UNKNOWN


def test_any_past_fight_is_found_not_only_the_last(
    find: Find, settle_here: Settle
) -> None:
    fights = [make_document(end_timestamp=1_735_460_000 + n) for n in range(3)]
    settle_here(*fights)

    for fight in fights:
        assert find(id_of(fight), HERO).credit is Credit.CREDITED


@pytest.mark.parametrize(
    "form", [str, lambda id_: id_.hex, short_id, lambda id_: str(id_).upper()]
)
def test_every_form_of_the_id_is_understood(
    find: Find, settle_here: Settle, document: Document, form: Callable[[UUID], str]
) -> None:
    settle_here(document)

    assert find(form(id_of(document)), HERO) == finished(Credit.CREDITED)


@pytest.mark.parametrize("text", ["", "attack", "uuid-555-666", "x" * 10_000, "\x00"])
def test_what_is_no_id_is_no_fight(find: Find, text: str) -> None:
    assert find(text, HERO) == UNKNOWN


def test_failed_fight_is_under_review(
    find: Find, settle_here: Settle, redis_client: redis.Redis
) -> None:
    document = unknown_loot()
    settle_here(document)

    assert find(id_of(document), HERO) == finished(Credit.UNDER_REVIEW, UNKNOWN_LOOT)
    assert not redis_client.exists(redis_keys.tombstone(id_of(document)))


def test_replayed_fight_is_being_credited_again(
    find: Find, settle_here: Settle
) -> None:
    document = unknown_loot()
    settle_here(document)
    CombatHistory.objects.update(settlement_status=Status.PENDING)

    assert find(id_of(document), HERO) == finished(Credit.PENDING, UNKNOWN_LOOT)


def test_voided_fight_is_cancelled(
    find: Find, settle_here: Settle, redis_client: redis.Redis
) -> None:
    document = unknown_loot()
    settle_here(document)
    CombatHistory.objects.update(settlement_status=Status.VOIDED)

    assert find(id_of(document), HERO) == finished(Credit.CANCELLED, UNKNOWN_LOOT)
    assert not redis_client.exists(redis_keys.tombstone(id_of(document)))


def test_failed_fight_that_is_sent_again_is_still_under_review(
    find: Find, settle_here: Settle
) -> None:
    """Its document lies in the inbox once more: that alone promises no reward."""
    document = unknown_loot()
    settle_here(document)
    hand_off(document)

    assert find(id_of(document), HERO).credit is Credit.UNDER_REVIEW


def test_result_against_the_contract_is_under_review_without_amounts(
    find: Find, settle_here: Settle
) -> None:
    part = make_participant(xp_gained="ten", gold_gained=-1)
    document = make_document({str(HERO): part})
    raw = json.dumps(document).encode()
    inbox.record(unchecked(raw))
    assert find(id_of(document), HERO) == finished(Credit.PENDING, None)

    settle_inbox()

    assert find(id_of(document), HERO) == finished(Credit.UNDER_REVIEW, None)


def test_fight_settled_under_an_older_contract_is_still_told(find: Find) -> None:
    document = sample_document()
    document["participants"][str(HERO)]["changes"]["honour_gained"] = 3
    CombatHistory.objects.create(
        session_id=id_of(document),
        participant_ids=[HERO],
        settlement_status=Status.PROCESSED,
        settled_at=timezone.now(),
        result_payload=document,
    )

    assert find(id_of(document), HERO) == finished(Credit.CREDITED)


def test_receipt_that_only_postgresql_has_is_being_credited(
    find: Find, document: Document
) -> None:
    handoff = checked(document)
    with open_combat_saver() as saver:
        saver.receive(Delivery(handoff.session_id, handoff.raw, handoff.sha256))

    assert find(handoff.session_id, HERO) == finished(Credit.PENDING)


def test_finished_session_whose_result_was_never_sent(
    find: Find, redis_client: redis.Redis, document: Document
) -> None:
    start(redis_client, document, status="finished")
    assert find(id_of(document), HERO) == finished(Credit.PENDING, None)

    start(redis_client, document, status="finished", result=json.dumps(document))
    assert find(id_of(document), HERO) == finished(Credit.PENDING)

    start(redis_client, document, status="finished", result="{")
    assert find(id_of(document), HERO) == finished(Credit.PENDING, None)
    assert find(id_of(document), STRANGER) == UNKNOWN


def test_a_late_heartbeat_makes_no_fight_of_what_is_handed_off(
    find: Find, redis_client: redis.Redis, document: Document
) -> None:
    start(redis_client, document)
    assert find(id_of(document), HERO) == ACTIVE
    hand_off(document)
    key = redis_keys.session(id_of(document))
    redis_client.hset(key, "status", "active")

    assert find(id_of(document), HERO) == finished(Credit.PENDING)
    assert find(id_of(document), STRANGER) == UNKNOWN


def test_last_fight_of_the_account_is_finished_even_where_nothing_else_tells(
    find: Find, redis_client: redis.Redis
) -> None:
    session_id = new_session_id()
    account = redis_keys.account(HERO)
    redis_client.hset(account, "last_combat_session_id", str(session_id))

    assert find(session_id, HERO) == finished(Credit.PENDING, None)
    assert find(session_id, STRANGER) == UNKNOWN


def test_live_session_knows_its_players_by_their_actors(
    find: Find, redis_client: redis.Redis
) -> None:
    session_id = new_session_id()
    key = redis_keys.session(session_id)
    redis_client.hset(key, "participants", "[")
    redis_client.hset(key, f"actor:{HERO}", "{}")

    assert find(session_id, HERO) == ACTIVE
    assert find(session_id, STRANGER) == UNKNOWN


def test_foreign_types_under_our_keys_hide_nothing(
    find: Find, settle_here: Settle, redis_client: redis.Redis, document: Document
) -> None:
    settle_here(document)
    session_id = id_of(document)
    redis_client.flushdb()
    for key in (
        redis_keys.session(session_id),
        redis_keys.result(session_id),
        redis_keys.account(HERO),
    ):
        redis_client.rpush(key, "foreign")

    assert find(session_id, HERO) == finished(Credit.CREDITED)


def test_account_of_a_foreign_type_costs_nothing(
    find: Find,
    redis_client: redis.Redis,
    document: Document,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    """The game's newer code keeps its accounts as RedisJSON."""
    redis_client.set(redis_keys.account(HERO), "{}")
    start(redis_client, document)
    hand_off(document)

    with django_assert_num_queries(0):
        assert find(id_of(document), HERO) == finished(Credit.PENDING)


def test_unknown_id_is_asked_of_postgresql_once(
    find: Find,
    redis_client: redis.Redis,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    session_id = new_session_id()

    with django_assert_num_queries(1):
        assert find(session_id, HERO) == UNKNOWN
    with django_assert_num_queries(0):
        assert find(session_id, HERO) == UNKNOWN
        assert find(session_id, STRANGER) == UNKNOWN
    assert 0 < redis_client.ttl(redis_keys.unknown(session_id)) <= 30


def test_fight_of_others_is_not_remembered_as_unknown(
    find: Find, settle_here: Settle, redis_client: redis.Redis
) -> None:
    document = unknown_loot()
    settle_here(document)
    redis_client.flushdb()

    assert find(id_of(document), STRANGER) == UNKNOWN

    assert redis_client.dbsize() == 0
    assert find(id_of(document), HERO).credit is Credit.UNDER_REVIEW


def test_unknown_id_that_becomes_known_is_seen_at_once(
    find: Find, redis_client: redis.Redis, document: Document
) -> None:
    session_id = id_of(document)
    assert find(session_id, HERO) == UNKNOWN
    assert redis_client.exists(redis_keys.unknown(session_id))

    start(redis_client, document)
    assert find(session_id, HERO) == ACTIVE
    redis_client.delete(redis_keys.session(session_id))
    assert find(session_id, HERO) == UNKNOWN
    hand_off(document)
    assert find(session_id, HERO) == finished(Credit.PENDING)
    settle_inbox()
    assert find(session_id, HERO) == finished(Credit.CREDITED)


def test_unknown_id_whose_settlement_fails_is_seen_at_once(
    find: Find, redis_client: redis.Redis
) -> None:
    document = unknown_loot()
    assert find(id_of(document), HERO) == UNKNOWN

    hand_off(document)
    settle_inbox()
    redis_client.delete(redis_keys.account(HERO))  # on to the next fight

    assert find(id_of(document), HERO).credit is Credit.UNDER_REVIEW


def test_unknown_id_whose_receipt_the_sweep_returns_is_seen_at_once(
    find: Find, document: Document
) -> None:
    assert find(id_of(document), HERO) == UNKNOWN
    handoff = checked(document)
    with open_combat_saver() as saver:
        saver.receive(Delivery(handoff.session_id, handoff.raw, handoff.sha256))

    inbox.put([handoff.session_id])

    assert find(id_of(document), HERO) == finished(Credit.PENDING)


def test_loot_is_told_under_the_name_it_was_shown_with(
    find: Find, settle_here: Settle
) -> None:
    part = make_participant(
        items_gained=[{"item_template_id": "wolf_pelt", "qty": 2}],
        ui_report={
            "loot_obtained": [
                {"item_template_id": "wolf_pelt", "name": "Шкура вожака", "qty": 2}
            ]
        },
    )
    document = make_document({str(HERO): part})
    settle_here(document)

    outcome = find(id_of(document), HERO).outcome

    assert outcome is not None
    assert outcome.loot == (Loot("Шкура вожака", 2),)
