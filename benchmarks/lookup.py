"""The stale button beside a bare Redis GET: `python -m benchmarks.lookup`.

Uses the servers of the environment and leaves nothing in them: the history row is
rolled back, the tombstone is deleted. The three reads take turns, so that whatever
else the machine does meets all of them.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import django

ROUNDS = 3000
COLD_EVERY = 10
"""A look-up in PostgreSQL is slower: fewer of them say as much."""

CHAR_ID = 101


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settlement_project.settings")
    django.setup()

    from django.db import connection, transaction

    with transaction.atomic():
        times = _measure()
        transaction.set_rollback(True)
    connection.close()
    base = statistics.median(times["GET"])
    print(f"{'read':<28}{'p50 us':>10}{'p99 us':>10}{'ratio':>8}")
    for name, taken in times.items():
        taken.sort()
        p50, p99 = statistics.median(taken), taken[len(taken) * 99 // 100]
        print(f"{name:<28}{p50 * 1e6:>10.0f}{p99 * 1e6:>10.0f}{p50 / base:>8.2f}")


def _measure() -> dict[str, list[float]]:
    from combat_history.models import CombatHistory, Status
    from combat_history.reading import redis_clients
    from combat_history.reading.lookup import find_result
    from persistence.contract import redis_keys
    from persistence.contract.outcome import summary

    session_id = uuid4()
    document = {
        "session_id": str(session_id),
        "meta": {
            "end_timestamp": 1_735_460_000,
            "winner_team": "blue",
            "finish_reason": "victory",
        },
        "participants": {str(CHAR_ID): _part(), "102": _part()},
    }
    now = datetime.now(UTC)
    CombatHistory.objects.create(
        session_id=session_id,
        participant_ids=[CHAR_ID, 102],
        finished_at=now,
        settlement_status=Status.PROCESSED,
        settled_at=now,
        result_payload=document,
    )
    client = redis_clients.client()
    tombstone = redis_keys.tombstone(session_id)
    times: dict[str, list[float]] = {"GET": [], "find_result, tombstone": []}
    times["find_result, PostgreSQL"] = []
    try:
        client.set(tombstone, summary(document), ex=redis_keys.DAY_SECONDS)
        for turn in range(ROUNDS):
            times["GET"].append(_timed(lambda: client.get(tombstone)))
            times["find_result, tombstone"].append(
                _timed(lambda: find_result(session_id, CHAR_ID))
            )
            if turn % COLD_EVERY == 0:
                client.delete(tombstone)
                times["find_result, PostgreSQL"].append(
                    _timed(lambda: find_result(session_id, CHAR_ID))
                )
    finally:
        client.delete(tombstone)
    return times


def _part() -> dict[str, object]:
    return {
        "is_winner": True,
        "changes": {"xp_gained": 1250, "gold_gained": 100},
        "ui_report": {"loot_obtained": [{"name": "Шкура волка", "qty": 1}]},
    }


def _timed(read: Callable[[], object]) -> float:
    began = time.perf_counter()
    read()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
