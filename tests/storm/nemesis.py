"""What goes wrong, drawn from a seed. Each fault is one call; a trail is kept."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import psycopg
import redis

from tests.chaos.rig import kill_server
from tests.storm.book import Book
from tests.storm.servers import Servers
from tests.storm.staff import Staff
from tests.support.waiting import wait_until

WAITING_TRANSACTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND wait_event_type = 'Lock'
"""

Strike = Callable[[], None]

LOST_REPLIES = {
    "postgres": (b"COMMIT", b"INSERT", b"UPDATE"),
    "redis": (b"EVALSHA", b"HSET", b"ZADD"),
    "broker": (b"BRPOP", b"LPUSH", b"EVALSHA"),
    "web": (b"POST", b"GET"),
}

WORKERS = ("worker", "guest")
GUESTS = ("older", "ahead", "behind", "newer")

# Of each group of faults in a hundred. What costs a start of a program comes less often
# than what costs a connection, or the storm would be one of programs that start.
WEIGHTS = {
    "cut": 26,
    "pause": 12,
    "slow": 10,
    "lose": 16,
    "freeze": 12,
    "kill": 8,
    "terminate": 4,
    "stop": 2,
    "postgres": 2,
    "redis": 2,
    "fail-over": 1.5,
    "flush": 1.5,
    "disk": 1,
    "guest": 2,
    "beats": 1,
}


