"""Questions asked of a history of any length: `python -m benchmarks.growth_reads`.

Prints milliseconds as JSON. Uses the servers of the environment and leaves in them
only what look-ups remember for a while.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from itertools import islice
from typing import Any

import django

from benchmarks.figures import percentiles
from benchmarks.growth_fill import VETERAN
from benchmarks.world import CHARACTERS

PLAYERS = 500
VETERANS_PAGES = 200
LIMIT = 20
WARM_UP = 20


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settlement_project.settings")
    django.setup()

    from combat_history.api.pages import combats
    from combat_history.models import CombatParticipant
    from combat_history.reading import redis_clients
    from combat_history.reading.lookup import find_result
    from persistence.contract import redis_keys

    def first_fight(player: int) -> tuple[Any, int] | None:
        fights = CombatParticipant.objects.filter(character_id=player)
        keys = fights.order_by("finished_at").values_list("session_id", "character_id")
        return keys.first()

    # Of a short history, many players have no part in.
    drawn = random.Random("growth").sample(range(2, CHARACTERS), CHARACTERS // 10)
    fights = list(islice(filter(None, map(first_fight, drawn)), PLAYERS))
    players = [player for _, player in fights]
    client = redis_clients.client()

    def by_key(fight: tuple[Any, int]) -> None:
        find_result(*fight)

    client.delete(*(redis_keys.tombstone(session_id) for session_id, _ in fights))
    page = f"last {LIMIT} fights of"
    times = {
        "button of an old fight, PostgreSQL": _timed(by_key, fights),
        "the same again, tombstone": _timed(by_key, fights),
        f"{page} a player": _timed(lambda p: combats(p, LIMIT, None, ""), players),
        f"{page} the veteran": _timed(
            lambda p: combats(p, LIMIT, None, ""), [VETERAN] * VETERANS_PAGES
        ),
    }
    found = {name: asdict(percentiles(taken)) for name, taken in times.items()}
    print(json.dumps(found))


def _timed(read: Callable[[Any], object], subjects: Iterable[Any]) -> list[float]:
    taken = []
    for subject in subjects:
        began = time.perf_counter()
        read(subject)
        taken.append(time.perf_counter() - began)
    return taken[WARM_UP:]


if __name__ == "__main__":
    main()
