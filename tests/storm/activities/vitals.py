"""Snapshots: hp and energy in the account cache, and contexts that players switch."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar
from uuid import uuid4

import redis

from persistence.contract.errors import CombatInProgress, DispatchFailed
from persistence.contract.redis_keys import account, scenario
from persistence.protocols import GameMode, SyncScope
from tests.storm.book import Line
from tests.storm.game import RETRY_SECONDS, Game

SHARE = 0.1
SWITCHES = 0.5

Answer = TypeVar("Answer")


def keep(game: Game, past: list[Line]) -> None:
    while game.pause(SHARE):
        char_id = game.chance.choice(game.players)
        try:
            if game.chance.random() < SWITCHES:
                _travel(game, char_id)
            else:
                _heal(game, char_id, game.chance.randint(1, 500))
        except (DispatchFailed, CombatInProgress, redis.RedisError):
            continue


def say_farewell(game: Game, char_ids: list[int]) -> None:
    """The last heal of each, and a journey's end: these have to be in the tables."""
    for char_id in char_ids:
        hp = game.chance.randint(1, 500)
        _until_answered(partial(_heal, game, char_id, hp))
        game.book.write("healed", char=char_id, hp=hp)
    for char_id in char_ids[::4]:
        progress = uuid4().hex
        try:
            sid = _until_answered(partial(_travel, game, char_id, progress))
        except CombatInProgress:
            continue  # in a fight that was left
        game.book.write("travelled", char=char_id, sid=sid, progress=progress)


def _heal(game: Game, char_id: int, hp: int) -> None:
    now = int(time.time() * 1000)
    game.redis.hset(
        account(char_id),
        mapping={"hp": hp, "energy": hp % 100, "vitals_at": now},
    )
    game.dispatcher.dispatch_sync(SyncScope.VITALS, char_id=char_id)


def _travel(game: Game, char_id: int, progress: str = "somewhere") -> str:
    """There and, by opening the inventory, back again."""
    switch = game.dispatcher.switch_context_sync(char_id=char_id, to=GameMode.SCENARIO)
    sid = str(switch.session_id)
    version = int(time.time() * 1000)
    game.redis.hset(scenario(sid), mapping={"version": version, "at": progress})
    game.dispatcher.dispatch_sync(SyncScope.SCENARIO, char_id=char_id)
    game.dispatcher.switch_context_sync(char_id=char_id, to=GameMode.INVENTORY)
    game.dispatcher.switch_context_sync(char_id=char_id, to=GameMode.IDLE)
    return sid


def _until_answered(call: Callable[[], Answer]) -> Answer:
    while True:
        try:
            return call()
        except (DispatchFailed, redis.RedisError):
            time.sleep(RETRY_SECONDS)
