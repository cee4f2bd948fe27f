"""What beat sends, and how often."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from persistence.protocols import SAVES_QUEUE, SWEEP_QUEUE

MINUTE = 60
HOUR = 60 * 60


def schedule(beat_seconds: int, sweep_seconds: int) -> dict[str, dict[str, Any]]:
    return {
        "drain-inbox": _every(beat_seconds, "settle_inbox"),
        "replay-batches": _every(beat_seconds, "replay_batches"),
        "publish-events": _every(beat_seconds, "publish_events"),
        "sweep": _every(sweep_seconds, "sweep", queue=SWEEP_QUEUE),
        "roll-up-economy": _every(MINUTE, "roll_up_economy", queue=SWEEP_QUEUE),
        "measure-rules": _every(HOUR, "measure_rules", queue=SAVES_QUEUE),
    }


def _every(seconds: int, task: str, **options: str) -> dict[str, Any]:
    return {
        "task": task,
        "schedule": timedelta(seconds=seconds),
        # After an outage none of them pile up: each ends with its interval.
        "options": {"expires": seconds, **options},
    }
