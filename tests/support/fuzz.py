"""Messages and documents that nobody should send, drawn from a seed.

Each carries a mark of its own wherever there is room for one; of one length, so that a
mark that was cut is none.
"""

from __future__ import annotations

import base64
import bz2
import json
import random
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any
from uuid import UUID

from tests.support.documents import make_document

Envelope = dict[str, Any]

EMBEDDED = ("callbacks", "errbacks", "chain", "chord")
TASKS = ("task_sync_state", "assemble_belts", "replay_batches", "keep_unreadable")


def envelope(content: object, /, **over: Any) -> Envelope:
    """As Celery writes it for `settle_combat`; `over` replaces top-level keys."""
    text = content if isinstance(content, str) else json.dumps(content)
    return {
        "body": base64.b64encode(text.encode("utf-8", "surrogatepass")).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": headers(),
        "properties": properties(),
        **over,
    }


def headers(**over: Any) -> dict[str, Any]:
    return {"lang": "py", "task": "settle_combat", "id": _new_id(), **over}


def properties(**over: Any) -> dict[str, Any]:
    return {
        "delivery_tag": _new_id(),
        "delivery_info": {"exchange": "", "routing_key": "celery"},
        "body_encoding": "base64",
        "delivery_mode": 2,
        "priority": 0,
        **over,
    }


def call(*args: object, **embedded: object) -> list[object]:
    return [list(args), {}, {**dict.fromkeys(EMBEDDED), **embedded}]


def nested(depth: int, kind: type = list) -> Any:
    found: Any = 1
    for _ in range(depth):
        found = [found] if kind is list else {"a": found}
    return found


def raw(item: object) -> bytes:
    return item if isinstance(item, bytes) else json.dumps(item).encode()


def _new_id() -> str:
    return str(UUID(int=random.getrandbits(128), version=4))


HOSTILE: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    2**63,
    10**30,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "\x00",
    "\ud800",
    "x" * 5000,
    "9999-12-31T23:59:59+00:00",
    "0001-01-01T00:00:00+14:00",
    "settle_combat",
    "utf-16",
    [],
    {},
    [1],
    {"a": [{}]},
    nested(50),
    nested(400),
    nested(400, dict),
    {"__type__": "Fireball", "__value__": 1},
    {"__type__": "uuid", "__value__": {"hex": "zz"}},
    {"__type__": "uuid", "__value__": {"hex": "0" * 32}},
    {"__type__": "datetime", "__value__": "2020-01-01"},
    {"__type__": "decimal", "__value__": "1.5"},
    {"__type__": "bytes", "__value__": "a"},
    {"__type__": [], "__value__": 0},
    {"task": "engine.settled", "args": [], "kwargs": {}, "options": {"queue": "cb"}},
    [{"task": "engine.settled", "options": {"queue": {}}}],
)


