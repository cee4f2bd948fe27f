"""What cannot become a history row: kept, explained, acknowledged."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from pytest_django import Settings

from combat_history.models import CombatHistory, RejectedPayload
from persistence.contract.document import MAX_DOCUMENT_BYTES
from persistence.tasks import settle_combat, settle_inbox
from tests.conftest import Settle
from tests.support.documents import make_document

WITHOUT_ID = {k: v for k, v in make_document().items() if k != "session_id"}

REJECTED = [
    pytest.param(WITHOUT_ID, "bad_session_id", "session_id", id="no session id"),
    pytest.param(json.dumps(WITHOUT_ID), "bad_session_id", "session_id", id="as text"),
    pytest.param(
        make_document(session_id="uuid-555-666"),
        "bad_session_id",
        "uuid-555-666",
        id="id",
    ),
    pytest.param({"session_id": 5}, "bad_session_id", "session_id", id="number as id"),
    pytest.param({}, "bad_session_id", "session_id", id="empty object"),
    pytest.param([1, 2], "not_an_object", "list", id="list"),
    pytest.param("[1, 2]", "not_an_object", "list", id="list as text"),
    pytest.param(None, "not_an_object", "NoneType", id="null"),
    pytest.param(7, "not_an_object", "int", id="number"),
    pytest.param("", "invalid_payload", "JSON", id="empty text"),
    pytest.param("combat over", "invalid_payload", "JSON", id="no JSON"),
    pytest.param('{"session_id": "', "invalid_payload", "JSON", id="cut text"),
    pytest.param("\ud800", "invalid_payload", "JSON", id="lone surrogate"),
    pytest.param("\x00", "invalid_payload", "JSON", id="NUL"),
    pytest.param("[" * 5000, "invalid_payload", "too deeply", id="bottomless text"),
    pytest.param(
        make_document(note="x" * MAX_DOCUMENT_BYTES),
        "too_large",
        str(MAX_DOCUMENT_BYTES),
        id="too large",
    ),
]


@pytest.mark.parametrize(("payload", "code", "named"), REJECTED)
def test_rejected_payload_is_kept_explained_and_acknowledged(
    settle: Settle, payload: Any, code: str, named: str
) -> None:
    settle(payload)  # returns once nothing is queued or unacknowledged

    rejected = RejectedPayload.objects.get()
    assert rejected.code == code
    (error,) = rejected.errors
    assert named in error["path"] + error["message"]
    kept = bytes(rejected.raw or b"").decode("utf-8", "surrogatepass")
    assert kept == payload or json.loads(kept) == payload
    assert not CombatHistory.objects.exists()


def test_same_bytes_again_are_counted_not_repeated(settle: Settle) -> None:
    settle("combat over", "combat over", {}, "combat over")

    seen = RejectedPayload.objects.values_list("code", "times_seen").order_by("id")
    assert list(seen) == [("invalid_payload", 3), ("bad_session_id", 1)]


def test_dict_nested_beyond_the_writer_is_rejected_not_raised(
    settle_here: Settle,
) -> None:
    nested: dict[str, Any] = {}
    for _ in range(990):
        nested = {"a": nested}

    settle_here(make_document(note=nested))

    assert RejectedPayload.objects.get().code == "invalid_payload"


def test_size_limit_is_a_setting(settle_here: Settle, settings: Settings) -> None:
    settings.SETTLEMENT_MAX_DOCUMENT_BYTES = 1024

    settle_here(make_document(note="x" * 1024), make_document())

    assert RejectedPayload.objects.get().code == "too_large"
    assert CombatHistory.objects.get().settlement_status == "processed"


def test_worker_goes_on_after_everything_it_rejected(settle: Settle) -> None:
    settle(*[param.values[0] for param in REJECTED], make_document())

    assert CombatHistory.objects.get().settlement_status == "processed"


def test_payload_of_another_session_in_an_entry_is_rejected(
    world: None, redis_client: redis.Redis
) -> None:
    """Somebody wrote the hash by hand: the entry's id and the document's differ."""
    document = make_document()
    entry = make_document()["session_id"]
    redis_client.hset(
        f"combat:result:{entry}", mapping={"raw": json.dumps(document), "sha256": "0"}
    )
    redis_client.zadd("combat:inbox", {entry: 0})

    settle_inbox()

    assert RejectedPayload.objects.get().code == "bad_session_id"
    assert not CombatHistory.objects.exists()
    assert not redis_client.exists("combat:inbox")


def test_a_message_without_a_document_is_visible(settle_here: Settle) -> None:
    settle_combat()

    rejected = RejectedPayload.objects.get()
    assert (rejected.code, bytes(rejected.raw or b"")) == ("not_an_object", b"null")
