"""/metrics: the business figures in Prometheus' text format, read when asked for.

PostgreSQL and Redis are asked side by side; where one is away the other's half is
served, and `settlement_up` says which it is. No counter of settlement lives in this
process: workers fork, and what a process counts for itself is wrong after its end.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from http import HTTPStatus

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from combat_history.insight import figures
from combat_history.insight.figures import Reading
from combat_history.reading import redis_clients
from persistence.contract import redis_keys
from persistence.engine import connecting
from persistence.protocols import QUEUES
from persistence.worker import presence
from settlement_project.http_metrics import REGISTRY

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 8
"""Prometheus gives up after ten."""

Families = list[GaugeMetricFamily]


@never_cache
async def metrics(request: HttpRequest) -> HttpResponse:
    """403 without the token; 404 where none is set, but under DEBUG."""
    if not settings.SETTLEMENT_METRICS_TOKENS and not settings.DEBUG:
        return HttpResponse(status=HTTPStatus.NOT_FOUND)
    if not _is_allowed(request):
        return HttpResponse(status=HTTPStatus.FORBIDDEN)
    *halves, queues = await asyncio.gather(
        _half(_postgresql()), _half(_redis()), _half(_queues())
    )
    families = [_up(halves)]
    families += [family for half in (*halves, queues) for family in half or ()]
    # All it asks of a registry is `collect`.
    text = generate_latest(_Collected(families)) + generate_latest(REGISTRY)
    return HttpResponse(text, content_type=CONTENT_TYPE_LATEST)


class _Collected:
    def __init__(self, families: Iterable[GaugeMetricFamily]) -> None:
        self._families = families

    def collect(self) -> Iterable[GaugeMetricFamily]:
        return self._families


def _is_allowed(request: HttpRequest) -> bool:
    tokens = settings.SETTLEMENT_METRICS_TOKENS
    if not tokens:
        return True
    scheme, _, presented = request.headers.get("Authorization", "").partition(" ")
    # Digests, and all of them: neither length nor position of a token shows in time.
    digest = _digest(presented.strip())
    same = [hmac.compare_digest(digest, _digest(token)) for token in tokens]
    return any(same) and scheme.lower() == "bearer"


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


async def _half(asked: Awaitable[Families]) -> Families | None:
    """The figures of one server; None where it does not answer in time."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await asked
    except Exception:
        logger.warning("half of the metrics is missing", exc_info=True)
        return None


def _up(halves: Sequence[Families | None]) -> GaugeMetricFamily:
    names = ("postgresql", "redis")
    told = {
        name: float(half is not None) for name, half in zip(names, halves, strict=True)
    }
    return _gauge("settlement_up", "1 where the server answered.", "server", told)


async def _postgresql() -> Families:
    # A thread and a connection of its own: one that hangs holds up nobody else.
    readings = await sync_to_async(_readings, thread_sensitive=False)()
    return [*_families(readings), _figures_up(readings)]


def _readings() -> list[Reading]:
    try:
        return list(figures.read())
    finally:
        connection.close()


def _families(readings: Iterable[Reading]) -> Iterator[GaugeMetricFamily]:
    for reading in readings:
        for name, metric in reading.figure.metrics.items():
            if reading.numbers is not None:
                yield _gauge(name, metric.help, metric.label, reading.numbers[name])


def _figures_up(readings: Iterable[Reading]) -> GaugeMetricFamily:
    told = {
        reading.figure.name: float(reading.numbers is not None) for reading in readings
    }
    return _gauge(
        "settlement_figure_up", "0 where it could not be told in time.", "figure", told
    )


async def _redis() -> Families:
    now = time.time()
    pipeline = redis_clients.async_client().pipeline(transaction=False)
    pipeline.zcard(redis_keys.INBOX)
    pipeline.zcount(redis_keys.INBOX, "-inf", int(now * 1000))
    pipeline.zrange(redis_keys.INBOX, 0, 0, withscores=True)
    pipeline.zcard(redis_keys.INTENTS)
    pipeline.zrange(redis_keys.INTENTS, 0, 0, withscores=True)
    pipeline.zcard(redis_keys.ACTIVE)
    pipeline.zrange(redis_keys.ALIVE, 0, -1, withscores=True)
    pipeline.time()
    replies = await pipeline.execute()
    inbox, due, first, intents, first_intent, active, said, clock = replies
    gauges = {
        "settlement_inbox_length": ("Entries of the inbox, leased ones too.", inbox),
        "settlement_inbox_due": ("Entries that wait for a worker.", due),
        "settlement_inbox_oldest_due_seconds": (
            "How long the entry that waits longest has been due.",
            _since(first, now, 1000),
        ),
        "settlement_intents_waiting": ("Saves asked for and not done yet.", intents),
        "settlement_intents_oldest_seconds": (
            "How long the save that waits longest has been asked for.",
            _since(first_intent, now, 1_000_000),
        ),
        "settlement_combats_active": ("Combats that go on.", active),
    }
    alone = [
        _gauge(name, says, "", {"": number}) for name, (says, number) in gauges.items()
    ]
    return alone + _processes(presence.ages(said, clock[0] * 1000 + clock[1] / 1000))


async def _queues() -> Families:
    """The length of each queue of a broker that is a Redis; no other one is asked."""
    if not settings.BROKER_URL.startswith(connecting.SCHEMES):
        return []
    async with redis_clients.new_async_client(settings.BROKER_URL) as broker:
        pipeline = broker.pipeline(transaction=False)
        for queue in QUEUES:
            pipeline.llen(queue)
        lengths = await pipeline.execute()
    says = "Messages that no worker has taken yet."
    waiting = dict(zip(QUEUES, lengths, strict=True))
    return [_gauge("settlement_messages_waiting", says, "queue", waiting)]


def _since(first: list[tuple[bytes, float]], now: float, per_second: int) -> float:
    return max(0.0, now - first[0][1] / per_second) if first else 0.0


def _processes(ages: Mapping[str, dict[str, float]]) -> Families:
    alive = {kind: float(presence.are_alive(of_kind)) for kind, of_kind in ages.items()}
    freshest = {
        kind: next(iter(of_kind.values())) for kind, of_kind in ages.items() if of_kind
    }
    return [
        _gauge("settlement_processes", "Processes heard of lately.", "process", alive),
        _gauge(
            "settlement_heartbeat_age_seconds",
            "Since the one heard last was heard.",
            "process",
            freshest,
        ),
    ]


def _gauge(
    name: str, says: str, label: str, numbers: Mapping[str, float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, says, labels=[label] if label else [])
    for value, number in numbers.items():
        family.add_metric([value] if label else [], number)
    return family
