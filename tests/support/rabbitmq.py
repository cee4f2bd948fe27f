"""A RabbitMQ of a test's own, where `rabbitmq-server` is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from kombu import Connection

from devservers.ports import HOST
from tests.support.mortal import mortal
from tests.support.ports import free_port
from tests.support.waiting import wait_until

START_TIMEOUT_SECONDS = 180

DEBIAN = "/usr/lib/rabbitmq/bin"
"""Its own programs are here: what is on PATH runs them as another user."""


class NoRabbitMq(Exception):
    """Why there is none."""


@contextmanager
def running_rabbitmq(folder: Path) -> Iterator[str]:
    """Its URL, for the length of a block. Raises NoRabbitMq."""
    server = shutil.which("rabbitmq-server", path=f"{DEBIAN}:{os.environ['PATH']}")
    epmd = shutil.which("epmd")
    if server is None or epmd is None:
        raise NoRabbitMq("rabbitmq-server is not installed")
    port, names_port = free_port(), free_port()
    env = _environment(folder, port, names_port)
    log = (folder / "rabbitmq.log").open("wb")
    # Not as a daemon, as the server would start it: it would outlive the test run.
    with (
        log,
        _program(log, env, epmd, "-address", HOST, "-port", str(names_port)),
        _program(log, env, server) as process,
    ):
        url = f"amqp://guest:guest@{HOST}:{port}//"

        def is_ready() -> bool:
            assert process.poll() is None, (folder / "rabbitmq.log").read_text()
            return _answers(url)

        wait_until(is_ready, "RabbitMQ answers", START_TIMEOUT_SECONDS)
        yield url


def _environment(folder: Path, port: int, names_port: int) -> dict[str, str]:
    own = {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"tests-{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": HOST,
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder),
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "ERL_EPMD_ADDRESS": HOST,
        "ERL_EPMD_PORT": str(names_port),
        # In the foreground, without a shell around it.
        "RUNNING_UNDER_SYSTEMD": "1",
        # One scheduler that sleeps when it has nothing to do.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
    }
    return {**os.environ, **own}


@contextmanager
def _program(
    log: BinaryIO, env: Mapping[str, str], *command: str
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        mortal(*command),
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with Connection(url, connect_timeout=2) as connection:
            connection.connect()
    except OSError:
        return False
    return True
