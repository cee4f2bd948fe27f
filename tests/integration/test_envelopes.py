"""Whatever lies in a queue: run, or kept with its bytes, and the worker goes on."""

from __future__ import annotations

import base64
import bz2
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.db.models import Sum

from combat_history.models import CombatHistory, MinuteCount, RejectedPayload
from persistence.contract import redis_keys
from settlement_project.celery import app
from tests.support.admin import body, logged_in, viewer
from tests.support.documents import make_document
from tests.support.fuzz import (
    Envelope,
    call,
    envelope,
    headers,
    nested,
    properties,
    raw,
)
from tests.support.waiting import wait_until
from tests.support.worker import CeleryProcess, wait_idle


@pytest.fixture
def queue(world: None, worker: CeleryProcess) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        yield broker
    assert worker.is_alive, worker.output()


def put(queue: redis.Redis, *items: object, ends: int | None = None) -> None:
    """Returns when as many have been settled or kept, and acknowledged."""
    for item in items:
        queue.lpush("celery", raw(item))
    expected = len(items) if ends is None else ends
    wait_until(lambda: ended() >= expected, f"{expected} settled or kept")
    wait_idle()


def ended() -> int:
    settled = CombatHistory.objects.filter(settlement_status="processed").count()
    seen = RejectedPayload.objects.aggregate(seen=Sum("times_seen"))["seen"]
    return settled + (seen or 0)


ODD_ITEMS = {
    "no JSON": b"\xff\x00combat over",
    "cut JSON": b'{"body": "',
    "empty": b"",
    "a number": b"7",
    "null": b"null",
    "a list": b"[]",
    "bottomless": b"[" * 100_000,
    "bottomless object": b'{"a":' * 100_000,
    "empty object": {},
    "a number of 5 000 digits": b'{"body": ' + b"9" * 5000 + b"}",
    "an unknown type": {"headers": {"__type__": "Fireball", "__value__": 1}},
    "a type of a list": {"headers": {"__type__": [], "__value__": 1}},
    "no properties": {k: v for k, v in envelope(call()).items() if k != "properties"},
    "properties are text": envelope(call(), properties="none"),
    "headers are a list": envelope(call(), headers=[["task", "settle_combat"]]),
    "headers are nested deep": envelope(call(), headers=headers(x=nested(400))),
    "no headers": envelope(call(), headers=None),
    "body is null": envelope(call(), body=None),
    "body is a number": envelope(call(), body=7),
    "body is no base64": envelope(call(), body="%%%"),
    "body is of a letter": envelope(call(), body="a"),
    "body encoding is unknown": envelope(
        call(), properties=properties(body_encoding="rot13")
    ),
    "body encoding is a list": envelope(
        call(), properties=properties(body_encoding=["base64"])
    ),
    "body [1]": envelope([1]),
    "body of an object": envelope({}),
    "body of text": envelope('"settle"'),
    "body of two": envelope([[], {}]),
    "arguments are text": envelope(["x", {}, {}]),
    "named arguments are a list": envelope([[], [], {}]),
    "options are a list": envelope([[], {}, []]),
    "options of somebody else": envelope([[], {}, {"is_eager": True}]),
    "body is no JSON": envelope("combat over"),
    "body is bottomless": envelope("[" * 100_000),
    "body of 5 000 digits": envelope('[["' + "x" + '", ' + "9" * 5000 + "], {}, {}]"),
    "pickle": envelope(call(), **{"content-type": "application/x-python-serialize"}),
    "no content type": envelope(call(), **{"content-type": None}),
    "content type is a list": envelope(call(), **{"content-type": ["a"]}),
    "content type is text": envelope(call(), **{"content-type": "text/plain"}),
    "unknown compression": envelope(call(), headers=headers(compression="x-rar")),
    "compression is a list": envelope(call(), headers=headers(compression=[])),
    "not compressed": envelope(
        call(), headers=headers(compression="application/x-gzip")
    ),
    "a bomb": envelope(
        call(),
        headers=headers(compression="application/x-bz2"),
        body=base64.b64encode(bz2.compress(b" " * 100_000_000)).decode(),
    ),
    "cut compression": envelope(
        call(),
        headers=headers(compression="application/x-gzip"),
        body=base64.b64encode(zlib.compress(b"x" * 999)[:-5]).decode(),
    ),
    "unknown task": envelope(call(), headers=headers(task="settle_combats")),
    "task of Celery": envelope(call(), headers=headers(task="celery.chord_unlock")),
    "task is a list": envelope(call(), headers=headers(task=["settle_combat"])),
    "id is missing": envelope(call(), headers=headers(id=None)),
    "id is a number": envelope(call(), headers=headers(id=7)),
    "id is a list": envelope(call(), headers=headers(id=[])),
    "id is long": envelope(call(), headers=headers(id="x" * 10_000)),
    "eta is no moment": envelope(call(), headers=headers(eta="soon")),
    "eta is a number": envelope(call(), headers=headers(eta=1e400)),
    "expires is an object": envelope(call(), headers=headers(expires={})),
    "time limits are text": envelope(call(), headers=headers(timelimit="ab")),
    "time limits are three": envelope(call(), headers=headers(timelimit=[1, 2, 3])),
    "retries are negative": envelope(call(), headers=headers(retries=-1)),
    "retries are text": envelope(call(), headers=headers(retries="many")),
    "group is an object": envelope(call(), headers=headers(group={"a": 1})),
    "stamps are text": envelope(call(), headers=headers(stamps="x")),
    "stamped headers are objects": envelope(
        call(), headers=headers(stamped_headers=[{}])
    ),
    "shadow is a list": envelope(call(), headers=headers(shadow=[1])),
    "a callback is a number": envelope(call(callbacks=[7])),
    "callbacks are a number": envelope(call(callbacks=7)),
    "a callback without a task": envelope(call(callbacks=[{"args": []}])),
    "a callback to no queue": envelope(
        call(callbacks=[{"task": "x", "options": {"queue": []}}])
    ),
    "a chain of text": envelope(call(chain="ab")),
    "a chord of a list": envelope(call(chord=[1])),
    "a task without its arguments": envelope(
        call(), headers=headers(task="task_sync_state")
    ),
    "a task with too many": envelope(call(1), headers=headers(task="sweep")),
    "protocol 1 without a task": envelope({"id": "1", "args": []}, headers={}),
    "protocol 1 with odd arguments": envelope(
        {"task": "settle_combat", "id": "1", "args": 7, "kwargs": []}, headers={}
    ),
}


