"""Measure one variant over one backlog, from a fresh world to checked books."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import books, world
from benchmarks.backlog import Backlog
from benchmarks.cpu import Meter, Reading
from benchmarks.errors import BenchmarkError
from benchmarks.processes import Settling, wait_until
from benchmarks.servers import Servers
from benchmarks.variants import QUEUE, Variant
from persistence.contract import redis_keys

DRAIN_SECONDS = 120

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


def measure(servers: Servers, variant: Variant, backlog: Backlog) -> Drain:
    """Raises BenchmarkError where the variant did not do all of the work, once."""
    world.copy(servers)
    variant.load(servers, backlog)
    with variant.start(servers) as settling:
        meter = Meter(servers, settling)
        before = meter.read()
        variant.release(servers)
        wait_until(
            lambda: _is_settled(servers, settling, len(backlog)),
            DRAIN_SECONDS,
            f"{variant.name}: {len(backlog)} combats settled",
        )
        usage = meter.read() - before
    books.check(servers, backlog)
    return Drain(
        variant.name, len(backlog), _rate(servers), usage, books.digest(servers)
    )


def _is_settled(servers: Servers, settling: Settling, combats: int) -> bool:
    settling.raise_if_failed()
    with servers.redis() as client:
        if client.zcard(redis_keys.INBOX) or client.llen(QUEUE):
            return False
    with servers.connect() as connection:
        row = connection.execute(
            "SELECT count(*) FROM combat_history WHERE settlement_status = 'processed'"
        ).fetchone()
    return row is not None and row[0] >= combats


def _rate(servers: Servers) -> float:
    with servers.connect() as connection:
        rows = connection.execute(
            "SELECT settled_at FROM combat_history ORDER BY settled_at"
        ).fetchall()
    first, last = (round(share * (len(rows) - 1)) for share in WINDOW)
    seconds: float = (rows[last][0] - rows[first][0]).total_seconds()
    if seconds <= 0:
        raise BenchmarkError("the backlog is too small to be timed")
    return (last - first) / seconds
