"""One storm from the first start to the verdict."""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import time
from contextlib import closing
from pathlib import Path
from uuid import UUID

import psycopg
import redis

from tests.storm import judge, world
from tests.storm.book import Book, Reader
from tests.storm.bot import Bot
from tests.storm.nemesis import GUESTS, Nemesis
from tests.storm.report import Report
from tests.storm.servers import Servers
from tests.storm.staff import Staff, copy_of, manage
from tests.storm.story import Story
from tests.support.ledger_oracle import Oracle

BOTS = 2
CALM_EVERY_SECONDS = 60
RECOVERY_SECONDS = 60
"""Longest from the last fault until nothing waits."""

BELT_SECONDS = 90
"""A belt that only a forgotten fight knows of has a grace of a minute."""

END_SECONDS = 120
MOST_EXTRA = 3
"""A storm that misses its floors ends after so many times its minutes all the same."""

STILL_WAITS = """
SELECT session_id FROM unnest(%s::uuid[]) AS asked (session_id)
WHERE NOT EXISTS (SELECT FROM combat_history known
                  WHERE known.session_id = asked.session_id
                    AND known.settlement_status <> 'pending')
"""


class Storm:
    def __init__(
        self, folder: Path, options: argparse.Namespace, servers: Servers
    ) -> None:
        self._folder = folder
        self._servers = servers
        self._options = options
        self._without = [w.strip() for w in options.without.split(",") if w.strip()]
        self._tally = Tally(folder)
        self._recoveries: list[float] = []
        self._findings: list[str] = []

    def run(self) -> Report:
        servers = self._servers
        _prepare(servers)
        url, cache = servers.database_url(), servers.redis_url()
        with closing(Oracle(url, cache)) as oracle:
            journal = world.make(oracle)
        staff = self._hire(servers)
        trail = Book(self._folder / "trail.jsonl")
        nemesis = Nemesis(
            servers, staff, trail, random.Random(self._options.seed), self._is_wanted
        )
        bots = [
            Bot(self._folder, servers.web_url("bot"), url, self._options.seed + n)
            for n in range(BOTS)
        ]
        began = time.monotonic()
        try:
            staff.supervise()
            staff.stand_for(5)
            for bot in bots:
                bot.start()
            self._rage(nemesis, servers, staff)
            self._recover(servers, staff)
            for bot in bots:
                bot.stop()
            story = Story(self._folder, journal)
            with closing(Oracle(url, servers.redis_url())) as oracle:
                self._wait_for_belts(oracle, staff)
                self._findings += judge.findings(story, oracle, servers.web_url("bot"))
            self._findings += _audit(servers)
        finally:
            staff.dismiss()
        return Report.of(
            self._options,
            story,
            nemesis,
            bots,
            self._findings,
            self._recoveries,
            time.monotonic() - began,
        )

    def _hire(self, servers: Servers) -> Staff:
        options = self._options
        ref = options.older or _previous()
        engine = [
            *("--seed", str(options.seed), "--rate", str(options.rate)),
            *("--redis", servers.redis_url("engine~redis")),
            *("--broker", servers.redis_url("engine~broker")),
            *("--web", servers.web_url("engine")),
            *("--database", servers.database_url("engine~postgres")),
            *("--replicas", "1", "--without", *self._without),
        ]
        older = copy_of(ref, self._folder / "older")
        desk = ["--seed", str(options.seed)]
        staff = Staff(self._folder, servers, older, engine, desk)
        if "desk" in self._without:
            staff.close("desk")
        return staff

    def _is_wanted(self, kind: str) -> bool:
        only = [w.strip() for w in self._options.only.split(",") if w.strip()]
        is_left_out = any(word in kind for word in self._without)
        return not is_left_out and (not only or any(word in kind for word in only))

    def _rage(self, nemesis: Nemesis, servers: Servers, staff: Staff) -> None:
        chance = random.Random(self._options.seed + 1)
        ends = time.monotonic() + 60 * self._options.minutes
        latest = ends + 60 * self._options.minutes * (MOST_EXTRA - 1)
        calm_at = time.monotonic() + CALM_EVERY_SECONDS
        while time.monotonic() < ends or (
            self._falls_short(nemesis) and time.monotonic() < latest
        ):
            staff.stand_for(chance.expovariate(1 / self._options.gap))
            nemesis.strike()
            if time.monotonic() > calm_at:
                self._calm(servers, staff)
                calm_at = time.monotonic() + CALM_EVERY_SECONDS

    def _falls_short(self, nemesis: Nemesis) -> bool:
        self._tally.look()
        return bool(
            self._tally.combats < self._options.combats
            or self._tally.operations < self._options.operations
            or nemesis.struck.total() < self._options.faults
        )

    def _calm(self, servers: Servers, staff: Staff) -> None:
        """No fault until all that was accepted by now has been decided."""
        began = time.monotonic()
        self._tally.look()
        deadline = began + RECOVERY_SECONDS
        while waiting := self._undecided(servers):
            if time.monotonic() > deadline:
                some = ", ".join(sorted(map(str, waiting))[:5])
                self._findings.append(
                    f"{len(waiting)} combats undecided after {RECOVERY_SECONDS} s of "
                    f"calm: {some}"
                )
                break
            staff.stand_for(0.1)
        self._recoveries.append(time.monotonic() - began)

    def _undecided(self, servers: Servers) -> set[UUID]:
        ids = list(self._tally.undecided)
        try:
            with psycopg.connect(servers.database_url(), connect_timeout=3) as database:
                rows = database.execute(STILL_WAITS, [ids]).fetchall()
        except psycopg.Error:
            return set(ids) or {UUID(int=0)}
        self._tally.undecided = {row[0] for row in rows}
        return self._tally.undecided

    def _recover(self, servers: Servers, staff: Staff) -> None:
        """The last fault is over: everybody ends what was begun, and nothing waits."""
        servers.mend()
        for cable in servers.cables.values():
            cable.forget()
            cable.slow_down(0)
            cable.resume()
        for post in staff.posts.values():
            post.signal(signal.SIGCONT)
        if staff.guest in GUESTS[:3]:
            staff.receive_guest("newer")
        began = time.monotonic()
        staff.supervise()
        for name in ("desk", "engine"):
            self._end(staff, name)
        while not (quiet := is_quiet(servers)):
            if time.monotonic() > began + RECOVERY_SECONDS:
                break
            staff.stand_for(0.2)
        self._recoveries.append(time.monotonic() - began)
        if not quiet:
            self._findings.append(f"after {RECOVERY_SECONDS} s {waiting(servers)}")

    def _end(self, staff: Staff, name: str) -> None:
        holder = staff.retire(name)
        if holder is None or not holder.is_alive:
            return
        os.kill(holder.pid, signal.SIGTERM)
        deadline = time.monotonic() + END_SECONDS
        while holder.is_alive:
            if time.monotonic() > deadline:
                self._findings.append(f"the {name} has not come to an end")
                return
            staff.stand_for(0.1)

    def _wait_for_belts(self, oracle: Oracle, staff: Staff) -> None:
        deadline = time.monotonic() + BELT_SECONDS
        while (held := judge.belts_held(oracle)) and time.monotonic() < deadline:
            staff.stand_for(1)
        self._findings += held


