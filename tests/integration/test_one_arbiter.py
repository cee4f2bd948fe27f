"""Two documents of one session: one stands, whatever the doors they came by."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from threading import Barrier

import pytest
import redis
from django.db import connections
from pytest_django import Settings

from combat_history.models import Character, CombatHistory, RejectedPayload
from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.engine.handoff import Receipt, checked
from persistence.tasks import settle_combat, settle_inbox
from persistence.worker import inbox
from tests.support.api import NOBODY_LISTENS, accepted, post, problem
from tests.support.documents import HERO, make_document, make_participant
from tests.support.proxy import Proxy

ROUNDS = 60

pytestmark = pytest.mark.usefixtures("world", "api")


def another(document: Document, **over: object) -> Document:
    """Of the same session, later, with other vitals."""
    part = make_participant(state_snapshot={"hp": 7, "energy": 3}, gold_gained=1)
    end = document["meta"]["end_timestamp"] + 60
    other = make_document(
        {str(HERO): part}, session_id=document["session_id"], end_timestamp=end
    )
    return {**other, **over}


def over_http(document: Document) -> str:
    status = HTTPStatus(post(document).status_code)
    return {HTTPStatus.ACCEPTED: "accepted", HTTPStatus.CONFLICT: "conflict"}[status]


def through_redis(document: Document) -> str:
    return inbox.record(checked(document))[0]


def at_once(*acts: Callable[[], str]) -> list[str]:
    barrier = Barrier(len(acts))

    def run(act: Callable[[], str]) -> str:
        try:
            barrier.wait()
            return act()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def test_of_two_doors_at_once_exactly_one_accepts() -> None:
    winners = set()
    took = 0.0

    def timed_over_http(document: Document) -> str:
        nonlocal took
        began = time.monotonic()
        answer = over_http(document)
        took = time.monotonic() - began
        return answer

    for number in range(ROUNDS):
        first = make_document({str(HERO): make_participant(gold_gained=1)})
        second = {**first, "note": "another"}

        # The faster door waits a little longer each time, so that both get to win.
        def later(
            document: Document = second, wait: float = 2 * took * number / ROUNDS
        ) -> str:
            time.sleep(wait)
            return through_redis(document)

        answers = at_once(partial(timed_over_http, first), later)

        assert sorted(answers) == ["accepted", "conflict"], number
        winner = (first, second)[answers.index("accepted")]
        winners.add(answers.index("accepted"))
        settle_inbox()
        row = CombatHistory.objects.get(pk=first["session_id"])
        assert (row.settlement_status, row.document()) == ("processed", winner)
        kept = RejectedPayload.objects.get(session_id=first["session_id"])
        assert kept.code == "payload_conflict"
    assert winners == {0, 1}
    assert Character.objects.get(pk=HERO).gold == ROUNDS
    assert RejectedPayload.objects.count() == ROUNDS


def test_of_two_callers_over_http_exactly_one_is_accepted() -> None:
    for _ in range(10):
        first = make_document({str(HERO): make_participant(gold_gained=1)})
        second = {**first, "note": "another"}

        answers = at_once(partial(over_http, first), partial(over_http, second))

        assert sorted(answers) == ["accepted", "conflict"]
        assert RejectedPayload.objects.filter(session_id=first["session_id"]).exists()


def test_a_conflict_is_kept_before_it_is_told(
    document: Document, redis_client: redis.Redis
) -> None:
    """Also where Redis loses what it was given a moment later."""
    inbox.record(checked(document))

    problem(post(another(document)), HTTPStatus.CONFLICT, "payload_conflict")

    redis_client.flushdb()
    kept = RejectedPayload.objects.get()
    assert json.loads(bytes(kept.raw or b"")) == another(document)
    assert kept.times_seen == 1


def test_a_conflict_is_counted_once_as_it_was_sent_once(document: Document) -> None:
    inbox.record(checked(document))
    problem(post(another(document)), HTTPStatus.CONFLICT, "payload_conflict")

    settle_inbox()

    assert RejectedPayload.objects.get().times_seen == 1


def test_more_conflicts_than_redis_holds_are_all_kept(document: Document) -> None:
    inbox.record(checked(document))
    number = redis_keys.MAX_CONFLICTS_HELD + 3

    for note in range(number):
        other = another(document, note=note)
        problem(post(other), HTTPStatus.CONFLICT, "payload_conflict")
    settle_inbox()

    assert RejectedPayload.objects.filter(code="payload_conflict").count() == number


def test_where_redis_fails_in_between_nothing_is_said_that_is_not_so(
    document: Document, redis_proxy: Proxy
) -> None:
    """The answer to the hand-off is lost: PostgreSQL decides, and keeps."""
    accepted(post(document))
    redis_proxy.lose_reply_to(b"EVALSHA")

    problem(post(another(document)), HTTPStatus.CONFLICT, "payload_conflict")

    assert RejectedPayload.objects.get().code == "payload_conflict"


def account(client: redis.Redis, char_id: int = HERO) -> dict[bytes, bytes]:
    held: dict[bytes, bytes] = client.hgetall(redis_keys.account(char_id))  # type: ignore[assignment]
    return held


@pytest.fixture
def forgotten(document: Document, redis_client: redis.Redis) -> Document:
    """Settled, and then Redis lost its memory."""
    inbox.record(checked(document))
    settle_inbox()
    redis_client.flushdb()
    return document


def test_over_http_a_settled_session_is_judged_before_anything_is_written(
    forgotten: Document, redis_client: redis.Redis
) -> None:
    problem(post(another(forgotten)), HTTPStatus.CONFLICT, "payload_conflict")

    assert redis_client.dbsize() == 0
    assert RejectedPayload.objects.get().code == "payload_conflict"


def through_the_task(document: Document) -> None:
    settle_combat(json.dumps(document))


def through_the_engines_door(document: Document) -> None:
    inbox.record(checked(document))
    settle_inbox()


DOORS = [through_the_task, through_the_engines_door]


@pytest.mark.parametrize("door", DOORS)
def test_a_refused_document_leaves_no_vitals_in_the_account(
    forgotten: Document, redis_client: redis.Redis, door: Callable[[Document], None]
) -> None:
    door(another(forgotten))

    held = account(redis_client)
    end = forgotten["meta"]["end_timestamp"]
    assert (held[b"hp"], held[b"energy"]) == (b"450", b"20")
    assert held[b"vitals_at"] == b"%d000" % end
    assert held[b"last_combat_finished_at"] == b"%d" % end
    assert RejectedPayload.objects.get().code == "payload_conflict"


def test_what_the_player_did_since_the_refused_document_stands(
    forgotten: Document, redis_client: redis.Redis
) -> None:
    inbox.record(checked(another(forgotten)))
    later = (forgotten["meta"]["end_timestamp"] + 90) * 1000
    redis_client.hset(redis_keys.account(HERO), "hp", "99")
    redis_client.hset(redis_keys.account(HERO), "vitals_at", str(later))

    settle_inbox()

    assert account(redis_client)[b"hp"] == b"99"
    assert account(redis_client)[b"vitals_at"] == str(later).encode()


def test_a_player_whom_only_the_refused_document_names_is_put_right_too(
    forgotten: Document, redis_client: redis.Redis
) -> None:
    bystander = Character.objects.create(name="Bystander", hp=80, energy=40)
    part = make_participant(state_snapshot={"hp": 1, "energy": 1})
    inbox.record(checked(another(forgotten, participants={str(bystander.pk): part})))
    assert account(redis_client, bystander.pk)[b"hp"] == b"1"

    settle_inbox()

    held = account(redis_client, bystander.pk)
    assert (held[b"hp"], held[b"energy"]) == (b"80", b"40")
    assert b"last_combat_session_id" not in held


def test_a_receipt_of_postgresql_stands_against_a_later_document_in_redis(
    document: Document, settings: Settings, redis_client: redis.Redis
) -> None:
    """Accepted while Redis was away; Redis then accepts another before the sweep."""
    inbox.client()
    known = settings.REDIS_URL
    settings.REDIS_URL = NOBODY_LISTENS
    accepted(post(document))
    settings.REDIS_URL = known

    assert inbox.record(checked(another(document)))[0] is Receipt.ACCEPTED
    settle_inbox()

    assert CombatHistory.objects.get().document() == document
    assert RejectedPayload.objects.get().code == "payload_conflict"
    assert account(redis_client)[b"hp"] == b"450"
