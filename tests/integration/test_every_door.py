"""A document of any form is told alike by every door: accepted, or refused in order."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from django.core.management import CommandError, call_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from combat_history.actions import resubmit
from combat_history.models import CombatHistory, RejectedPayload
from persistence.contract import redis_keys
from persistence.contract.document import Document, readable
from persistence.contract.errors import OperationInvalid, PayloadInvalid
from persistence.contract.payload import CombatResultPayload
from persistence.dispatcher import SyncDispatcher
from persistence.tasks import settle_combat, settle_inbox, sweep
from settlement_project.celery import app
from tests.conftest import Settle
from tests.support.api import post
from tests.support.documents import HERO, make_document, make_participant, op
from tests.support.examples import examples
from tests.support.operations import queued
from tests.support.worker import CeleryProcess, wait_idle
from tests.unit.strategies import deep_values, nested, typed_values

pytestmark = pytest.mark.usefixtures("world", "api")

ANY_FORM = settings(
    max_examples=examples(10),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PLACES = ["note", "replay_log", "meta", "participants"]


def with_value(place: str, value: Any) -> Document:
    document = make_document()
    match place:
        case "meta":
            document["meta"]["note"] = value
        case "participants":
            document["participants"]["goblin_1"] = {"note": value}
        case _:
            document[place] = [value]
    return document


def as_text(document: Document) -> str:
    return readable(document).decode("utf-8", "surrogatepass")


def codes() -> list[str]:
    return sorted(RejectedPayload.objects.values_list("code", flat=True))


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises((PayloadInvalid, CommandError, OperationInvalid)) as caught:
        call()
    return str(caught.value)


@given(value=deep_values(201, 1500), place=st.sampled_from(PLACES))
@ANY_FORM
def test_nesting_beyond_the_bound_is_refused_by_every_door(
    engine: SyncDispatcher, redis_client: redis.Redis, value: Any, place: str
) -> None:
    document = with_value(place, value)
    text = as_text(document)
    raw = text.encode("utf-8", "surrogatepass")
    RejectedPayload.objects.all().delete()

    for form in (document, text):
        settle_combat(form)
        assert "too deeply" in refusal(lambda: engine.submit_combat_sync(form))  # noqa: B023 -- called at once
    assert "too deeply" in refusal(lambda: engine.submit_combat_sync(raw))
    assert "too deeply" in refusal(lambda: resubmit.check(text))
    assert post(raw).status_code == 422
    redis_client.hset(
        redis_keys.session(UUID(document["session_id"])),
        mapping={"status": "finished", "result": raw},
    )
    sweep()

    # And of the session whose result is not usable.
    assert set(codes()) == {"invalid_payload", "result_missing"}
    kept = {bytes(r.raw or b"") for r in RejectedPayload.objects.all()}
    assert raw in kept
    assert not CombatHistory.objects.exists()
    assert not redis_client.exists(redis_keys.INBOX)


@given(value=deep_values(0, 190), place=st.sampled_from(PLACES))
@ANY_FORM
def test_nesting_within_the_bound_never_raises(
    engine: SyncDispatcher, value: Any, place: str
) -> None:
    for form in (with_value(place, value), as_text(with_value(place, value))):
        settle_combat(form)
        try:
            engine.submit_combat_sync(form)
        except PayloadInvalid:
            continue
    settle_inbox()

    assert not RejectedPayload.objects.exists()


def test_both_forms_have_the_same_bound(engine: SyncDispatcher) -> None:
    for depth in (199, 200):
        document = make_document(note=nested(depth, 1, "["))
        engine.submit_combat_sync(json.dumps(document))
        engine.submit_combat_sync(document)
        # Not readable by the usual parser, and by the other one within the same bound.
        text = as_text(make_document(note=nested(depth, "\ud800", "{")))
        assert "surrogate" in refusal(lambda: engine.submit_combat_sync(text))  # noqa: B023 -- called at once
    deeper = make_document(note=nested(201, 1, "["))
    for form in (deeper, json.dumps(deeper), as_text({**deeper, "x": "\ud800"})):
        assert "too deeply" in refusal(lambda: engine.submit_combat_sync(form))  # noqa: B023 -- called at once


def test_a_model_nested_beyond_the_bound_is_refused(engine: SyncDispatcher) -> None:
    document = make_document(note=nested(5000, 1, "[{"))
    model = CombatResultPayload.model_validate(document)

    assert "too deeply" in refusal(lambda: engine.submit_combat_sync(model))


def test_the_command_has_the_bound_too(tmp_path: Path) -> None:
    document = make_document(note=nested(5000, float("nan"), "[{"))
    file = tmp_path / "deep.json"
    file.write_text(as_text(document))
    told = StringIO()

    refusal(lambda: call_command("validate_payload", str(file), stdout=told))
    assert "too deeply" in told.getvalue()


@given(value=typed_values(), place=st.sampled_from(PLACES))
@ANY_FORM
def test_values_of_python_settle_as_their_json_text_would(
    engine: SyncDispatcher, value: Any, place: str
) -> None:
    given_, submitted = (with_value(place, value) for _ in range(2))
    given_["session_id"] = UUID(given_["session_id"])

    try:
        engine.submit_combat_sync(submitted)
    except PayloadInvalid as error:
        assert "NUL" in str(error)  # noqa: PT017 -- the only reason there may be
        return
    settle_combat(given_)
    settle_inbox()

    for document in (given_, submitted):
        row = CombatHistory.objects.get(pk=document["session_id"])
        assert row.settlement_status == "processed"
        assert json.loads(json.dumps(row.document())) == row.document()
    assert not RejectedPayload.objects.exists()


def test_values_of_python_have_the_text_that_people_expect(settle_here: Settle) -> None:
    session = UUID(make_document()["session_id"])
    by_number: dict[Any, Any] = {
        HERO: make_participant(gold_gained=Decimal("5.0"), xp_gained=Decimal(10))
    }
    document = make_document(
        by_number,
        note={1: datetime(2026, 1, 2, tzinfo=UTC), "b": b"text", "t": (1, 2)},
        half=Decimal("0.5"),
    )
    document["session_id"] = session

    settle_here(document)

    row = CombatHistory.objects.get(pk=session)
    assert row.settlement_status == "processed"
    assert row.document()["note"] == {
        "1": "2026-01-02T00:00:00+00:00",
        "b": "text",
        "t": [1, 2],
    }
    assert row.document()["half"] == 0.5
    assert row.document()["participants"]["101"]["changes"]["gold_gained"] == 5


@pytest.mark.parametrize(
    "value",
    [b"\xff\x00", {1, 2}, object(), 1j, 10**5000],
    ids=["bytes", "set", "object", "complex", "endless number"],
)
@pytest.mark.parametrize("as_key", [False, True])
def test_what_has_no_json_text_is_kept_readable(
    settle_here: Settle, engine: SyncDispatcher, value: Any, as_key: bool
) -> None:
    if as_key and not isinstance(value, bytes):
        value = (1, type(value).__name__)
    document = make_document(note={value: 1} if as_key else [value])

    settle_here(document)

    rejected = RejectedPayload.objects.get()
    assert rejected.code == "invalid_payload"
    kept = bytes(rejected.raw or b"").decode()
    assert document["session_id"] in kept
    assert "not writable as JSON" in refusal(
        lambda: engine.submit_combat_sync(document)
    )


TWICE = [
    ('"note": {"a": 1, "a": 2}', "note.a"),
    ('"note": [{"a": 1, "\\u0061": "\\u0022"}]', "note.0.a"),
    ('"replay_log": [1, {"hp": 1, "hp": {}}]', "replay_log.1.hp"),
    ('"meta": {}', "meta"),
]


def twice(member: str) -> tuple[str, str]:
    document = make_document()
    return document["session_id"], f"{json.dumps(document)[:-1]}, {member}}}"


@pytest.mark.parametrize(("member", "path"), TWICE)
def test_a_key_that_stands_twice_is_refused_with_its_path(
    engine: SyncDispatcher, redis_client: redis.Redis, member: str, path: str
) -> None:
    session_id, text = twice(member)

    said = f"{path}: this key stands twice"
    assert said in refusal(lambda: engine.submit_combat_sync(text))
    assert said in refusal(lambda: resubmit.check(text))
    answer = post(text)
    assert (answer.status_code, json.loads(answer.content)["errors"][0]["path"]) == (
        422,
        path,
    )
    assert not redis_client.exists(redis_keys.INBOX)

    settle_combat(text)

    row = CombatHistory.objects.get(pk=session_id)
    assert (row.settlement_status, row.failure_code) == ("failed", "invalid_payload")
    assert said in (row.failure_detail or "")
    assert bytes(row.raw_payload or b"") == text.encode()
    settle_combat(text)
    assert not RejectedPayload.objects.exists()


def test_a_key_that_stands_twice_is_found_behind_the_door_too(
    redis_client: redis.Redis,
) -> None:
    """The entry was written by a version that did not look."""
    session_id, text = twice('"note": {"a": 1, "a": 2}')
    redis_client.hset(
        redis_keys.result(UUID(session_id)), mapping={"raw": text, "sha256": "0" * 64}
    )
    redis_client.zadd(redis_keys.INBOX, {session_id: 0})

    settle_inbox()

    assert CombatHistory.objects.get().failure_code == "invalid_payload"


def test_a_session_that_is_named_twice_is_rejected(settle_here: Settle) -> None:
    _, text = twice(f'"session_id": "{make_document()["session_id"]}"')

    settle_here(text)

    assert codes() == ["invalid_payload"]
    assert not CombatHistory.objects.exists()


def test_two_keys_of_python_with_one_text_are_a_key_that_stands_twice(
    settle_here: Settle, engine: SyncDispatcher
) -> None:
    part = make_participant(gold_gained=5)
    document = make_document()
    document["participants"] = {str(HERO): part, HERO: part}

    settle_here(document)

    row = CombatHistory.objects.get()
    assert row.failure_detail == "participants.101: this key stands twice"
    assert "stands twice" in refusal(lambda: engine.submit_combat_sync(document))


def test_a_key_that_stands_twice_in_a_message_is_kept(worker: CeleryProcess) -> None:
    """Of a dict with 101 and "101", which Celery's reader would make one of."""
    part = make_participant(gold_gained=5)
    twice_given = make_document()
    twice_given["participants"] = {str(HERO): part, HERO: part}

    app.send_task("settle_combat", args=[twice_given])
    sound = app.send_task("settle_combat", args=[make_document(note='a " b')])
    worker.wait_succeeded([sound.id])
    wait_idle()

    rejected = RejectedPayload.objects.get()
    assert rejected.code == "unreadable_message"
    assert str(rejected.session_id) == twice_given["session_id"]
    assert "0.0.participants.101: this key stands twice" in str(rejected.errors)
    assert bytes(rejected.raw or b"").count(b'"101"') == 2
    assert CombatHistory.objects.get().settlement_status == "processed"


def test_an_operation_is_its_json_text(engine: SyncDispatcher) -> None:
    op_id = uuid4()
    engine.change_inventory_sync(HERO, [op(op_id, "add", item_template_id="x", qty=1)])

    assert json.loads(queued()[0])["op_id"] == str(op_id)
    for odd in (object(), nested(5000, 1, "[{"), {1: 1, "1": 2}):
        operation = op("o", "add", item_template_id=odd, qty=1)
        refusal(lambda: engine.change_inventory_sync(HERO, [operation]))  # noqa: B023 -- called at once


@pytest.mark.parametrize("key", ["player:101", "-101", "hero"])
def test_what_is_given_to_no_player_fails_visibly(
    settle_here: Settle, engine: SyncDispatcher, key: str
) -> None:
    document = make_document({str(HERO): make_participant(), key: make_participant()})
    document["participants"][key]["changes"]["gold_gained"] = 5

    path = f"participants.{key}.changes.gold_gained"
    assert path in refusal(lambda: engine.submit_combat_sync(document))
    settle_here(document)

    row = CombatHistory.objects.get()
    assert (row.settlement_status, row.failure_code) == ("failed", "invalid_payload")
    assert path in (row.failure_detail or "")
