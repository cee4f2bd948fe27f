"""An engine in a process of its own, which may be killed like any other.

It has neither Django nor settings, reads orders from its input, a line each, and says
on its output what it was told.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import defaultdict
from uuid import UUID

from tests.support.journal import Fight
from tests.support.mortal import mortal
from tests.support.worker import PROJECT_ROOT

SUBMIT, SEND, HEARTBEAT = "submit", "send", "heartbeat"
"""The doors: the dispatcher, a bare message; and a call of another combat."""

_ENGINE = """
import json, sys, uuid
from celery import Celery
from persistence.dispatcher import SyncDispatcher
from persistence.contract.errors import PersistenceError

redis_url, broker_url = sys.argv[1:]
dispatcher = SyncDispatcher(redis_url, broker_url, timeout=1.0)
producer = Celery(set_as_current=False)
producer.conf.update(
    broker_write_url=broker_url,
    broker_transport_options={"socket_timeout": 2, "socket_connect_timeout": 1},
    task_publish_retry_policy={"max_retries": 1, "interval_start": 0},
)
print("ready", flush=True)
for line in sys.stdin:
    door, document = line.split(" ", 1)
    session_id = json.loads(document)["session_id"]
    try:
        if door == "submit":
            told = dispatcher.submit_combat_sync(document)
        elif door == "heartbeat":
            dispatcher.heartbeat_sync(uuid.uuid4())
            told = "heard"
        else:
            producer.send_task("settle_combat", args=[document])
            told = "sent"
    except PersistenceError as error:
        told = "conflict" if error.code == "payload_conflict" else "refused"
    except Exception:
        told = "refused"
    print(session_id, told, flush=True)
"""


class EngineProcess:
    """Started by construction. `told` keeps every answer, by session."""

    def __init__(self, redis_url: str, broker_url: str) -> None:
        self._process = subprocess.Popen(
            mortal(sys.executable, "-c", _ENGINE, redis_url, broker_url),
            cwd=PROJECT_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.told: defaultdict[UUID, list[str]] = defaultdict(list)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def order(self, door: str, fight: Fight) -> None:
        """Ask for one hand-over; the answer comes when it comes."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{door} {json.dumps(fight.document)}\n")
        self._process.stdin.flush()

    def kill9(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            session_id, told = line.split()
            self.told[UUID(session_id)].append(told)
