"""What `submit_combat` costs the engine, against a bare write of the same bytes.

One call after the other from one process, the two kinds in turn, over connections that
are made alike. No worker runs: this is the caller's own time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import orjson
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from benchmarks.backlog import Backlog, hide_from_collector
from benchmarks.figures import Percentiles, percentiles
from benchmarks.servers import Servers
from persistence.dispatcher import DEFAULT_TIMEOUT_SECONDS, SyncDispatcher

WARM_UP = 50


@dataclass(frozen=True)
class SubmitCost:
    """Milliseconds a call."""

    bare_write: Percentiles
    text: Percentiles
    """`submit_combat_sync` of JSON text."""
    document: Percentiles
    """`submit_combat_sync` of a dict."""


def measure(servers: Servers, backlog: Backlog) -> SubmitCost:
    servers.flush_redis()
    dispatcher = SyncDispatcher(servers.redis_url)
    client = redis.Redis.from_url(
        servers.redis_url,
        socket_timeout=DEFAULT_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    half = len(backlog) // 2
    texts = backlog.raws[:half]
    documents = [orjson.loads(raw) for raw in backlog.raws[half:]]
    hide_from_collector()
    bare, by_text, by_document = [], [], []
    for number, (text, document) in enumerate(zip(texts, documents, strict=False)):
        bare.append(_seconds(client.set, f"bare:{number}", text))
        by_text.append(_seconds(dispatcher.submit_combat_sync, text))
        by_document.append(_seconds(dispatcher.submit_combat_sync, document))
    dispatcher.close()
    client.close()
    return SubmitCost(*(percentiles(s[WARM_UP:]) for s in (bare, by_text, by_document)))


def _seconds(call: Callable[..., object], *arguments: object) -> float:
    began = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - began
