"""What goes wrong while the senders send. Each fault is one call; a log is kept."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from tests.chaos.rig import START_SECONDS, ServerPair, Staff, kill_server
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

OPEN_TRANSACTIONS = """
SELECT client_port FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
  AND xact_start IS NOT NULL AND wait_event_type = 'Lock'
"""

STOP_SECONDS = 8


class Nemesis:
    """Strikes at a staff and its servers. `struck` counts what it did."""

    def __init__(
        self,
        pair: ServerPair,
        staff: Staff,
        players: list[int],
        chance: random.Random,
    ) -> None:
        self.struck: Counter[str] = Counter()
        self._pair = pair
        self._staff = staff
        self._players = players
        self._chance = chance

    def wait_at_work(self) -> None:
        """One that is at work: killing a start-up proves little."""

        def is_ready() -> bool:
            self._staff.supervise()
            return self._staff.is_ready and bool(self._staff.pool())

        wait_until(is_ready, "a worker is ready", START_SECONDS)

    def kill_parent(self) -> None:
        self._staff.worker.kill9()
        self.struck["parent"] += 1

    def kill_child(self) -> None:
        os.kill(self._chance.choice(self._staff.pool()), signal.SIGKILL)
        self.struck["child"] += 1

    def kill_beat(self) -> None:
        self._staff.beat.kill9()
        self.struck["beat"] += 1

    def kill_group(self) -> None:
        for pid in self._staff.pool():
            os.kill(pid, signal.SIGKILL)
        self._staff.worker.kill9()
        self.struck["group"] += 1

    def kill_parent_in_transaction(self) -> None:
        with self._transaction_open():
            self._staff.worker.kill9()
        self.struck["parent in transaction"] += 1

    def kill_child_in_transaction(self) -> None:
        with self._transaction_open() as ports:
            owners = [pid for pid in self._staff.pool() if ports & _ports(pid)]
            os.kill(owners[0], signal.SIGKILL)
        self.struck["child in transaction"] += 1

    def shut_down_warmly(self) -> None:
        self._signal_worker(signal.SIGTERM, "SIGTERM")

    def shut_down_coldly(self) -> None:
        self._signal_worker(signal.SIGQUIT, "SIGQUIT")

    def freeze(self) -> None:
        """For longer than a lease: somebody else has taken over when it wakes up."""
        self._staff.freeze()
        time.sleep(2)
        self._staff.thaw()
        self.struck["freeze"] += 1

    def terminate_backends(self) -> None:
        with psycopg.connect(self._pair.database_url()) as killer:
            killer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        self.struck["terminate"] += 1

    def kill_redis(self) -> None:
        kill_server(self._pair.redis)
        self._pair.redis.restart()
        self.struck["redis"] += 1

    def kill_postgres(self) -> None:
        kill_server(self._pair.postgres)
        self._pair.postgres.restart()
        self.struck["postgres"] += 1

    def cut(self, proxy: Proxy) -> None:
        proxy.cut()
        self.struck["cut"] += 1

    def pause(self, proxy: Proxy) -> None:
        proxy.pause()
        time.sleep(0.7)
        proxy.resume()
        self.struck["pause"] += 1

    def lose_reply(self, proxy: Proxy, to: bytes) -> None:
        proxy.lose_reply_to(to)
        self.struck[f"reply to {to.decode()}"] += 1

    @contextmanager
    def _transaction_open(self) -> Iterator[set[int]]:
        """A worker waits inside a transaction for a row this block holds.

        Gives the ports of such clients; the row is let go after the block.
        """
        with psycopg.connect(self._pair.database_url()) as holder:
            holder.execute(
                "SELECT FROM characters WHERE id = ANY (%s) ORDER BY id FOR UPDATE",
                [self._players],
            )
            ports: set[int] = set()

            def is_waiting() -> bool:
                self._staff.supervise()
                with psycopg.connect(self._pair.database_url()) as watcher:
                    ports.update(row[0] for row in watcher.execute(OPEN_TRANSACTIONS))
                return bool(ports)

            wait_until(is_waiting, "a transaction is open", 30)
            yield ports
            holder.rollback()

    def _signal_worker(self, number: signal.Signals, name: str) -> None:
        worker = self._staff.worker
        os.kill(worker.pid, number)
        deadline = time.monotonic() + STOP_SECONDS
        while worker.is_alive and time.monotonic() < deadline:
            time.sleep(0.02)
        # What a supervisor does to one that hangs.
        worker.kill9()
        self.struck[name] += 1


Fault = Callable[[], None]


def _ports(pid: int) -> set[int]:
    """Local TCP ports of a process."""
    sockets = set()
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        with suppress(FileNotFoundError):  # closed while we looked
            sockets.add(os.readlink(link).removeprefix("socket:[").removesuffix("]"))
    table = Path("/proc/net/tcp").read_text().splitlines()[1:]
    rows = (line.split() for line in table)
    return {int(row[1].split(":")[1], 16) for row in rows if row[9] in sockets}
