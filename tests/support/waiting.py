from __future__ import annotations

import time
from collections.abc import Callable

TIMEOUT_SECONDS = 60.0
"""Bounds a failure alone: on a busy machine a program takes half of it to start."""
POLL_SECONDS = 0.02


def is_about(seconds: int, given: int) -> bool:
    """A time to live that was `given` a moment ago, on a busy machine too."""
    return given - TIMEOUT_SECONDS < seconds <= given


def wait_until(
    condition: Callable[[], object],
    what: str,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> None:
    """Return as soon as `condition` holds; fail saying that `what` never did."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_seconds} s: {what}"
        time.sleep(POLL_SECONDS)
