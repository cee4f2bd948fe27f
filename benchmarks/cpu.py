"""Who burns the CPU: user + system time of process families, from /proc.

A family counts children that have ended too, so connections that come and go, or a
pool child that is replaced, are not lost. Linux only; a server that does not run on
this machine counts as zero.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from dataclasses import dataclass, fields
from pathlib import Path

from benchmarks.processes import Settling
from benchmarks.servers import Servers

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Reading:
    """Seconds; `wall` is the clock's, the others CPU time since some past moment."""

    wall: float
    main: float
    """Celery's own parent process, which handles messages."""
    pool: float
    """The processes that settle."""
    postgres: float
    redis: float
    bench: float
    """This process, which sends, waits and looks."""
    machine: float
    """All of the machine, ourselves included."""

    def __sub__(self, earlier: Reading) -> Reading:
        return Reading(
            *(getattr(self, f.name) - getattr(earlier, f.name) for f in fields(self))
        )

    @property
    def busy_cores(self) -> float:
        spent = self.main + self.pool + self.postgres + self.redis
        return spent / self.wall

    @property
    def foreign_cores(self) -> float:
        """Taken by everything that is not of this benchmark."""
        return (self.machine - self.bench) / self.wall - self.busy_cores


class Meter:
    """Reads the consumption of both servers and of the settling processes."""

    def __init__(self, servers: Servers, settling: Settling) -> None:
        self._parents = [process.popen.pid for process in settling.parents]
        self._pool = [process.popen.pid for process in settling.bare]
        self._postmaster = _postmaster(servers)
        self._redis = _redis(servers)

    def read(self) -> Reading:
        table = _processes()
        main = sum(table[pid].own for pid in self._parents if pid in table)
        settling = (*self._parents, *self._pool)
        return Reading(
            wall=time.monotonic(),
            main=main,
            pool=sum(_family(table, pid) for pid in settling) - main,
            postgres=_family(table, self._postmaster),
            redis=_family(table, self._redis),
            bench=table[os.getpid()].own,
            machine=_machine(),
        )


@dataclass(frozen=True)
class _Process:
    name: str
    parent: int
    own: float
    reaped: float


def _processes() -> dict[int, _Process]:
    table = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        # The name may hold anything, also brackets and spaces.
        name, _, rest = stat.partition("(")[2].rpartition(")")
        columns = rest.split()
        user, system, child_user, child_system = map(int, columns[11:15])
        table[int(entry.name)] = _Process(
            name,
            int(columns[1]),
            (user + system) / TICKS,
            (child_user + child_system) / TICKS,
        )
    return table


def _family(table: dict[int, _Process], root: int | None) -> float:
    if root not in table:
        return 0.0
    children = defaultdict(list)
    for pid, process in table.items():
        children[process.parent].append(pid)
    total, waiting = 0.0, [root]
    while waiting:
        pid = waiting.pop()
        total += table[pid].own + table[pid].reaped
        waiting += children[pid]
    return total


def _postmaster(servers: Servers) -> int | None:
    with servers.connect() as connection:
        backend = connection.info.backend_pid
        process = _processes().get(backend)
    return process.parent if process and process.name == "postgres" else None


def _redis(servers: Servers) -> int | None:
    with servers.redis() as client:
        pid = int(client.info("server")["process_id"])
    process = _processes().get(pid)
    return pid if process and process.name == "redis-server" else None


def _machine() -> float:
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _idle, _wait, irq, softirq, steal = map(
            int, file.readline().split()[1:9]
        )
    return (user + nice + system + irq + softirq + steal) / TICKS
