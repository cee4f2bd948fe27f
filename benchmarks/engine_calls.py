"""The engine's calls while Redis is away: `python -m benchmarks.engine_calls`.

For each call and fault: how long the caller waited, and the longest time in which the
event loop got nothing else done. Starts a Redis of its own and stops it with signals.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import redis

from devservers.redis import binary
from persistence.contract.errors import DispatchFailed, HandoffFailed
from persistence.dispatcher import DEFAULT_TIMEOUT_SECONDS, SyncDispatcher
from persistence.protocols import GameMode, SyncScope

HOST = "127.0.0.1"
PLAYER = 101
RESTART_SECONDS = 0.5
Call = Callable[[SyncDispatcher], Awaitable[object]]


def main() -> None:
    # Rings that fail are told of, as they should be, but not here.
    logging.disable(logging.WARNING)
    print(f"bound {DEFAULT_TIMEOUT_SECONDS} s")
    print(f"{'call':<18}{'Redis':<12}{'answer':<16}{'took ms':>9}{'stall ms':>10}")
    for fault in (_running, _closed, _frozen, _restarting):
        for name, call in CALLS.items():
            with _redis() as (url, server), fault(server):
                answer, took, stall = asyncio.run(_measure(url, call))
            kind = fault.__name__.lstrip("_")
            numbers = f"{took * 1000:>9.0f}{stall * 1000:>10.1f}"
            print(f"{name:<18}{kind:<12}{answer:<16}{numbers}")


def _document() -> dict[str, object]:
    return {
        "session_id": str(uuid4()),
        "meta": {"end_timestamp": 1_735_460_000, "finish_reason": "draw"},
        "participants": {str(PLAYER): {"is_winner": False, "changes": {}}},
    }


CALLS: dict[str, Call] = {
    "submit_combat": lambda d: d.submit_combat(_document()),
    "start_combat": lambda d: d.start_combat(uuid4(), [PLAYER]),
    "heartbeat": lambda d: d.heartbeat(uuid4()),
    "dispatch": lambda d: d.dispatch(SyncScope.VITALS, char_id=PLAYER),
    "switch_context": lambda d: d.switch_context(char_id=PLAYER, to=GameMode.INVENTORY),
}


async def _measure(url: str, call: Call) -> tuple[str, float, float]:
    """Answer, seconds waited, longest gap between two ticks of the loop."""
    gaps = [0.0]

    async def tick() -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.001)
            gaps.append(time.monotonic() - last - 0.001)
            last = time.monotonic()

    dispatcher = SyncDispatcher(url)
    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.05)
    gaps.clear()
    started = time.monotonic()
    try:
        await call(dispatcher)
        answer = "ok"
    except (DispatchFailed, HandoffFailed) as error:
        answer = error.code
    took = time.monotonic() - started
    await asyncio.sleep(0.05)
    ticking.cancel()
    # The thread of the ring may still be trying; it ends with this process.
    return answer, took, max(gaps)


@contextmanager
def _redis() -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A server in a list, so that a fault may replace it."""
    with socket.socket() as probe, tempfile.TemporaryDirectory() as folder:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
        probe.close()
        server = [_start(port, folder)]
        try:
            yield f"redis://{HOST}:{port}/0", server
        finally:
            server[0].send_signal(signal.SIGCONT)
            server[0].kill()
            server[0].wait()


def _start(port: int, folder: str) -> subprocess.Popen[bytes]:
    server = subprocess.Popen(
        [binary(), "--port", str(port), "--bind", HOST, "--dir", folder, "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    with redis.Redis(HOST, port) as client:
        while True:
            try:
                client.ping()
                return server
            except redis.ConnectionError:
                time.sleep(0.01)


@contextmanager
def _running(server: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    yield


@contextmanager
def _closed(server: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    server[0].kill()
    server[0].wait()
    yield


@contextmanager
def _frozen(server: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    os.kill(server[0].pid, signal.SIGSTOP)
    yield


@contextmanager
def _restarting(server: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Connections are accepted by the kernel, answers come only after a while."""
    os.kill(server[0].pid, signal.SIGSTOP)
    subprocess.Popen(
        ["sh", "-c", f"sleep {RESTART_SECONDS}; kill -CONT {server[0].pid}"]
    )
    yield


if __name__ == "__main__":
    main()