def test_every_odd_item_is_kept_with_its_error_and_the_worker_goes_on(
    queue: redis.Redis,
) -> None:
    for name, item in ODD_ITEMS.items():
        put(queue, item, ends=ended() + 1)
        kept = RejectedPayload.objects.latest("last_seen_at")
        assert (name, kept.code) == (name, "unreadable_message")
        assert kept.errors[0]["message"], name

    put(queue, envelope(call(make_document())), ends=ended() + 1)
    assert CombatHistory.objects.get().settlement_status == "processed"


LONG_AGO, FAR = "2001-01-01T00:00:00+00:00", "9999-12-31T23:59:59-14:00"

ODD_BUT_READABLE: dict[str, Envelope] = {
    "expired": {"headers": headers(expires=LONG_AGO)},
    "due in millennia": {"headers": headers(eta=FAR)},
    "due before time": {"headers": headers(eta="0001-01-01T00:00:00+14:00")},
    "no time to run": {"headers": headers(timelimit=[1e-9, 1e-9])},
    "tried before": {"headers": headers(retries=99)},
    "attributes of a request": {
        "headers": headers(is_eager=True, args=[1], errbacks=5, _protected=1, utc=[])
    },
    "an answer to nobody": {"properties": properties(reply_to=7, correlation_id=[])},
    "another way back": {
        "properties": properties(delivery_info={"exchange": [], "routing_key": {}})
    },
    "no way back": {"properties": properties(delivery_info=None)},
    "a tag of a list": {"properties": properties(delivery_tag=[])},
    "an odd priority": {"properties": properties(priority="high")},
}


