"""The engine's ring: asks the workers for a drain, off the caller's path.

Single-flight: however many callers press it meanwhile, one message goes out. A ring
that fails is only logged, because the inbox entry is what counts and beat drains it.
"""

from __future__ import annotations

import logging
import threading

from celery import Celery

logger = logging.getLogger(__name__)


class Doorbell:
    """A daemon thread that sends `settle_inbox`; `press` never blocks nor raises."""

    def __init__(self, broker_url: str) -> None:
        self._app = _producer(broker_url)
        self._pressed = threading.Event()
        self._closing = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def press(self) -> None:
        self._pressed.set()
        # Started on first use, so that a dispatcher made before a fork works after it.
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._ring_for_ever, name="doorbell", daemon=True
                )
                self._thread.start()

    def close(self, timeout: float) -> None:
        """Send what is still to be sent and stop, within `timeout` seconds."""
        self._closing = True
        thread = self._thread
        if thread is not None:
            self._pressed.set()
            thread.join(timeout)
        self._app.close()

    def _ring_for_ever(self) -> None:
        while True:
            self._pressed.wait()
            self._pressed.clear()
            if self._closing:
                return
            try:
                self._app.send_task("settle_inbox", ignore_result=True)
            except Exception:
                logger.warning("ring failed; beat drains the inbox", exc_info=True)


def _producer(broker_url: str) -> Celery:
    """A Celery app that can only send, and gives up on a frozen broker."""
    # No fix-ups: the engine may have a Django of its own, which is none of ours.
    app = Celery(set_as_current=False, fixups=[])
    app.conf.update(
        # Not `broker_url`, which the environment's CELERY_BROKER_URL would override.
        broker_write_url=broker_url,
        task_serializer="json",
        task_ignore_result=True,
        broker_transport_options={"socket_timeout": 2, "socket_connect_timeout": 1},
        task_publish_retry_policy={
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0.2,
            "interval_max": 0.2,
        },
    )
    return app
