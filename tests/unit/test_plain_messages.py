"""Which messages a worker may record without Celery, and what it then records."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import pytest
from kombu import Message

from persistence.contract.document import MAX_DOCUMENT_BYTES
from persistence.contract.signing import EngineKeys
from persistence.worker.intake.plain import looks_plain, read_body, read_item
from tests.support.documents import make_document
from tests.support.fuzz import Envelope, call, envelope, headers, nested, raw

DOCUMENT = make_document()
TEXT = json.dumps(DOCUMENT)


def read(item: object) -> Any:
    return read_item(raw(item), MAX_DOCUMENT_BYTES)


def read_message(item: Envelope) -> Any:
    """As RabbitMQ delivers it: the envelope is no part of the body."""
    message: Any = Message(
        b64decode(item["body"]).decode(),
        content_type=item["content-type"],
        content_encoding=item["content-encoding"],
        headers=item["headers"],
    )
    if not looks_plain(message):
        return None
    return read_body(message.headers["id"], message.body, MAX_DOCUMENT_BYTES)


@pytest.mark.parametrize("given", [DOCUMENT, TEXT, json.dumps(DOCUMENT, indent=1)])
def test_a_document_or_its_text_is_recorded_as_it_was_written(given: object) -> None:
    item = envelope(call(given), headers=headers(id="one"))

    for found in (read(item), read_message(item)):
        assert found.task_id == "one"
        assert str(found.handoff.session_id) == DOCUMENT["session_id"]
        assert json.loads(found.handoff.raw) == DOCUMENT


def test_a_document_that_breaks_the_contract_is_recorded_all_the_same() -> None:
    """Its row says why it fails, as it does by every door."""
    document = {"session_id": DOCUMENT["session_id"], "participants": 7}

    assert json.loads(read(envelope(call(document))).handoff.raw) == document


@pytest.mark.parametrize(
    "given", [DOCUMENT, TEXT, f' {TEXT[:-1]}, "x": "\\", \\"a:b"}}']
)
def test_a_signature_is_recorded_with_the_document_it_is_of(given: object) -> None:
    keys = EngineKeys.parse("game.1:a-secret-of-the-engine")
    signature = keys.sign(read(envelope(call(given))).handoff.raw)
    item = envelope(call(given, signature))

    for found in (read(item), read_message(item)):
        assert found.handoff.signature == signature
        assert keys.verify(found.handoff.raw, signature)


LEFT_TO_CELERY: dict[str, Envelope] = {
    "eta": envelope(call(TEXT), headers=headers(eta="2030-01-01T00:00:00+00:00")),
    "expires": envelope(call(TEXT), headers=headers(expires="2030-01-01T00:00:00")),
    "group": envelope(call(TEXT), headers=headers(group="g")),
    "sent by a task": envelope(call(TEXT), headers=headers(parent_id="p")),
    "retry": envelope(call(TEXT), headers=headers(retries=1)),
    "packed": envelope(call(TEXT), headers=headers(compression="application/x-gzip")),
    "stamped": envelope(call(TEXT), headers=headers(stamped_headers=["a"])),
    "another task": envelope(call("vitals", 7), headers=headers(task="save")),
    "no id": envelope(call(TEXT), headers=headers(id=None)),
    "odd header": envelope(call(TEXT), headers=headers(timelimit="long")),
    "long id": envelope(call(TEXT), headers=headers(id="x" * 256)),
    "callbacks": envelope(call(TEXT, callbacks=[{"task": "engine.settled"}])),
    "chain": envelope(call(TEXT, chain=[{"task": "engine.settled"}])),
    "chord": envelope(call(TEXT, chord={"task": "engine.settled"})),
    "two arguments": envelope(call(DOCUMENT, DOCUMENT)),
    "no signature": envelope(call(TEXT, "signed")),
    "more than it": envelope(call(TEXT, f"a:{'0' * 64}", 1)),
    "no argument": envelope(call()),
    "named argument": envelope([[], {"payload": DOCUMENT}, {}]),
    "no document": envelope(call(7)),
    "no session": envelope(call({"participants": {}})),
    "too deep": envelope(call({**DOCUMENT, "a": nested(250)})),
    "a key twice": envelope(
        json.dumps(call(DOCUMENT)).replace(
            '"session_id":', '"session_id": "other", "session_id":', 1
        )
    ),
    "text in text": envelope(call(json.dumps(TEXT))),
    "another encoding": envelope(call(TEXT), **{"content-encoding": "utf-16"}),
    "another type": envelope(call(TEXT), **{"content-type": "application/x-yaml"}),
}

UNREADABLE: dict[str, object] = {
    "no base64": envelope(call(TEXT), body="%%%"),
    "no body": envelope(call(TEXT), body=None),
    "no properties": envelope(call(TEXT), properties=None),
    "no envelope": b"\x00\xff",
    "a list": [1],
}


@pytest.mark.parametrize("item", LEFT_TO_CELERY.values(), ids=LEFT_TO_CELERY.keys())
def test_everything_else_is_left_to_celery(item: Envelope) -> None:
    assert read(item) is None
    assert read_message(item) is None


@pytest.mark.parametrize("item", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_so_is_what_is_no_envelope(item: object) -> None:
    assert read(item) is None


def test_a_document_beyond_the_bound_is_left_to_celery() -> None:
    item = envelope(call(TEXT))

    assert read_item(raw(item), len(TEXT) - 1) is None
