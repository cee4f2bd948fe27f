"""Asking for a fight, and counting what that costs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import redis
from asgiref.sync import async_to_sync
from django.conf import settings
from redis.client import Monitor

from combat_history.reading import redis_clients
from combat_history.reading.lookup import (
    Credit,
    Lookup,
    State,
    afind_result,
    find_result,
)
from combat_history.reading.outcomes import Loot, Outcome
from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.engine.handoff import Handoff, checked
from persistence.worker import inbox
from tests.support.documents import HERO, SAMPLE_END, make_document, make_participant

Find = Callable[[UUID | str, int], Lookup]

REWARD = Outcome(
    winner_team="blue",
    finish_reason="victory",
    end_timestamp=SAMPLE_END,
    is_winner=True,
    team=None,
    xp=1250,
    gold=100,
    loot=(Loot("Шкура волка", 1),),
)
"""The hero's part of the sample."""


def finished(credit: Credit, outcome: Outcome | None = REWARD) -> Lookup:
    return Lookup(State.FINISHED, credit, outcome)


def id_of(document: Document) -> UUID:
    return UUID(document["session_id"])


def start(client: redis.Redis, document: Document, **fields: str) -> str:
    """What an engine keeps of a running fight; returns its key."""
    players = [int(key) for key in document["participants"] if key.isdigit()]
    key = redis_keys.session(id_of(document))
    client.hset(key, "status", "active")
    client.hset(key, "participants", json.dumps(players))
    for name, value in fields.items():
        client.hset(key, name, value)
    return key


def hand_off(document: Document) -> Handoff:
    """The engine's own door, without a ring."""
    handoff = checked(document)
    inbox.record(handoff)
    return handoff


def unknown_loot() -> Document:
    """A fight for 5 gold that fails: nobody has heard of its loot."""
    loot = [{"item_template_id": "dragon_scale", "qty": 3}]
    return make_document(
        {str(HERO): make_participant(gold_gained=5, items_gained=loot)}
    )


def find_in_a_loop(session_id: UUID | str, char_id: int) -> Lookup:
    """`afind_result` as if it were synchronous."""

    async def ask() -> Lookup:
        try:
            return await afind_result(session_id, char_id)
        finally:
            await redis_clients.aclose()

    return async_to_sync(ask)()


@contextmanager
def monitored(client: redis.Redis) -> Iterator[list[str]]:
    """The commands that clients send meanwhile; those of scripts are not theirs."""
    seen: list[str] = []
    client.ping()
    database = client.connection_pool.connection_kwargs["db"]
    with (
        redis.Redis.from_url(settings.REDIS_URL) as own,
        Monitor(own.connection_pool) as monitor,  # type: ignore[no-untyped-call]
    ):
        yield seen
        client.echo("no more")
        for command in monitor.listen():
            if command["command"] == "ECHO no more":
                return
            is_ours = command["db"] == database and command["client_type"] != "lua"
            if is_ours:
                seen.append(command["command"].split()[0])


def ask_monitored(session_id: UUID, client: redis.Redis) -> tuple[Lookup, list[str]]:
    """Over a connection and with a script that another question made known."""
    find_result(uuid4(), HERO)
    with monitored(client) as commands:
        lookup = find_result(session_id, HERO)
    return lookup, commands


def aask_monitored(session_id: UUID, client: redis.Redis) -> tuple[Lookup, list[str]]:
    async def ask() -> tuple[Lookup, list[str]]:
        try:
            await afind_result(uuid4(), HERO)
            with monitored(client) as commands:
                lookup = await afind_result(session_id, HERO)
            return lookup, commands
        finally:
            await redis_clients.aclose()

    return async_to_sync(ask)()


def tombstone(client: redis.Redis, session_id: UUID) -> bytes | None:
    held: bytes | None = client.get(redis_keys.tombstone(session_id))  # type: ignore[assignment]
    return held