@pytest.mark.parametrize("over", ODD_BUT_READABLE.values(), ids=ODD_BUT_READABLE)
def test_a_result_is_settled_whatever_its_message_says_beside_it(
    queue: redis.Redis, over: Envelope
) -> None:
    put(queue, envelope(call(make_document()), **over))

    assert CombatHistory.objects.get().settlement_status == "processed"
    assert not RejectedPayload.objects.exists()


def test_a_compressed_message_and_one_of_protocol_1_are_run(
    queue: redis.Redis,
) -> None:
    packed, old, mixed = (make_document() for _ in range(3))
    app.send_task("settle_combat", args=[packed], compression="zlib")
    body = {"task": "settle_combat", "id": str(uuid4()), "args": [old], "kwargs": {}}
    hybrid = {"args": [], "kwargs": {"payload": mixed}}
    put(queue, envelope(body, headers={}), envelope(hybrid), ends=3)

    assert CombatHistory.objects.filter(settlement_status="processed").count() == 3


def test_two_messages_with_one_tag_are_two_messages(queue: redis.Redis) -> None:
    same = properties()
    put(
        queue,
        *(envelope(call(make_document()), properties=same) for _ in range(8)),
    )

    assert CombatHistory.objects.filter(settlement_status="processed").count() == 8


def test_a_result_that_was_revoked_is_settled(queue: redis.Redis) -> None:
    known = headers()
    told = app.control.revoke(known["id"], reply=True, terminate=True)
    assert told
    put(queue, envelope(call(make_document()), headers=known))

    assert CombatHistory.objects.get().settlement_status == "processed"


@pytest.mark.parametrize(
    "note",
    [
        pytest.param({"__type__": "Fireball", "__value__": 3}, id="a type of the game"),
        pytest.param(10**4000 * 10**1000, id="an endless number"),
    ],
)
def test_of_a_result_that_cannot_be_read_the_document_is_kept(
    queue: redis.Redis, note: object
) -> None:
    document = make_document(note=0)
    text = json.dumps(document)[:-2] + (
        "9" * 5000 if isinstance(note, int) else json.dumps(note)
    )
    put(queue, envelope(f"[[{text}}}], {{}}, {{}}]"))

    kept = RejectedPayload.objects.get()
    assert str(kept.session_id) == document["session_id"]
    assert bytes(kept.raw or b"").decode() == text + "}"
    assert {error["path"] for error in kept.errors} > {"task", "id", "queue"}


def test_what_is_set_aside_is_counted_and_told_in_the_admin_with_what_to_do(
    queue: redis.Redis,
) -> None:
    counted = MinuteCount.objects.filter(name="message.unreadable")
    counted.delete()
    document = make_document(note={"__type__": "Fireball", "__value__": 3})
    put(queue, envelope([[document], {}, {}]))
    url = f"/admin/combat_history/rejectedpayload/{RejectedPayload.objects.get().pk}"

    page = body(logged_in(viewer("anna")), f"{url}/change/")
    assert "unreadable message" in page
    assert "correct it and resubmit it here" in page
    editor = viewer("boris")
    editor.user_permissions.add(Permission.objects.get(codename="correct_combat"))
    form = body(logged_in(User.objects.get(pk=editor.pk)), f"{url}/resubmit/")
    assert "&quot;Fireball&quot;" in form
    wait_until(lambda: counted.exists(), "the workers have told their counts")


def test_a_refused_serializer_keeps_its_bytes(queue: redis.Redis) -> None:
    pickled = b"\x80\x04N."
    item = envelope(
        None,
        body=base64.b64encode(pickled).decode(),
        **{"content-type": "application/x-python-serialize"},
    )
    put(queue, item, item)

    kept = RejectedPayload.objects.get()
    assert (bytes(kept.raw or b""), kept.times_seen) == (pickled, 2)
    assert "application/x-python-serialize" in kept.errors[0]["message"]


