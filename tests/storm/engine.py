"""The engine: plays fights, hands their results over, and writes down every answer.

A process that may be killed at any moment. In its next life it reads its journal and
repeats what it had no answer for, and what was accepted in the last minutes, as an
engine does that cannot know what its servers have lost. On SIGTERM it brings to an end
what it has begun.
"""

from __future__ import annotations

import argparse
import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from persistence.dispatcher import SyncDispatcher
from tests.storm.activities import doors, inventory, live, vitals
from tests.storm.book import Book, Line, lines_of
from tests.storm.game import Game
from tests.storm.world import PLAYERS, player_ids

AT_ONCE = {"submit": 3, "http": 3, "operations": 3}
"""Callers that wait for their answers side by side, each at its share of the rate."""


def main() -> None:
    options = _options()
    folder = Path(options.folder)
    past = lines_of(folder / "engine.jsonl")
    book = Book(folder / "engine.jsonl")
    life = 1 + sum(line["kind"] == "born" for line in past)
    book.write("born", life=life)
    dispatcher = SyncDispatcher(
        options.redis, options.broker, timeout=1.0, replicas=options.replicas
    )
    game = Game(book, dispatcher, options, random.Random(f"{options.seed}:{life}"))
    signal.signal(signal.SIGTERM, lambda *_: game.finishing.set())
    without = set(options.without)
    activities: dict[str, Callable[[Game, list[Line]], None]] = {
        "submit": doors.submit,
        "publish": doors.publish,
        "http": doors.post,
        "live": live.play,
        "operations": inventory.change,
        "vitals": vitals.keep,
    }
    threads = [
        # Only the first repeats what a former life has left over.
        threading.Thread(target=_guarded, args=(game, name, activity, left))
        for name, activity in activities.items()
        if name not in without
        for left in (past, *[[]] * (AT_ONCE.get(name, 1) - 1))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if "vitals" not in without:
        vitals.say_farewell(game, player_ids(PLAYERS))
    dispatcher.close()
    book.write("ended")


def _guarded(
    game: Game,
    name: str,
    activity: Callable[[Game, list[Line]], None],
    past: list[Line],
) -> None:
    """A call that raises what it does not promise is a finding."""
    try:
        activity(game, past)
    except BaseException as error:
        game.book.write("fault", activity=name, error=repr(error))
        raise


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    for name in ("seed", "redis", "broker", "web", "database"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--replicas", type=int, default=0)
    parser.add_argument("--without", nargs="*", default=[])
    return parser.parse_args()


if __name__ == "__main__":
    main()