class Fuzz:
    """Draws items of a queue and documents; the same seed draws the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._seed = seed
        self._drawn = 0

    def item(self) -> tuple[str, str, bytes]:
        """A session id, an id of a message, and what to push into a list."""
        mark, document = self._marked()
        draw = self._random.choice(
            (
                self._sound,
                self._corrupt_item,
                self._odd_envelope,
                self._odd_envelope,
                self._odd_envelope,
                self._odd_body,
                self._odd_body,
                self._corrupt_body,
                self._packed,
                self._older_protocol,
                self._other_task,
            )
        )
        return document["session_id"], mark, draw(document, mark)

    def document(self) -> bytes:
        """The text of a document with one or two things wrong, or none."""
        _, document = self._marked()
        for _ in range(self._random.randrange(3)):
            self._spoil(document)
        text = json.dumps(document, ensure_ascii=self._random.random() < 0.5)
        sent = text.encode("utf-8", "surrogatepass")
        chance = self._random.random()
        if chance < 0.05:
            return self._corrupt(sent)
        if chance < 0.1:
            return sent.replace(b'"qty": 1', b'"qty": 1, "qty": 2').replace(
                b'"gold_gained": 5', b'"gold_gained": ' + b"9" * 5000
            )
        return sent

    def _marked(self) -> tuple[str, dict[str, Any]]:
        self._drawn += 1
        mark = f"fuzz-{self._seed}-{self._drawn:07}"
        session_id = UUID(int=self._random.getrandbits(128), version=4)
        return mark, make_document(session_id=session_id, note=mark)

    def _sound(self, document: Any, mark: str) -> bytes:
        return raw(envelope(call(document), headers=headers(id=mark)))

    def _corrupt_item(self, document: Any, mark: str) -> bytes:
        return self._corrupt(self._sound(document, mark))

    def _odd_envelope(self, document: Any, mark: str) -> bytes:
        found = envelope(call(document), headers=self._all_headers(mark))
        for _ in range(self._random.choice((1, 1, 2))):
            self._spoil(found)
        return raw(found)

    def _all_headers(self, mark: str) -> dict[str, Any]:
        return headers(
            id=mark,
            root_id=mark,
            parent_id=None,
            group=None,
            group_index=None,
            shadow=None,
            eta=None,
            expires=None,
            retries=0,
            timelimit=[None, None],
            argsrepr="",
            kwargsrepr="",
            origin="fuzz",
            ignore_result=True,
            replaced_task_nesting=0,
            stamped_headers=None,
            stamps={},
            compression=None,
            is_eager=None,
            errbacks=None,
        )

    def _odd_body(self, document: Any, mark: str) -> bytes:
        body = call(document, chord=None)
        for _ in range(self._random.choice((1, 1, 2))):
            self._spoil(body)
        with suppress(TypeError, KeyError, IndexError):
            # Kept as a row of its own, which no document may share.
            body[2]["chord"]["task"] = "engine.chord"  # type: ignore[index]
        return raw(envelope(body, headers=headers(id=mark)))

    def _corrupt_body(self, document: Any, mark: str) -> bytes:
        body = self._corrupt(json.dumps(call(document)).encode())
        encoded = base64.b64encode(body)
        if self._random.random() < 0.3:
            encoded = self._corrupt(encoded)
        known = headers(id=mark)
        return raw(envelope(None, headers=known, body=encoded.decode("latin-1")))

    def _packed(self, document: Any, mark: str) -> bytes:
        kind, pack = self._random.choice(PACKERS)
        body = pack(json.dumps(call(document)).encode())
        if self._random.random() < 0.5:
            body = self._corrupt(body)
        encoded = base64.b64encode(body).decode()
        known = headers(id=mark, compression=kind)
        return raw(envelope(None, headers=known, body=encoded))

    def _older_protocol(self, document: Any, mark: str) -> bytes:
        body = {"task": "settle_combat", "id": mark, "args": [document], "kwargs": {}}
        if self._random.random() < 0.5:
            self._spoil(body)
        known = headers(id=mark) if self._random.random() < 0.5 else {}
        return raw(envelope(body, headers=known))

    def _other_task(self, document: Any, mark: str) -> bytes:
        args = [self._hostile() for _ in range(self._random.randrange(4))]
        task = self._random.choice(TASKS)
        return raw(envelope(call(*args, mark), headers=headers(id=mark, task=task)))

    def _hostile(self) -> Any:
        # Spoilt again, it is not to spoil the others.
        return json.loads(json.dumps(self._random.choice(HOSTILE)))

    def _spoil(self, found: Any) -> None:
        """Put something hostile in place of one part, or take it out."""
        holder, key = self._random.choice(_places(found))
        if isinstance(holder, dict) and self._random.random() < 0.15:
            del holder[key]
        else:
            holder[key] = self._hostile()

    def _corrupt(self, text: bytes) -> bytes:
        at = self._random.randrange(max(1, len(text)))
        noise = self._random.randbytes(self._random.choice((1, 1, 3)))
        cut = self._random.choice((0, 1, 5, len(text)))
        return text[:at] + noise + text[at + cut :]


@cache
def _bomb() -> bytes:
    return bz2.compress(b" " * 40_000_000)


PACKERS: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    ("application/x-gzip", zlib.compress),
    ("application/x-bz2", bz2.compress),
    ("application/x-lzma", zlib.compress),
    ("application/zstd", zlib.compress),
    ("application/x-bz2", lambda _: _bomb()),
)


def _places(found: Any) -> list[tuple[Any, Any]]:
    """Every part of a document with its holder; the deep ones of HOSTILE are one."""
    places: list[tuple[Any, Any]] = []
    level = [found]
    for _ in range(6):
        parts = [
            (holder, key)
            for holder in level
            for key in (holder if isinstance(holder, dict) else range(len(holder)))
        ]
        places += parts
        level = [h[k] for h, k in parts if isinstance(h[k], dict | list)]
    return places