def test_no_broadcast_ends_a_worker(queue: redis.Redis, worker: CeleryProcess) -> None:
    db = queue.connection_pool.connection_kwargs["db"]
    for channel in (f"/{db}.celery.pidbox", f"/{db}.celeryev/worker.heartbeat"):
        for item in ODD_ITEMS.values():
            raw = item if isinstance(item, bytes) else json.dumps(item).encode()
            queue.publish(channel, raw)
            # Remote control closes its channel over some: one at a time.
            app.control.ping(timeout=0.1, limit=1)
    put(queue, envelope(call(make_document())))

    assert app.control.ping(timeout=2)
    wait_idle()
    # Nobody waits for a broadcast: those that cannot be read are not kept.
    assert not RejectedPayload.objects.exists()


def test_a_channel_closed_before_an_acknowledgement_counts_as_lost() -> None:
    with app.connection_for_write() as connection:
        channel: Any = connection.channel()
        channel.close()

        with pytest.raises(connection.connection_errors):
            channel.basic_ack("a broadcast")


ODD_CALLS: list[tuple[str, list[Any]]] = [
    ("task_sync_state", ["weather", 101]),
    ("task_sync_state", [None, 101]),
    ("task_sync_state", [["vitals"], 101]),
    ("task_sync_state", ["vitals", "everybody"]),
    ("task_sync_state", ["vitals", 0]),
    ("task_sync_state", ["vitals", True]),
    ("task_sync_state", ["vitals", 2**63]),
    ("task_sync_state", ["vitals"]),
    ("task_sync_state", ["vitals", 101, 1]),
    ("assemble_belts", ["a fight"]),
    ("assemble_belts", [None]),
    ("assemble_belts", [{"session_id": 1}]),
    ("settle_inbox", [1]),
    ("sweep", ["all"]),
    ("replay_batches", [{}]),
    ("keep_unreadable", []),
    ("keep_unreadable", ["%", {}]),
    ("keep_unreadable", ["", {"sha256": "x"}]),
    ("keep_unreadable", [1, 2, 3]),
]


def test_every_call_that_means_nothing_is_kept(queue: redis.Redis) -> None:
    for name, args in ODD_CALLS:
        put(queue, envelope(call(*args), headers=headers(task=name)), ends=ended() + 1)
        kept = RejectedPayload.objects.latest("last_seen_at")
        assert kept.code == "unreadable_message", args
        assert name in [error["message"] for error in kept.errors]


@pytest.mark.parametrize("scope", ["combat", "COMBAT", "combat_result", "Vitals"])
def test_a_scope_has_an_alias_and_no_case(
    queue: redis.Redis, worker: CeleryProcess, redis_client: redis.Redis, scope: str
) -> None:
    sent = app.send_task("task_sync_state", args=[scope, "101"])
    worker.wait_succeeded([sent.id])
    wait_idle()

    assert not RejectedPayload.objects.exists()
    assert not redis_client.exists(redis_keys.INTENTS)


def test_a_chord_is_refused_where_people_look_and_its_fights_are_settled(
    queue: redis.Redis,
) -> None:
    body = {"task": "engine.all_settled", "args": [], "kwargs": {}, "options": {}}
    parts = [call(make_document(), chord=body) for _ in range(2)]
    put(queue, *(envelope(part, headers=headers(group="g")) for part in parts), ends=4)

    assert CombatHistory.objects.filter(settlement_status="processed").count() == 2
    kept = RejectedPayload.objects.get()
    assert (kept.errors[0]["path"], kept.times_seen) == ("chord", 2)
    assert b"engine.all_settled" in bytes(kept.raw or b"")


def test_a_rate_limit_is_refused_by_name(
    queue: redis.Redis, worker: CeleryProcess
) -> None:
    answers: Any = app.control.rate_limit("settle_combat", "1/h", reply=True)
    put(queue, *(envelope(call(make_document())) for _ in range(3)))

    assert "no rate limits" in json.dumps(answers)


def test_a_pool_without_time_limits_is_refused(world: None, tmp_path: Path) -> None:
    refused = CeleryProcess(tmp_path, ["worker", "--pool", "threads"], {})

    try:
        wait_until(lambda: not refused.is_alive, "the worker has ended")
    finally:
        refused.kill9()
    assert "the pool is thread, and only prefork has" in refused.output()
