"""Senders, a staff and a nemesis for a while; then the oracle speaks."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.load import Senders, make_fights, make_journal, wait_settled
from tests.chaos.nemesis import Fault, Nemesis
from tests.chaos.rig import ServerPair, Staff, staff
from tests.support.ledger_oracle import Journal, Oracle
from tests.support.waiting import wait_until
from tests.support.worker import PROJECT_ROOT, environment

GAP_SECONDS = 0.1
"""A fault strikes this long after the fights that are sent around it."""

SEND_SECONDS = 90
"""Longest that senders may take to get their last answers after the last fault."""

Plan = Callable[[Nemesis], Sequence[Fault]]


@dataclass(frozen=True)
class Report:
    """What happened; that nothing is lost or doubled has been checked by then."""

    seed: int
    journal: Journal
    struck: Counter[str]
    refused: int
    repeated: int
    seconds: float

    def __str__(self) -> str:
        faults = ", ".join(f"{n} {name}" for name, n in sorted(self.struck.items()))
        return (
            f"seed {self.seed}: {len(self.journal.accepted)} fights in "
            f"{self.seconds:.0f} s, {self.refused} submissions refused, "
            f"{self.repeated} messages repeated; {faults}"
        )


def soak(
    pair: ServerPair,
    folder: Path,
    seed: int,
    *,
    submissions: int,
    plan: Plan,
    env: dict[str, str],
    submit_redis_url: str | None = None,
) -> Report:
    """Send so many fights, a share of them around each of the plan's faults."""
    chance = random.Random(seed)
    journal = make_journal(players=40)
    fights = make_fights(journal, submissions, chance)
    with (
        closing(Oracle(pair.database_url(), pair.redis_url())) as oracle,
        staff(pair, folder, env) as hired,
    ):
        oracle.add_world(journal)
        senders = Senders(
            journal,
            seed,
            database_url=pair.database_url(),
            redis_url=submit_redis_url or pair.redis_url(),
            broker_url=submit_redis_url or pair.redis_url(),
        )
        nemesis = Nemesis(pair, hired, list(journal.potions), chance)
        began = time.monotonic()
        senders.start(fights)
        try:
            _strike(nemesis, plan(nemesis), senders)
            wait_until(lambda: _is_sent(hired, senders), "all is sent", SEND_SECONDS)
        finally:
            senders.stop()
        with closing(Oracle(pair.database_url(), pair.redis_url())) as late:
            wait_settled(late, journal, 90, meanwhile=hired.supervise)
    return Report(
        seed,
        journal,
        nemesis.struck,
        senders.refused,
        senders.repeated,
        time.monotonic() - began,
    )


def reconcile(pair: ServerPair) -> subprocess.CompletedProcess[str]:
    """The system's own audit, over the tables that the soak has left."""
    return subprocess.run(
        [sys.executable, "manage.py", "reconcile", "--json"],
        cwd=PROJECT_ROOT,
        env=environment(**pair.environment()),
        capture_output=True,
        text=True,
    )


def _strike(nemesis: Nemesis, faults: Sequence[Fault], senders: Senders) -> None:
    for number, fault in enumerate(faults, 1):
        nemesis.wait_at_work()
        senders.let_go(number / len(faults))
        time.sleep(GAP_SECONDS)
        fault()


def _is_sent(hired: Staff, senders: Senders) -> bool:
    hired.supervise()
    return senders.is_done
