"""Celery's events, as Flower receives them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from settlement_project.celery import app
from tests.support.waiting import wait_until


@contextmanager
def events(url: str | None = None) -> Iterator[list[dict[str, Any]]]:
    """Every event that is sent meanwhile, over the broker there."""
    seen: list[dict[str, Any]] = []
    stop = threading.Event()

    def capture() -> None:
        with app.connection_for_read(url) as broker:
            receiver = app.events.Receiver(broker, handlers={"*": seen.append})
            with receiver.consumer_context() as (own, _, _):
                while not stop.is_set():
                    try:
                        own.drain_events(timeout=0.1)
                    except TimeoutError:
                        continue

    thread = threading.Thread(target=capture)
    thread.start()
    try:
        with (
            app.connection_for_write(url) as broker,
            app.events.Dispatcher(broker) as dispatcher,
        ):

            def is_listening() -> bool:
                dispatcher.send("test-probe")
                return bool(seen)

            wait_until(is_listening, "the receiver listens")
        yield seen
    finally:
        stop.set()
        thread.join()
