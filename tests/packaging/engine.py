"""An engine: every call, by its own interpreter, which knows nothing of this checkout.

Reads three documents of the fights it is to play; says on its output what it was told.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

import redis

from persistence.contract.errors import DispatchFailed, HandoffFailed
from persistence.dispatcher import SyncDispatcher
from persistence.protocols import GameMode, SyncScope

PLAYER, SWORD = 101, 56

Step = tuple[str, tuple[Any, ...], dict[str, Any]]


def game(document: dict[str, Any], deed: str) -> Iterator[Step]:
    """A fight and what the player does after it: the calls, with their arguments."""
    sid = document["session_id"]
    put = {"op_id": f"{sid}-sword", "op": deed, "inventory_id": SWORD}
    where = {"slot": "hand"} if deed == "equip" else {}
    yield "start_combat", (sid, [PLAYER], {PLAYER: "blue"}), {}
    yield "heartbeat", (sid,), {}
    yield "submit_combat", (document,), {}
    yield "switch_context", (), {"char_id": PLAYER, "to": GameMode.INVENTORY}
    yield "change_inventory", (PLAYER, [{**put, **where}]), {}
    yield "dispatch", (SyncScope.VITALS,), {"char_id": PLAYER}
    yield "switch_context", (), {"char_id": PLAYER, "to": GameMode.IDLE}


def say_that_belts_are_loaded(url: str, *documents: dict[str, Any]) -> None:
    """So that no start has to wait for a worker: it finds the word already there."""
    with redis.Redis.from_url(url) as client:
        for document in documents:
            client.rpush(f"combat:belts_ready:{document['session_id']}", 1)


def play(dispatcher: SyncDispatcher, document: dict[str, Any]) -> list[object]:
    return [
        in_words(getattr(dispatcher, f"{name}_sync")(*args, **named))
        for name, args, named in game(document, "unequip")
    ]


async def play_asynchronously(
    dispatcher: SyncDispatcher, document: dict[str, Any]
) -> list[object]:
    told = [
        in_words(await getattr(dispatcher, name)(*args, **named))
        for name, args, named in game(document, "equip")
    ]
    await dispatcher.aclose()
    return told


def in_words(told: Any) -> object:
    if hasattr(told, "actors"):
        return [told.belts_loaded, told.actors[PLAYER].team]
    if hasattr(told, "closed"):
        return [told.changed, sorted(told.closed)]
    return told


def forgotten(url: str, document: dict[str, Any]) -> list[object]:
    """Redis loses what it said yes to: whether the dispatcher hands it over again."""
    key = f"combat:result:{document['session_id']}"
    with redis.Redis.from_url(url) as client:
        dispatcher = SyncDispatcher.from_env()
        dispatcher.submit_combat_sync(document)
        client.flushdb()
        was_there = client.exists(key)
        dispatcher.close()
        return [was_there, client.exists(key)]


def refusals(url: str, document: dict[str, Any]) -> list[object]:
    """Of a Redis that never answers, and of one without the replica asked for."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        silent = SyncDispatcher(f"redis://127.0.0.1:{port}/0", timeout=0.5)
        broker_url = os.environ["CELERY_BROKER_URL"]
        alone = SyncDispatcher(url, broker_url, replicas=1, timeout=0.5)
        return [
            *asyncio.run(both_ways(silent, document)),
            *asyncio.run(both_ways(alone, document)),
        ]


async def both_ways(
    dispatcher: SyncDispatcher, document: dict[str, Any]
) -> list[object]:
    told: list[object] = []
    try:
        await dispatcher.submit_combat(document)
    except HandoffFailed as error:
        told.append(error.code)
    try:
        dispatcher.dispatch_sync(SyncScope.VITALS, char_id=PLAYER)
    except DispatchFailed as error:
        told.append(error.code)
    await dispatcher.aclose()
    return told


def main() -> None:
    url = os.environ["REDIS_URL"]
    first, second, third = json.load(sys.stdin)
    told: dict[str, object] = {
        "django": importlib.util.find_spec("django") is not None,
        "refused": refusals(url, third),
        "forgotten": forgotten(url, third),
    }
    say_that_belts_are_loaded(url, first, second)
    dispatcher = SyncDispatcher.from_env()
    told["sync"] = play(dispatcher, first)
    told["async"] = asyncio.run(play_asynchronously(dispatcher, second))
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
