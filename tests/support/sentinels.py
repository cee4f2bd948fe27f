"""A primary, its replica, and the three Sentinels that watch them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from devservers.ports import HOST
from devservers.redis import binary
from tests.support.mortal import mortal
from tests.support.ports import free_port
from tests.support.redis_server import running_redis
from tests.support.waiting import wait_until

NAME = "combats"

WATCH = """
bind {host}
port {port}
dir {folder}
sentinel monitor {name} {host} {primary} 2
sentinel down-after-milliseconds {name} 800
sentinel failover-timeout {name} 4000
"""


@dataclass(frozen=True)
class Watched:
    """`url`: the primary's, whoever that is. `first`: the port of the first one."""

    url: str
    first: int

    def kill_first(self) -> None:
        """It answers nobody any more, as a machine that is gone."""
        with redis.Redis(HOST, self.first) as client:
            pid = client.info("server")["process_id"]
        os.kill(pid, signal.SIGKILL)


@contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    first = free_port()
    with ExitStack() as stack:
        for name in ("first", "second"):
            (folder / name).mkdir()
        stack.enter_context(running_redis(folder / "first", port=first))
        second_url = stack.enter_context(running_redis(folder / "second"))
        with redis.Redis.from_url(second_url) as second:
            second.replicaof(HOST, str(first))
            wait_until(
                lambda: second.info("replication")["master_link_status"] == "up",
                "the replica follows",
            )
        ports = [stack.enter_context(_sentinel(folder, n, first)) for n in range(3)]
        wait_until(lambda: all(map(_knows_all, ports)), "the Sentinels know each other")
        hosts = ",".join(f"{HOST}:{port}" for port in ports)
        yield Watched(f"sentinel://{hosts}/0?master={NAME}", first)


@contextmanager
def _sentinel(folder: Path, number: int, primary: int) -> Iterator[int]:
    port = free_port()
    home = folder / f"sentinel-{number}"
    home.mkdir()
    config = home / "sentinel.conf"
    words = {"host": HOST, "port": port, "name": NAME, "primary": primary}
    config.write_text(WATCH.format(folder=home, **words))
    process = subprocess.Popen(
        mortal(str(binary()), str(config), "--sentinel"), stdout=subprocess.DEVNULL
    )
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


def _knows_all(port: int) -> bool:
    try:
        with redis.Redis(HOST, port, decode_responses=True) as client:
            (told,) = client.sentinel_masters().values()
    except (redis.RedisError, ValueError):
        return False
    return bool(told["num-other-sentinels"] == 2 and told["num-slaves"] == 1)
