"""A worker starts while its servers are on their way: it waits, then it judges them."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from psycopg.conninfo import conninfo_to_dict
from redis.backoff import NoBackoff
from redis.retry import Retry

from devservers.ports import HOST
from devservers.redis import binary
from tests.integration.test_checks import errors, ids, manage, production, run
from tests.support import worker
from tests.support.mortal import mortal
from tests.support.ports import free_port
from tests.support.proxy import proxy_to
from tests.support.redis_server import running_redis
from tests.support.waiting import wait_until

KEYS = 20_000
"""While it loads, Redis answers once in a thousand commands."""

SECONDS = 6.0
LOADING_SECONDS = 25.0
"""Longer than a busy machine needs until a command asks."""

INSTALLED = sorted({str(binary()), shutil.which("redis-server") or str(binary())})

pytestmark = pytest.mark.django_db


def start(**over: str) -> subprocess.CompletedProcess[str]:
    """What every worker does before it takes its first message."""
    code = "from settlement_project import checks; checks.refuse_unsafe_servers()"
    return run("manage.py", "shell", "-c", code, env=production(**over))


@contextmanager
def loading_redis(folder: Path, executable: str) -> Iterator[str]:
    """It reads its file for LOADING_SECONDS."""
    port = free_port()
    options = ["--port", str(port), "--bind", HOST, "--dir", str(folder)]
    options += ["--save", "", "--appendonly", "yes"]
    slowly = ["--key-load-delay", str(int(LOADING_SECONDS / KEYS * 1_000_000))]
    with redis.Redis(HOST, port, retry=Retry(NoBackoff(), 0)) as client:
        filled = subprocess.Popen(
            mortal(executable, *options), stdout=subprocess.DEVNULL
        )
        wait_until(lambda: _answer(client) == "PONG", "Redis answers")
        with client.pipeline(transaction=False) as pipe:
            for number in range(KEYS):
                pipe.set(f"key:{number}", "x")
            pipe.execute()
        client.shutdown()
        filled.wait()
        server = subprocess.Popen(
            mortal(executable, *options, *slowly), stdout=subprocess.DEVNULL
        )
        try:
            wait_until(lambda: _answer(client) == "LOADING", "Redis loads")
            yield f"redis://{HOST}:{port}/0"
        finally:
            server.kill()
            server.wait()


def _answer(client: redis.Redis) -> str:
    try:
        client.ping()
    except redis.exceptions.BusyLoadingError:
        return "LOADING"
    except redis.ConnectionError:
        return ""
    return "PONG"


@pytest.mark.parametrize("executable", INSTALLED)
def test_a_redis_that_loads_is_waited_for_and_then_judged(
    tmp_path: Path, executable: str
) -> None:
    with loading_redis(tmp_path, executable) as url:
        asked = manage("check", "--deploy", env=production(REDIS_URL=url))
        # However short the patience with a server that says nothing.
        ended = start(REDIS_URL=url, SETTLEMENT_START_WAIT_SECONDS="0")

    assert (asked.returncode, errors(asked.stderr)) == (1, {"E023"})
    assert (ended.returncode, ids(ended.stderr)) == (0, set())


def test_a_redis_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    port = free_port()
    started: list[subprocess.CompletedProcess[str]] = []
    url = f"redis://{HOST}:{port}/0"
    starting = threading.Thread(target=lambda: started.append(start(REDIS_URL=url)))
    starting.start()
    time.sleep(3)
    with running_redis(tmp_path, port=port):
        starting.join()

    assert started[0].returncode == 0


def test_a_replica_is_waited_for_until_it_is_promoted_and_then_refused(
    tmp_path: Path,
) -> None:
    (tmp_path / "replica").mkdir()
    with (
        running_redis(tmp_path) as primary,
        running_redis(tmp_path / "replica") as url,
        redis.Redis.from_url(url) as replica,
    ):
        replica.replicaof(HOST, str(urlsplit(primary).port))
        refused = start(REDIS_URL=url, SETTLEMENT_START_WAIT_SECONDS="1")
        threading.Timer(3, replica.replicaof, args=("NO", "ONE")).start()
        ended = start(REDIS_URL=url)

    assert (refused.returncode, ids(refused.stderr)) == (1, {"E024"})
    assert ended.returncode == 0


def test_a_postgres_that_starts_up_is_waited_for() -> None:
    with recovering_postgres() as port:
        ended = start(
            DATABASE_URL=f"postgresql://settlement@{HOST}:{port}/settlement",
            SETTLEMENT_START_WAIT_SECONDS="0",
        )

    # Gone by then: it was looked at once it accepted connections, and not before.
    assert ended.returncode == 1
    assert ids(ended.stderr) == {"E030"}
    assert "accepts no connections yet" in ended.stderr


@contextmanager
def recovering_postgres() -> Iterator[int]:
    """Refuses as a server that starts up, until SECONDS after it was first asked."""
    fields = b"SFATAL\0C57P03\0Mthe database system is starting up\0\0"
    refusal = b"E" + (4 + len(fields)).to_bytes(4, "big") + fields
    with socket.create_server((HOST, 0)) as listener:

        def serve() -> None:
            deadline = None
            while deadline is None or time.monotonic() < deadline:
                client, _ = listener.accept()
                deadline = deadline or time.monotonic() + SECONDS
                with client:
                    # Asked for encryption first: none.
                    if client.recv(1024)[4:8] == (80877103).to_bytes(4, "big"):
                        client.sendall(b"N")
                        client.recv(1024)
                    client.sendall(refusal)
            listener.close()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def test_a_postgres_that_is_frozen_is_not_waited_for_without_end() -> None:
    known = conninfo_to_dict(worker.database_url())
    with proxy_to(str(known["host"]), int(str(known["port"]))) as hole:
        hole.pause()
        ended = start(
            DATABASE_URL=f"postgresql://settlement@{HOST}:{hole.port}/settlement",
            SETTLEMENT_START_WAIT_SECONDS="1",
        )

    assert (ended.returncode, ids(ended.stderr)) == (1, {"E030"})
