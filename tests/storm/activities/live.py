"""Fights that are played: begun, belts used, kept alive, ended or left alone."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import redis

from persistence.contract.errors import (
    CombatFinished,
    CombatInProgress,
    DispatchFailed,
    HandoffFailed,
    PayloadConflict,
)
from persistence.contract.redis_keys import actor_field, session
from persistence.dispatcher import SyncDispatcher
from tests.storm.book import Line
from tests.storm.game import RETRY_SECONDS, Game, done_with, fight_of
from tests.support.ids import new_session_id
from tests.support.journal import FLASK, Fight, Share, flask_row

SHARE = 0.1
AT_ONCE = 8
LEFT, LATE = 0.15, 0.5
BEAT_SECONDS = 2.0
LATE_SECONDS = 40
USED_AT, ENDED_AT = 1, 3
"""Heartbeats after which a belt is used, and after which a fight is over."""


@dataclass
class Running:
    fight: Fight
    is_left: bool
    beats: int = 0
    due: float = field(default_factory=time.monotonic)


def play(game: Game, past: list[Line]) -> None:
    running = _left_over(past)
    while game.pause(SHARE) or running:
        if not game.finishing.is_set() and len(running) < AT_ONCE:
            begun = _begin(game, {c for r in running for c in r.fight.shares})
            running += [begun] if begun else []
        now = time.monotonic()
        for one in [one for one in running if one.due <= now]:
            if not _advance(game, one):
                running.remove(one)
        if game.finishing.is_set():
            # What is left for late is late enough.
            running = [one for one in running if not one.is_left]
            time.sleep(RETRY_SECONDS)


def _begin(game: Game, busy: set[int]) -> Running | None:
    free = [c for c in game.players if c not in busy]
    players = game.chance.sample(free, game.chance.randint(1, 2))
    shares = {c: game.share(flasks=game.chance.randint(0, 2)) for c in players}
    is_left = game.chance.random() < LEFT
    fight = Fight(new_session_id(), int(time.time()), shares)
    game.write_offer(fight, "live", left=is_left)
    while True:
        try:
            game.dispatcher.start_combat_sync(fight.session_id, players)
        except DispatchFailed:
            if game.finishing.is_set():
                return None
            time.sleep(RETRY_SECONDS)
        except (CombatInProgress, CombatFinished) as error:
            # Of a fight that was left, most likely.
            game.book.write("gave up", sid=str(fight.session_id), why=error.code)
            return None
        else:
            game.book.write("started", sid=str(fight.session_id))
            return Running(fight, is_left)


def _advance(game: Game, one: Running) -> bool:
    """Whether there is more to come."""
    one.beats += 1
    one.due = time.monotonic() + BEAT_SECONDS
    if one.beats == USED_AT:
        _use_belts(game, one)
    if one.beats < ENDED_AT and not game.finishing.is_set():
        _beat(game, one.fight.session_id)
        return True
    if not one.is_left:
        return not _finish(game, one)
    if one.beats == ENDED_AT:
        game.book.write("left", sid=str(one.fight.session_id))
        one.due = time.monotonic() + LATE_SECONDS
        return game.chance.random() < LATE
    return not _finish(game, one)


def _beat(game: Game, session_id: UUID) -> None:
    try:
        is_known = game.dispatcher.heartbeat_sync(session_id)
    except DispatchFailed:
        return
    if not is_known:
        game.book.write("no such fight", sid=str(session_id))


def _use_belts(game: Game, one: Running) -> None:
    """Of what is on the belts by now: what another fight holds has not come onto them.

    The fight is written down anew before the containers, which are the engine's while
    it runs.
    """
    key = session(one.fight.session_id)
    shares = dict(one.fight.shares)
    containers = {}
    for char_id, share in one.fight.shares.items():
        container = _container(game, key, char_id)
        has_flask = any(
            item["inventory_id"] == flask_row(char_id)
            for item in container.get("belt_items", [])
        )
        if not has_flask:
            shares[char_id] = replace(share, flasks=0)
        elif share.flasks:
            containers[char_id] = {**container, "consumed": [_flasks(char_id, share)]}
    one.fight = replace(one.fight, shares=shares)
    game.write_offer(one.fight, "live", left=one.is_left)
    for char_id, container in containers.items():
        try:
            game.redis.hset(key, actor_field(char_id), json.dumps(container))
        except redis.RedisError:
            continue
        game.book.write("used", sid=str(one.fight.session_id), char=char_id)


def _container(game: Game, key: str, char_id: int) -> dict[str, Any]:
    """Empty where there is none, or no answer."""
    try:
        text = game.redis.hget(key, actor_field(char_id))
    except redis.RedisError:
        return {}
    return dict(json.loads(text)) if isinstance(text, bytes) else {}


def _flasks(char_id: int, share: Share) -> dict[str, Any]:
    return {
        "inventory_id": flask_row(char_id),
        "item_template_id": FLASK,
        "qty": share.flasks,
    }


def _finish(game: Game, one: Running) -> bool:
    """Whether there was an answer."""
    sid = str(one.fight.session_id)
    try:
        receipt = _submitted(game.dispatcher, one.fight)
    except HandoffFailed:
        one.due = time.monotonic() + RETRY_SECONDS
        return False
    if receipt is None:
        # The sweep was faster: what it wrote stands.
        game.book.write("forced", sid=sid)
    else:
        game.book.write("accepted", sid=sid, answer=receipt)
    return True


def _submitted(dispatcher: SyncDispatcher, fight: Fight) -> str | None:
    try:
        return str(dispatcher.submit_combat_sync(fight.document))
    except PayloadConflict:
        return None


def _left_over(past: list[Line]) -> list[Running]:
    """Of an earlier life: begun, and neither answered nor left."""
    begun = {line["sid"] for line in past if line["kind"] == "started"}
    over = {
        line["sid"] for line in past if line["kind"] in ("left", "forced", "gave up")
    } | done_with(past, {"accepted"}, "sid")
    fights = {
        line["sid"]: fight_of(line)
        for line in past
        if line["kind"] == "offer" and line["door"] == "live"
    }
    return [
        Running(fight, is_left=False, beats=ENDED_AT)
        for sid, fight in fights.items()
        if sid in begun - over
    ]