class Nemesis:
    """Draws and strikes. `struck` counts by kind."""

    def __init__(
        self,
        servers: Servers,
        staff: Staff,
        trail: Book,
        chance: random.Random,
        allowed: Callable[[str], bool],
    ) -> None:
        self.struck: Counter[str] = Counter()
        self._servers = servers
        self._staff = staff
        self._trail = trail
        self._chance = chance
        self._groups = {
            group: kinds
            for group, made in self._catalogue().items()
            if (kinds := {k: s for k, s in made.items() if allowed(k)})
        }

    @property
    def kinds(self) -> list[str]:
        return [kind for kinds in self._groups.values() for kind in kinds]

    def strike(self) -> None:
        """One fault, from its beginning to its end."""
        groups = list(self._groups)
        weights = [WEIGHTS[group] for group in groups]
        kinds = self._groups[self._chance.choices(groups, weights)[0]]
        kind = self._chance.choice(list(kinds))
        self._trail.write("begins", fault=kind)
        kinds[kind]()
        self._trail.write("ends", fault=kind)
        self.struck[kind] += 1

    def _catalogue(self) -> dict[str, dict[str, Strike]]:
        cables = list(self._servers.cables)
        posts = [name for name in self._staff.posts if name != "second beat"]
        faults: dict[str, dict[str, Strike]] = {
            "cut": {f"cut {c}": self._on(self._cut, c) for c in cables},
            "pause": {f"pause {c}": self._on(self._pause, c) for c in cables},
            "slow": {f"slow {c}": self._on(self._slow, c) for c in cables},
            "lose": {f"lose {c}": self._on(self._lose, c) for c in cables},
            "freeze": {f"freeze {p}": self._on(self._freeze, p) for p in posts},
            "kill": {f"kill {p}": self._on(self._kill, p) for p in posts},
            "terminate": {"terminate backends": self._terminate},
            "stop": {
                f"{number.name} {w}": self._on(self._shut_down, w, number)
                for w in WORKERS
                for number in (signal.SIGTERM, signal.SIGQUIT)
            },
            "postgres": {
                "kill postgres": self._kill_postgres,
                "stop postgres": self._stop_postgres,
                "kill backend": self._kill_backend,
                "freeze postgres": self._freeze_backends,
            },
            "redis": {
                "kill redis": self._kill_redis,
                "freeze redis": self._freeze_redis,
                "kill replica": self._kill_replica,
            },
            "fail-over": {"fail-over": self._fail_over},
            "flush": {"flush": self._flush},
            "disk": self._disk_faults(),
            "guest": {f"guest {g}": self._on(self._guest, g) for g in GUESTS},
            "beats": {"two beats": self._two_beats},
        }
        for worker in WORKERS:
            faults["kill"][f"kill child of {worker}"] = self._on(
                self._kill_child, worker
            )
            faults["freeze"][f"freeze child of {worker}"] = self._on(
                self._freeze_child, worker
            )
        faults["kill"]["kill workers in transaction"] = self._kill_workers_at_work
        faults["kill"]["kill pools in transaction"] = self._kill_pools_at_work
        return faults

    def _disk_faults(self) -> dict[str, Strike]:
        """Where none can be mounted, Redis' memory is all that gets full."""
        faults: dict[str, Strike] = {"memory redis": self._fill_memory}
        if self._servers.disks["postgres"].is_own:
            faults["disk postgres"] = self._fill_postgres
            faults["disk redis"] = self._fill_redis
        return faults

    def _on(self, fault: Callable[..., None], *of: object) -> Strike:
        return lambda: fault(*of)

    def _wait(self, least: float, most: float) -> None:
        self._staff.stand_for(self._chance.uniform(least, most))

    def _cut(self, cable: str) -> None:
        self._servers.cables[cable].cut()

    def _pause(self, cable: str) -> None:
        self._servers.cables[cable].pause()
        self._wait(0.1, 1.5)
        self._servers.cables[cable].resume()

    def _slow(self, cable: str) -> None:
        self._servers.cables[cable].slow_down(self._chance.uniform(0.01, 0.2))
        self._wait(0.2, 1.5)
        self._servers.cables[cable].slow_down(0)

    def _lose(self, cable: str) -> None:
        """Of whatever comes first; a request that never comes is forgotten."""
        what = self._chance.choice(LOST_REPLIES[cable.partition("~")[2]])
        fault = self._servers.cables[cable].lose_reply_to(what)
        for _ in range(10):
            self._wait(0.02, 0.06)
            if fault.struck.is_set():
                break
        self._servers.cables[cable].forget()

    def _freeze(self, post: str) -> None:
        held = self._staff.posts[post]
        held.signal(signal.SIGSTOP)
        self._wait(0.1, 3.0)
        held.signal(signal.SIGCONT)

    def _freeze_child(self, post: str) -> None:
        if not (pids := self._staff.posts[post].children()):
            return
        pid = self._chance.choice(pids)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        self._wait(0.5, 4.0)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def _kill(self, post: str) -> None:
        self._staff.posts[post].dismiss()

    def _kill_child(self, post: str) -> None:
        if pids := self._staff.posts[post].children():
            with suppress(ProcessLookupError):
                os.kill(self._chance.choice(pids), signal.SIGKILL)

    def _kill_workers_at_work(self) -> None:
        self._in_transaction(self._kill_workers)

    def _kill_pools_at_work(self) -> None:
        self._in_transaction(self._kill_pools)

    def _kill_workers(self) -> None:
        for name in WORKERS:
            self._kill(name)

    def _kill_pools(self) -> None:
        for name in WORKERS:
            self._signal(self._staff.posts[name].children(), signal.SIGKILL)

    def _in_transaction(self, strike: Strike) -> None:
        """As a rule somebody waits inside a transaction for a row that is held here."""
        with (
            suppress(psycopg.Error),
            psycopg.connect(self._servers.database_url(), connect_timeout=3) as holder,
        ):
            holder.execute("SELECT FROM characters ORDER BY id FOR UPDATE")
            for _ in range(40):
                self._wait(0.04, 0.06)
                row = holder.execute(WAITING_TRANSACTIONS).fetchone()
                if row and row[0]:
                    break
            strike()
            holder.rollback()

    def _shut_down(self, post: str, number: signal.Signals) -> None:
        """As a supervisor does: a while to obey in, then kill -9."""
        self._staff.retire(post)
        held = self._staff.posts[post]
        held.signal(number)
        for _ in range(100):
            if not held.is_held:
                break
            self._wait(0.08, 0.12)
        else:
            self._trail.write("killed", who=post)
        held.dismiss()
        self._staff.open(post)

    def _terminate(self) -> None:
        with suppress(psycopg.Error):
            self._servers.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                "pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )

    def _kill_postgres(self) -> None:
        kill_server(self._servers.postgres)
        self._restart_postgres()

    def _stop_postgres(self) -> None:
        """The immediate stop: no checkpoint, no farewell."""
        os.kill(self._servers.postgres.pid, signal.SIGQUIT)
        while self._servers.postgres.is_alive:
            self._wait(0.05, 0.06)
        self._restart_postgres()

    def _restart_postgres(self) -> None:
        self._wait(0.0, 2.0)
        self._servers.postgres.restart()

    def _backends(self) -> list[int]:
        with (
            suppress(psycopg.Error),
            psycopg.connect(
                self._servers.database_url(), connect_timeout=3
            ) as database,
        ):
            rows = database.execute(
                "SELECT pid FROM pg_stat_activity "
                "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            ).fetchall()
            return [row[0] for row in rows]
        return []

    def _kill_backend(self) -> None:
        """PostgreSQL then starts anew by itself: shared memory may be spoilt."""
        if pids := self._backends():
            with suppress(ProcessLookupError):
                os.kill(self._chance.choice(pids), signal.SIGKILL)

    def _freeze_backends(self) -> None:
        pids = self._backends()
        self._signal(pids, signal.SIGSTOP)
        self._wait(0.2, 3.0)
        self._signal(pids, signal.SIGCONT)

    def _signal(self, pids: list[int], number: signal.Signals) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _kill_redis(self) -> None:
        kill_server(self._servers.redis)
        self._wait(0.0, 1.0)
        self._servers.redis.restart()

    def _freeze_redis(self) -> None:
        os.kill(self._servers.redis.pid, signal.SIGSTOP)
        self._wait(0.2, 3.0)
        os.kill(self._servers.redis.pid, signal.SIGCONT)

    def _kill_replica(self) -> None:
        kill_server(self._servers.replica)
        self._wait(0.0, 1.0)
        self._servers.mend()

    def _fail_over(self) -> None:
        self._servers.fail_over()

    def _flush(self) -> None:
        with self._servers.client() as client:
            client.flushall()

    def _fill_memory(self) -> None:
        with self._servers.client() as client:
            client.config_set("maxmemory", "1mb")
            self._wait(0.3, 2.0)
            client.config_set("maxmemory", "0")

    def _fill_redis(self) -> None:
        disk = self._servers.redis_disk
        disk.fill()
        self._wait(0.5, 2.0)
        disk.clear()
        self._wait_for_writes()
        self._rewrite_file()

    def _fill_postgres(self) -> None:
        """It may stop altogether: no segment of the log can be written."""
        self._servers.disks["postgres"].fill()
        self._wait(0.5, 3.0)
        self._servers.mend()

    def _wait_for_writes(self) -> None:
        with self._servers.client() as client:
            for _ in range(100):
                with suppress(redis.RedisError):
                    client.set("storm:writes", 1)
                    client.delete("storm:writes")
                    return
                self._wait(0.05, 0.1)

    def _rewrite_file(self) -> None:
        """What an operator does then: Redis 7.0 goes on behind the piece that it could
        not write to its end, and after its next start reads no further than that."""

        def is_rewritten() -> bool:
            told = client.info("persistence")
            return not (
                told["aof_rewrite_in_progress"] or told["aof_rewrite_scheduled"]
            )

        with self._servers.client() as client:
            client.bgrewriteaof()
            wait_until(is_rewritten, "the file is rewritten")

    def _guest(self, kind: str) -> None:
        self._staff.receive_guest(kind)

    def _two_beats(self) -> None:
        self._staff.open("second beat")
        self._wait(3.0, 6.0)
        self._staff.close("second beat")
