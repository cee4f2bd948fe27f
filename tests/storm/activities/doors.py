"""Results through the three doors: once, twice, respelt, contradicted, broken."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import redis
from celery import Celery
from kombu.exceptions import OperationalError as BrokerError

from persistence.contract.errors import HandoffFailed, PayloadConflict, PayloadInvalid
from tests.chaos.load import bare_producer
from tests.storm import http
from tests.storm.book import Line
from tests.storm.game import RETRY_SECONDS, Game, left_over
from tests.support.journal import Fight

SHARE = {"submit": 0.4, "publish": 0.25, "http": 0.2}
AGAIN, RESPELT, OTHER, BROKEN = 0.1, 0.05, 0.02, 0.02
RESEND_SECONDS = 1.5
REMEMBERED = 200
"""Fights that may come once more."""

_KOMBUS_OWN = AttributeError
"""A channel that was closed under a publisher has no connection to ask."""

Answer = str
"""accepted, duplicate, conflict or invalid."""
Send = Callable[[Game, dict[str, Any]], Answer | None]
"""None where there was no answer."""


def submit(game: Game, past: list[Line]) -> None:
    _serve(game, past, "submit", _submit)


def post(game: Game, past: list[Line]) -> None:
    _serve(game, past, "http", _post)


def publish(game: Game, past: list[Line]) -> None:
    """`send_task` promises nothing: it is repeated until the fight has a row."""
    with bare_producer(game.options.broker) as producer:
        waiting = [_Sent(fight) for fight in left_over(past, "publish", again=0)]
        while game.pause(SHARE["publish"]) or waiting:
            if not game.finishing.is_set():
                waiting.append(_Sent(game.offer("publish")))
            else:
                time.sleep(RETRY_SECONDS)
            due = [sent for sent in waiting if sent.due < time.monotonic()]
            known = _known(game, [sent.fight for sent in due if sent.times])
            waiting = [sent for sent in waiting if sent.fight.session_id not in known]
            for sent in due:
                if sent in waiting:
                    _publish(game, producer, sent)


@dataclass(eq=False)
class _Sent:
    """A fight that has no row yet. It is sent again ever more seldom."""

    fight: Fight
    times: int = 0
    due: float = 0.0


def _publish(game: Game, producer: Celery, sent: _Sent) -> None:
    document: Any = sent.fight.document
    if game.chance.random() < 0.5:
        document = json.dumps(document)
    copies = 2 if game.chance.random() < AGAIN else 1
    # Not sent, or not known to be: it is repeated as long as it has no row.
    with suppress(BrokerError, redis.RedisError, OSError, _KOMBUS_OWN):
        for _ in range(copies):
            producer.send_task("settle_combat", args=[document])
    sent.due = time.monotonic() + RESEND_SECONDS * 2**sent.times
    sent.times = min(sent.times + 1, 4)


def _serve(game: Game, past: list[Line], door: str, send: Send) -> None:
    done: list[Fight] = []
    for fight in _fights(game, past, door):
        answer = _until_answered(game, send, fight.document)
        if answer in ("accepted", "duplicate"):
            game.book.write("accepted", sid=str(fight.session_id), answer=answer)
            done.append(fight)
            del done[:-REMEMBERED]
        else:
            game.book.write("refused", sid=str(fight.session_id), answer=answer)
        _come_again(game, send, done)


def _fights(game: Game, past: list[Line], door: str) -> Iterator[Fight]:
    yield from left_over(past, door)
    while game.pause(SHARE[door]):
        yield game.offer(door)


def _come_again(game: Game, send: Send, done: list[Fight]) -> None:
    dice = game.chance
    if not done:
        return
    fight = dice.choice(done)
    sid = str(fight.session_id)
    if dice.random() < AGAIN:
        answer = _until_answered(game, send, fight.document)
        game.book.write("again", sid=sid, answer=answer)
    if "respelt" not in game.options.without and dice.random() < RESPELT:
        game.book.write("respelt offer", sid=sid)
        answer = _until_answered(game, send, respelt(fight.document))
        game.book.write("again", sid=sid, answer=answer, respelt=True)
    if dice.random() < OTHER:
        done.remove(fight)
        game.book.write("other offer", sid=sid)
        answer = _until_answered(game, send, other(fight.document))
        game.book.write("other", sid=sid, answer=answer)
    if dice.random() < BROKEN:
        document = game.offer("none").document
        document["meta"]["finish_reason"] = "boredom"
        answer = _until_answered(game, send, document)
        game.book.write("broken", sid=document["session_id"], answer=answer)


def respelt(document: dict[str, Any]) -> dict[str, Any]:
    """The same values in another spelling that is accepted."""
    again = copy.deepcopy(document)
    again["session_id"] = again["session_id"].upper()
    for part in again["participants"].values():
        for used in part.get("changes", {}).get("items_consumed", []):
            used["inv_id"] = used.pop("inventory_id")
    return dict(reversed(again.items()))


def other(document: dict[str, Any]) -> dict[str, Any]:
    """Another document of the fight, which would move the very same things."""
    changed = copy.deepcopy(document)
    changed["meta"]["winner_team"] = "red"
    return changed


def _until_answered(game: Game, send: Send, document: dict[str, Any]) -> Answer:
    while True:
        answer = send(game, document)
        if answer is not None:
            return answer
        time.sleep(RETRY_SECONDS)


def _submit(game: Game, document: dict[str, Any]) -> Answer | None:
    try:
        return str(game.dispatcher.submit_combat_sync(document))
    except HandoffFailed:
        return None
    except PayloadConflict:
        return "conflict"
    except PayloadInvalid:
        return "invalid"


def _post(game: Game, document: dict[str, Any]) -> Answer | None:
    status, body = http.ask(game.options.web, "/api/combats", document)
    if status is not None and http.is_untrue(status, body):
        game.book.write("bad answer", sid=document["session_id"], status=status)
    if status == 202:
        return "duplicate" if body["duplicate"] else "accepted"
    return {409: "conflict", 422: "invalid"}.get(status or 0)


def _known(game: Game, fights: list[Fight]) -> set[UUID]:
    """Those that have a row by now, which is when they are accepted."""
    ids = [fight.session_id for fight in fights]
    if not ids:
        return set()
    try:
        with psycopg.connect(game.options.database, connect_timeout=2) as database:
            rows = database.execute(
                "SELECT session_id FROM combat_history WHERE session_id = ANY (%s)",
                [ids],
            ).fetchall()
    except psycopg.Error:
        return set()
    for row in rows:
        game.book.write("accepted", sid=str(row[0]), answer="row")
    return {row[0] for row in rows}