class Tally:
    """What the engine was told so far, for the floors and for the calm moments."""

    def __init__(self, folder: Path) -> None:
        self._reader = Reader(folder / "engine.jsonl")
        self._accepted: set[UUID] = set()
        self._calls: dict[str, int] = {}
        self.undecided: set[UUID] = set()

    @property
    def combats(self) -> int:
        return len(self._accepted)

    @property
    def operations(self) -> int:
        return sum(self._calls.values())

    def look(self) -> None:
        for line in self._reader.new_lines():
            if line["kind"] == "accepted":
                self._accepted.add(UUID(line["sid"]))
                self.undecided.add(UUID(line["sid"]))
            elif line["kind"] == "ops":
                self._calls[line["call"]] = line["count"]


def waiting(servers: Servers) -> dict[str, int]:
    """What is still to be done, by where it waits; beat's last words do not count."""
    with servers.client() as client:
        found = {
            "inbox": client.zcard("combat:inbox"),
            "intents": client.zcard("dispatch:intents"),
            "unacknowledged": client.hlen("unacked"),
            **{f"queue {q}": client.llen(q) for q in ("celery", "saves", "sweep")},
        }
        deltas = client.scan_iter("inventory:delta:*", count=1000)
        found["operations"] = sum(client.llen(key) for key in deltas)
    with psycopg.connect(servers.database_url()) as database:
        row = database.execute(
            "SELECT count(*) FROM combat_history WHERE settlement_status = 'pending'"
        ).fetchone()
    found["pending"] = row[0] if row else 0
    return found


def is_quiet(servers: Servers) -> bool:
    try:
        found = waiting(servers)
    except (redis.RedisError, psycopg.Error):
        return False
    own = {"unacknowledged": 4, "queue celery": 3, "queue sweep": 3, "queue saves": 3}
    return all(number <= own.get(where, 0) for where, number in found.items())


def _prepare(servers: Servers) -> None:
    os.environ["DJANGO_SUPERUSER_PASSWORD"] = "storm"
    steps: list[list[str]] = [
        ["migrate", "--verbosity", "0"],
        ["createsuperuser", "--noinput", "--username=storm", "--email=s@example.com"],
    ]
    for step in steps:
        done = manage(servers, *step)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)


def _audit(servers: Servers) -> list[str]:
    done = manage(servers, "reconcile", "--json")
    if done.returncode == 0:
        return []
    try:
        return judge.audit_findings(done.stdout)
    except ValueError:
        return [f"reconcile: {done.stdout}{done.stderr}"]


def _previous() -> str:
    """The last tag before this commit, or the commit before it."""
    tag = subprocess.run(
        ["git", "describe", "--tags", "--abbrev=0", "HEAD~1"],
        capture_output=True,
        text=True,
        check=False,
    )
    return tag.stdout.strip() or "HEAD~1"
