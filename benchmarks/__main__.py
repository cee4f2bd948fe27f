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
from pathlib import Path

from benchmarks import backlog, latency, machine, submit_cost, world
from benchmarks.backlog import Backlog
from benchmarks.drain import Drain, measure
from benchmarks.errors import BenchmarkError
from benchmarks.report import Results, Round, render
from benchmarks.servers import Servers, opened
from benchmarks.variants import CEILING, INBOX, NAIVE, SEND_TASK, Variant


@dataclass(frozen=True)
class Sizes:
    """Combats of each kind; `inbox` and `ceiling` drain the same ones."""

    rounds: int
    inbox: int
    send_task: int
    naive: int
    latency: int
    submit: int


FULL = Sizes(rounds=3, inbox=8000, send_task=1500, naive=500, latency=1100, submit=4000)
QUICK = Sizes(rounds=1, inbox=4000, send_task=500, naive=150, latency=350, submit=1500)

ROUNDS_SECONDS = 140
"""On a machine that is busy otherwise no further round is begun after this."""


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    try:
        with opened() as servers:
            results = _run(servers, options.sizes, options.seed)
    except BenchmarkError as error:
        sys.exit(f"benchmark failed: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")
    print(render(results))
    if options.json:
        text = json.dumps(asdict(results), indent=2, ensure_ascii=False)
        options.json.write_text(text + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument(
        "--quick",
        dest="sizes",
        action="store_const",
        const=QUICK,
        default=FULL,
        help="one round and smaller backlogs: under a minute",
    )
    parser.add_argument("--seed", default="settlement", help="of all the documents")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    return parser.parse_args()


def _run(servers: Servers, sizes: Sizes, seed: str) -> Results:
    started = time.monotonic()
    _say("populating: 100 000 characters, 500 000 inventory rows")
    world.build(servers)
    world.copy(servers)
    documents = backlog.generate(max(sizes.inbox, sizes.submit), seed)
    facts = machine.facts(servers) | {
        "backlog": f"seed {seed!r}, documents of {documents.mean_bytes:,} bytes on "
        "average, fight log included",
    }
    rounds: list[Round] = []
    while len(rounds) < sizes.rounds and (
        not rounds or time.monotonic() - started < ROUNDS_SECONDS
    ):
        rounds.append(_round(servers, sizes, documents, len(rounds)))
    _say("latency")
    timed = latency.measure(servers, documents.first(sizes.latency), seed)
    _say("submit_combat")
    cost = submit_cost.measure(servers, documents.first(sizes.submit))
    facts["took"] = f"{time.monotonic() - started:.0f} s"
    return Results(facts, rounds, timed, cost)


def _round(servers: Servers, sizes: Sizes, documents: Backlog, number: int) -> Round:
    """Every variant once. Another one goes first each time."""
    turns: Sequence[tuple[Variant, int]] = [
        (INBOX, sizes.inbox),
        (CEILING, sizes.inbox),
        (SEND_TASK, sizes.send_task),
        (NAIVE, sizes.naive),
    ]
    drains: dict[str, Drain] = {}
    for turn in range(len(turns)):
        variant, combats = turns[(turn + number) % len(turns)]
        _say(f"round {number + 1} of {sizes.rounds}: {variant.name}")
        drains[variant.name] = measure(servers, variant, documents.first(combats))
    if drains[INBOX.name].digest != drains[CEILING.name].digest:
        raise BenchmarkError("inbox and ceiling left different balances")
    return {variant.name: drains[variant.name] for variant, _ in turns}


def _say(what: str) -> None:
    """Progress; on a terminal each line takes the place of the one before."""
    if os.isatty(2):
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)
    else:
        print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
