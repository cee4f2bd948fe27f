"""Beat ends when it is told to, whatever it is doing then."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest

from settlement_project.celery import app
from settlement_project.liveness import BeatScheduler


@pytest.fixture
def handlers() -> Iterator[None]:
    """Celery's own, for the length of a test."""

    def leave(*_: object) -> None:
        raise SystemExit

    kept = signal.signal(signal.SIGTERM, leave)
    yield
    signal.signal(signal.SIGTERM, kept)


@pytest.mark.usefixtures("handlers")
def test_a_signal_that_something_swallows_ends_it_at_the_next_tick() -> None:
    scheduler = BeatScheduler(app, lazy=True)
    scheduler.tick()
    with suppress(SystemExit):
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit):
        scheduler.tick()
