"""Run everything and print the report.

Exit status 1 where a variant did not do its work; a missed goal is only printed, since
a machine that is shared misses it for reasons of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from benchmarks import backlog, growth, latency, machine, submit_cost, world
from benchmarks.backlog import Backlog
from benchmarks.drain import Drain, measure
from benchmarks.errors import BenchmarkError
from benchmarks.growth import Plan
from benchmarks.latency import Door, Latency
from benchmarks.noise import quietest
from benchmarks.peers import environments
from benchmarks.report import Results, Round, render, render_growth
from benchmarks.servers import Servers, opened
from benchmarks.variants import CEILING, INBOX, NAIVE, PEERS, SEND_TASK, Variant


@dataclass(frozen=True)
class Sizes:
    """Combats of each kind; `inbox` and `ceiling` drain the same ones."""

    rounds: int
    inbox: int
    send_task: int
    """Also of the peers, which drain the same ones."""
    naive: int
    latency: int
    submit: int


FULL = Sizes(rounds=5, inbox=8000, send_task=1500, naive=500, latency=600, submit=4000)
QUICK = Sizes(rounds=1, inbox=4000, send_task=500, naive=150, latency=350, submit=1500)


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    try:
        if options.peers:
            environments.require()
        with opened() as servers:
            report, figures = _measured(servers, options)
    except BenchmarkError as error:
        sys.exit(f"benchmark failed: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")
    print(report)
    if options.json:
        text = json.dumps(figures, indent=2, ensure_ascii=False)
        options.json.write_text(text + "\n", encoding="utf-8")


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument(
        "--quick",
        dest="sizes",
        action="store_const",
        const=QUICK,
        default=FULL,
        help="one round and smaller backlogs: nothing to quote",
    )
    parser.add_argument(
        "--peers",
        action="store_true",
        help="also ARQ, celery-batches, Taskiq, procrastinate and a tuned Celery task",
    )
    parser.add_argument(
        "--latency",
        action="store_true",
        help="also send_task and a bare blocking drainer at the same load",
    )
    parser.add_argument(
        "--growth",
        action="store_true",
        help=f"instead of all that: --rows combats against {growth.SHORT:,}",
    )
    parser.add_argument(
        "--rows",
        type=int,
        default=growth.ROWS,
        metavar="N",
        help=f"of --growth; {growth.ROWS:,} without",
    )
    parser.add_argument("--seed", default="settlement", help="of all the documents")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    return parser.parse_args(arguments)


def _measured(
    servers: Servers, options: argparse.Namespace
) -> tuple[str, dict[str, object]]:
    """The report, and the figures it is made of."""
    started = time.monotonic()
    _say("populating: 100 000 characters, 500 000 inventory rows")
    world.build(servers)
    world.copy(servers)
    facts = machine.facts(servers)
    if options.growth:
        plan = Plan(options.rows, options.sizes.inbox // 2, options.sizes.rounds)
        grown = growth.measure(servers, plan, options.seed, _say)
        facts["took"] = f"{time.monotonic() - started:.0f} s"
        return render_growth(facts, grown), {"facts": facts} | asdict(grown)
    results = _run(servers, options, facts)
    facts["took"] = f"{time.monotonic() - started:.0f} s"
    return render(results), asdict(results)


def _run(
    servers: Servers, options: argparse.Namespace, facts: dict[str, str]
) -> Results:
    sizes: Sizes = options.sizes
    documents = backlog.generate(max(sizes.inbox, sizes.submit), options.seed)
    facts["backlog"] = (
        f"seed {options.seed!r}, documents of {documents.mean_bytes:,} bytes on "
        "average, fight log included"
    )
    turns = [
        (INBOX, sizes.inbox),
        (CEILING, sizes.inbox),
        (SEND_TASK, sizes.send_task),
        (NAIVE, sizes.naive),
    ]
    if options.peers:
        facts["peers"] = environments.versions()
        turns += [(peer, sizes.send_task) for peer in PEERS]
    doors = [latency.INBOX]
    if options.latency:
        doors += [latency.SEND_TASK, latency.BARE]
    rounds = [_round(servers, turns, documents, n) for n in range(sizes.rounds)]
    timed = [
        _latencies(servers, doors, documents.first(sizes.latency), options.seed, n)
        for n in range(sizes.rounds)
    ]
    _say("submit_combat")
    cost = submit_cost.measure(servers, documents.first(sizes.submit))
    return Results(facts, rounds, timed, cost)


def _round(
    servers: Servers,
    turns: Sequence[tuple[Variant, int]],
    documents: Backlog,
    number: int,
) -> Round:
    """Every variant once. Another one goes first each time."""
    drains: dict[str, Drain] = {}
    for turn in range(len(turns)):
        variant, combats = turns[(turn + number) % len(turns)]
        _say(f"round {number + 1}: {variant.name}")
        drains[variant.name] = quietest(
            partial(measure, servers, variant, documents.first(combats))
        )
    for count in {combats for _, combats in turns}:
        if len({d.digest for d in drains.values() if d.combats == count}) > 1:
            raise BenchmarkError(f"different balances are left of the same {count:,}")
    return {variant.name: drains[variant.name] for variant, _ in turns}


def _latencies(
    servers: Servers, doors: Sequence[Door], documents: Backlog, seed: str, number: int
) -> dict[str, Latency]:
    """Every door once, as in `_round`."""
    timed: dict[str, Latency] = {}
    for turn in range(len(doors)):
        door = doors[(turn + number) % len(doors)]
        _say(f"round {number + 1}: {latency.RATE} combats a second by {door.name}")
        timed[door.name] = quietest(
            partial(latency.measure, servers, door, documents, seed)
        )
    return {door.name: timed[door.name] for door in doors}


def _say(what: str) -> None:
    """Progress; on a terminal each line takes the place of the one before."""
    if os.isatty(2):
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)
    else:
        print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
