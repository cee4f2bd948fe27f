"""Fuzzed messages and documents against a live worker: every one is accounted for.

`make fuzz` runs these long, with FUZZ_SEED, FUZZ_ENVELOPES and FUZZ_PAYLOADS.
"""

from __future__ import annotations

import base64
import json
import os
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path

import pytest
import redis
from django.conf import settings
from django.db.models import Sum

from combat_history.models import CombatHistory, RejectedPayload
from persistence.contract import redis_keys
from persistence.contract.errors import PayloadInvalid
from persistence.dispatcher import SyncDispatcher
from tests.support.api import post
from tests.support.fuzz import Fuzz, call, envelope, raw
from tests.support.waiting import wait_until
from tests.support.worker import CeleryProcess, wait_idle

SEED = int(os.environ.get("FUZZ_SEED") or random.randrange(10**6))
ENVELOPES = int(os.environ.get("FUZZ_ENVELOPES") or 300)
PAYLOADS = int(os.environ.get("FUZZ_PAYLOADS") or 500)

CHUNK = 200
FULL = 50
"""Messages that may wait when the next chunk is sent."""

MANY = 10_000
"""From here on memory says something: before, a worker still fills its caches."""

GROWTH = 1.05

_RAN = re.compile(r"Task (\w+)\[(fuzz-\d+-\d{7})\] (\w+)")
_MARK = re.compile(r"fuzz-\d+-\d{7}")
_REFUSED = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)

pytestmark = pytest.mark.timeout(0 if ENVELOPES + PAYLOADS > MANY else 120)


