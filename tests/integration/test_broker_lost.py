"""A broker that goes away while messages are held costs a reconnect, not a worker."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from kombu import Connection

from settlement_project.celery import app


def test_a_held_message_of_a_closed_connection_is_told_as_a_lost_connection(
    redis_client: redis.Redis,
) -> None:
    """Celery's main process takes anything else for the end of the world."""
    with app.connection_for_read() as connection:
        channel: Any = connection.channel()
        _hold_a_message(connection, channel)
        lost = connection.connection_errors
        # What the consumer does where Redis has restarted: closed, then closed again.
        connection._do_close_transport()
        with pytest.raises(lost, match="closed"):
            channel.close()


def _hold_a_message(connection: Connection, channel: Any) -> None:
    queue = connection.SimpleQueue("celery", channel=channel)
    queue.put({"any": "message"})
    assert queue.get(timeout=60) is not None
