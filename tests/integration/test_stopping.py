"""A worker that is told to stop ends soon after its last task."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Event, Thread

from settlement_project.celery import app
from tests.support.worker import running_worker

SOON_SECONDS = 25
"""Half a minute is what a child waits for an answer that nobody reads."""


def test_a_worker_with_beat_stops_soon_under_load(world: None, tmp_path: Path) -> None:
    enough = Event()

    def load() -> None:
        while not enough.wait(0.004):
            app.send_task("settle_inbox")
            app.send_task("replay_batches")

    sender = Thread(target=load)
    with running_worker(tmp_path, beat=True) as worker:
        sender.start()
        time.sleep(1)
        told = time.monotonic()
        assert worker.terminate() == 0
        took = time.monotonic() - told
    enough.set()
    sender.join()

    assert took < SOON_SECONDS