@dataclass
class Watch:
    """The worker while it is fuzzed: alive, and how large (kB) after each chunk."""

    worker: CeleryProcess
    broker: redis.Redis
    sizes: list[int] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def look(self) -> None:
        wait_until(
            lambda: self.broker.llen("celery") < FULL, "the queue is worked off", 90
        )
        assert self.worker.is_alive, self.worker.output()[-5000:]
        self.sizes.append(
            sum(map(_resident, [self.worker.pid, *self.worker.children()]))
        )

    def told(self, number: int) -> str:
        """Asserts that the memory of the second half is flat."""
        seconds = time.monotonic() - self.began
        half = len(self.sizes) // 2
        before, after = max(self.sizes[half : half + half // 2 + 1]), self.sizes[-1]
        if number >= MANY:
            assert after <= before * GROWTH, self.sizes
        return (
            f"seed {SEED}, {number} in {seconds:.0f} s, worker "
            f"{before // 1024} MB from half on, {after // 1024} MB at the end"
        )


def _resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


@pytest.fixture
def watch(world: None, worker: CeleryProcess) -> Iterator[Watch]:
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        yield Watch(worker, broker)


def seen() -> int:
    """Times that something was rejected; a chord's body is nobody's message."""
    rows = RejectedPayload.objects.exclude(errors__0__path="chord")
    return rows.aggregate(seen=Sum("times_seen"))["seen"] or 0


def kept_marks() -> set[str]:
    rows = RejectedPayload.objects.exclude(errors__0__path="chord")
    texts = (
        bytes(row.raw or b"").decode("latin-1") + json.dumps(row.errors) for row in rows
    )
    return {mark for text in texts for mark in _MARK.findall(text)}


Door = Callable[[bytes], bool]
"""Whether it took the document; raises what no caller should meet."""


def _send_text(broker: redis.Redis, document: bytes) -> bool:
    broker.lpush("celery", raw(envelope(call(_text(document)))))
    return True


def _send_value(broker: redis.Redis, document: bytes) -> bool:
    """As a dict, or as whatever a careless sender writes in its place."""
    body = base64.b64encode(b"[[" + document + b"], {}, null]").decode()
    broker.lpush("celery", raw(envelope(None, body=body)))
    return True


def _text(document: bytes) -> str:
    """As a caller has it in hand: any characters, lone surrogates too."""
    try:
        return document.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return document.decode("utf-8", "surrogateescape")


def _submit(dispatcher: SyncDispatcher, document: bytes) -> bool:
    try:
        dispatcher.submit_combat_sync(_text(document))
    except PayloadInvalid:
        return False
    return True


def _post(document: bytes) -> bool:
    response = post(document)
    assert response.status_code in (HTTPStatus.ACCEPTED, *_REFUSED), response.content
    return response.status_code == HTTPStatus.ACCEPTED


def quiet(expected: Callable[[], bool]) -> None:
    wait_until(expected, "every one has ended")
    wait_idle()


def test_every_envelope_is_run_set_aside_or_rejected(
    watch: Watch, capsys: pytest.CaptureFixture[str]
) -> None:
    fuzz = Fuzz(SEED)
    sent = [fuzz.item() for _ in range(ENVELOPES)]
    offset = len(watch.worker.output())
    for start in range(0, len(sent), CHUNK):
        items = [item for _, _, item in sent[start : start + CHUNK]]
        watch.broker.lpush("celery", *items)
        watch.look()

    def rejected() -> list[tuple[str, str]]:
        """What was neither settled nor run as another task, which may be refused."""
        rows = CombatHistory.objects.values_list("session_id", flat=True)
        settled = {str(session_id) for session_id in rows}
        ran = {
            mark
            for name, mark, how in _RAN.findall(watch.worker.output()[offset:])
            if how == "succeeded" and name not in ("settle_combat", "keep_unreadable")
        }
        ran -= kept_marks()
        return [
            (session, mark)
            for session, mark, _ in sent
            if session not in settled and mark not in ran
        ]

    def known() -> int:
        """Rejected, or settled under a session id that a fault put in place."""
        sessions = CombatHistory.objects.exclude(
            session_id__in=[session for session, _, _ in sent]
        )
        return seen() + sessions.count()

    quiet(lambda: len(rejected()) <= known())
    log = watch.worker.output()[offset:]
    assert [line for line in log.splitlines() if " raised " in line] == []
    marks = {mark for _, mark in rejected()}
    assert not CombatHistory.objects.filter(settlement_status="pending").exists()
    with capsys.disabled():
        codes = Counter(RejectedPayload.objects.values_list("code", flat=True))
        sys.stdout.write(
            f"\nenvelopes: {watch.told(len(sent))}; {len(sent) - len(marks)} run, "
            f"{len(marks)} kept or rejected: {dict(codes)}\n"
        )
    # In number; and none of them was settled or run as well.
    assert (len(marks), kept_marks() - marks) == (known(), set())


def test_every_document_ends_somewhere_whatever_its_door(
    watch: Watch, api: None, capsys: pytest.CaptureFixture[str]
) -> None:
    fuzz, drawn = Fuzz(SEED), random.Random(SEED)
    accepted, refused = 0, 0
    offset = len(watch.worker.output())
    with closing(SyncDispatcher.from_env()) as dispatcher:
        doors: list[Door] = [
            partial(_send_text, watch.broker),
            partial(_send_value, watch.broker),
            partial(_submit, dispatcher),
            _post,
        ]
        for start in range(0, PAYLOADS, CHUNK):
            for _ in range(start, min(start + CHUNK, PAYLOADS)):
                door = drawn.choices(doors, (6, 6, 5, 1))[0]
                if door(fuzz.document()):
                    accepted += 1
                else:
                    refused += 1
            watch.look()
    quiet(lambda: CombatHistory.objects.count() + seen() >= accepted)
    wait_until(
        lambda: not watch.broker.exists(redis_keys.INBOX), "the inbox is empty", 60
    )
    statuses = Counter(
        CombatHistory.objects.values_list("settlement_status", flat=True)
    )
    with capsys.disabled():
        sys.stdout.write(
            f"\ndocuments: {watch.told(PAYLOADS)}; of {accepted} accepted "
            f"{dict(statuses)}, {seen()} rejected; {refused} refused at the door\n"
        )
    assert statuses.total() + seen() == accepted
    assert not statuses["pending"]
    assert " raised " not in watch.worker.output()[offset:]
