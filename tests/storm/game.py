"""What all activities of the engine share: its calls, its journal, its dice."""

from __future__ import annotations

import argparse
import random
import threading
import time
from dataclasses import asdict
from typing import Any
from uuid import UUID

import redis

from persistence.dispatcher import SyncDispatcher
from tests.storm.book import Book, Line
from tests.storm.world import PLAYERS, player_ids
from tests.support.ids import new_session_id
from tests.support.journal import Fight, Share

RETRY_SECONDS = 0.1
AGAIN_SECONDS = 120
"""What was accepted so long before the engine's death is handed over again by its next
life: its servers may have forgotten it together with the engine."""

FLAWED = 0.03
"""Fights with loot that nobody has heard of: an admin decides."""


class Game:
    def __init__(
        self,
        book: Book,
        dispatcher: SyncDispatcher,
        options: argparse.Namespace,
        chance: random.Random,
    ) -> None:
        self.book = book
        self.dispatcher = dispatcher
        self.options = options
        self.chance = chance
        self.finishing = threading.Event()
        self.players = player_ids(PLAYERS)
        self.redis = redis.Redis.from_url(
            options.redis, socket_timeout=1, socket_connect_timeout=1
        )

    def pause(self, share: float) -> bool:
        """Wait for the activity's next turn; False once everything is to end.

        `share`: of the storm's rate.
        """
        mean = 1 / (self.options.rate * share)
        return not self.finishing.wait(self.chance.uniform(0.5, 1.5) * mean)

    def offer(self, door: str, **over: Any) -> Fight:
        """A fight that was just fought, written down before anybody hears of it."""
        players = self.chance.sample(self.players, self.chance.randint(1, 3))
        shares = {player: self.share() for player in players}
        failure = "unknown_item" if self.chance.random() < FLAWED else None
        ago = self.chance.choice((0, 0, 0, 60, 3600, 86_000))
        fight = Fight(new_session_id(), int(time.time()) - ago, shares, failure)
        self.write_offer(fight, door, **over)
        return fight

    def share(self, **over: int) -> Share:
        dice = self.chance
        values = {
            "xp": dice.randint(0, 50),
            "gold": dice.randint(0, 20),
            "hp": dice.randint(1, 500),
            "energy": dice.randint(0, 100),
            "drunk": dice.randint(0, 2),
            "loot": dice.randint(0, 2),
        }
        return Share(**{**values, **over})

    def write_offer(self, fight: Fight, door: str, **more: Any) -> None:
        self.book.write(
            "offer",
            sid=str(fight.session_id),
            door=door,
            finished_at=fight.finished_at,
            shares={str(c): asdict(s) for c, s in fight.shares.items()},
            failure=fight.failure,
            **more,
        )


def fight_of(line: Line) -> Fight:
    shares = {int(c): Share(**s) for c, s in line["shares"].items()}
    return Fight(UUID(line["sid"]), line["finished_at"], shares, line["failure"])


def left_over(past: list[Line], door: str, again: float = AGAIN_SECONDS) -> list[Fight]:
    """Fights of a door that the next life has to hand over."""
    offered = {
        line["sid"]: fight_of(line)
        for line in past
        if line["kind"] == "offer" and line["door"] == door
    }
    done = done_with(past, {"accepted", "forced", "gave up"}, "sid", again)
    return [fight for sid, fight in offered.items() if sid not in done]


def done_with(
    past: list[Line], answers: set[str], name: str, again: float = AGAIN_SECONDS
) -> set[str]:
    """What was answered long enough before the end of a life to be repeated by none.

    What was answered later is owed until it is answered again: a life that is killed
    while it still repeats leaves the rest to the next.
    """
    done: set[str] = set()
    answered: dict[str, float] = {}
    for line, following in zip(past, [*past, {"kind": "born"}][1:], strict=True):
        if line["kind"] in answers:
            answered[line[name]] = line["at"]
        if following["kind"] == "born":
            until = line["at"] - again
            done |= {named for named, at in answered.items() if at < until}
            answered = {}
    return done
