"""Measure one variant over one backlog, from a fresh world to checked books."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import books, world
from benchmarks.backlog import Backlog
from benchmarks.cpu import Meter, Reading
from benchmarks.errors import BenchmarkError
from benchmarks.processes import wait_until
from benchmarks.servers import Servers
from benchmarks.variants import QUEUE, Variant
from persistence.contract import redis_keys

DRAIN_SECONDS = 600
"""A machine may be busy: this is for what never ends."""

# Start and end of a drain have a pool that is not all at work.
WINDOW = (0.1, 0.9)


@dataclass(frozen=True)
class Drain:
    """`rate`: combats a second between the first and the last tenth of the backlog."""

    variant: str
    combats: int
    rate: float
    usage: Reading
    digest: str
    tries: int = 1


def measure(servers: Servers, variant: Variant, backlog: Backlog) -> Drain:
    """Raises BenchmarkError where the variant did not do all of the work, once."""
    world.copy(servers)
    rate, usage = run(servers, variant, backlog, is_settled)
    books.check(servers, backlog)
    return Drain(variant.name, len(backlog), rate, usage, books.digest(servers))


def run(
    servers: Servers,
    variant: Variant,
    backlog: Backlog,
    settled: Callable[[Servers, int], bool],
) -> tuple[float, Reading]:
    """Rate and usage, in whatever world there is."""
    variant.load(servers, backlog)
    with variant.start(servers) as settling:
        meter = Meter(servers, settling)
        servers.wait_for_autovacuum()
        before = meter.read()
        variant.release(servers)

        def is_done() -> bool:
            settling.raise_if_failed()
            return settled(servers, len(backlog))

        what = f"{variant.name}: {len(backlog)} combats settled"
        wait_until(is_done, DRAIN_SECONDS, what)
        usage = meter.read() - before
    return _rate(servers, backlog), usage


def nothing_is_due(servers: Servers) -> bool:
    with servers.redis() as client:
        return not (client.zcard(redis_keys.INBOX) or client.llen(QUEUE))


def is_settled(servers: Servers, combats: int) -> bool:
    if not nothing_is_due(servers):
        return False
    with servers.connect() as connection:
        row = connection.execute(
            "SELECT count(*) FROM combat_history WHERE settlement_status = 'processed'"
        ).fetchone()
    return row is not None and row[0] >= combats


def _rate(servers: Servers, backlog: Backlog) -> float:
    ids = [handoff.session_id for handoff in backlog.handoffs]
    with servers.connect() as connection:
        rows = connection.execute(
            "SELECT settled_at FROM combat_history WHERE session_id = ANY (%s) "
            "ORDER BY settled_at",
            [ids],
        ).fetchall()
    first, last = (round(share * (len(rows) - 1)) for share in WINDOW)
    seconds: float = (rows[last][0] - rows[first][0]).total_seconds()
    if seconds <= 0:
        raise BenchmarkError("the backlog is too small to be timed")
    return (last - first) / seconds
