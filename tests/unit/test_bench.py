"""What the benchmark makes of what it measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from benchmarks.__main__ import FULL, QUICK, _options
from benchmarks.cpu import Reading
from benchmarks.drain import Drain
from benchmarks.figures import Percentiles, percentiles, spread
from benchmarks.growth import Growth, Settled, Size
from benchmarks.latency import Latency
from benchmarks.noise import FOREIGN_CORES, TRIES, quietest, told
from benchmarks.peers import environments
from benchmarks.report import Results, goals, render, render_growth
from benchmarks.submit_cost import SubmitCost

MILLISECONDS = Percentiles(1.0, 2.0, 4.0)


def usage(foreign: float) -> Reading:
    """Of two seconds in which we took a core and others took `foreign`."""
    return Reading(
        *(2.0, 0.2, 0.8, 0.6, 0.2),
        bench=0.2,
        machine=2.0 + 2 * foreign,
    )


@dataclass(frozen=True)
class Once:
    name: str
    usage: Reading
    tries: int = 1


def in_turn(*foreign: float) -> Iterator[Once]:
    return (Once(f"try {n}", usage(f)) for n, f in enumerate(foreign, start=1))


def test_foreign_is_what_neither_we_nor_the_servers_took() -> None:
    reading = usage(foreign=0.5)

    assert reading.busy_cores == pytest.approx(0.9)
    assert reading.foreign_cores == pytest.approx(0.5)


def test_what_was_left_alone_is_not_measured_again() -> None:
    tries = in_turn(FOREIGN_CORES / 2, 0)

    assert quietest(lambda: next(tries)).name == "try 1"
    assert next(tries).name == "try 2"


def test_what_others_disturbed_is_measured_again_and_said_to_be() -> None:
    tries = in_turn(1, 0.1, 0)

    best = quietest(lambda: next(tries))

    assert (best.name, best.tries) == ("try 2", 2)
    assert "1 repeated" in told([best])
    assert "DISTURBED" not in told([best])


def test_on_a_machine_that_is_never_idle_the_least_disturbed_is_kept() -> None:
    tries = in_turn(0.9, 0.5, 0.7, 0)

    best = quietest(lambda: next(tries))

    assert (best.name, best.tries) == ("try 2", TRIES)
    assert "1 DISTURBED even so, by up to 0.5 cores" in told([best])


def test_a_spread_is_the_median_and_the_ends() -> None:
    assert spread([3, 1, 10, 2]) == spread([1, 2, 3, 10])
    assert (spread([3, 1, 10]).median, spread([3, 1, 10]).high) == (3, 10)


def test_percentiles_are_of_what_is_given() -> None:
    found = percentiles(n / 1000 for n in range(101))

    assert (found.p50, found.p95, found.p99) == pytest.approx((50, 95, 99))


def drain(name: str, rate: float) -> Drain:
    return Drain(name, 100, rate, usage(0), "digest")


def latency(door: str, factor: float) -> Latency:
    p = Percentiles(factor, 2 * factor, 3 * factor)
    return Latency(door, 100, p, MILLISECONDS, usage(0))


def results(rounds: int, **rates: list[float]) -> Results:
    return Results(
        facts={"machine": "two cores"},
        rounds=[
            {name: drain(name, rates[name][n]) for name in rates} for n in range(rounds)
        ],
        latencies=[{"submit_combat": latency("submit_combat", 2)}] * rounds,
        submit=SubmitCost(MILLISECONDS, MILLISECONDS, MILLISECONDS),
    )


RATES = {
    "inbox": [900.0, 10.0, 95.0],
    "ceiling": [1000.0, 10.0, 100.0],
    "send_task": [600.0, 6.0, 60.0],
    "naive": [10.0, 1.0, 2.0],
}


def test_a_ratio_is_taken_within_each_round() -> None:
    measured = {goal.what: goal.value for goal in goals(results(3, **RATES))}

    assert measured["inbox drain x ceiling"].median == pytest.approx(0.95)
    assert measured["inbox drain x naive"].low == pytest.approx(10)


def test_goals_about_peers_are_there_where_peers_are() -> None:
    peers = {"celery-batches": [10.0] * 3, "ARQ, SQLAlchemy": [5.0] * 3}

    without = {goal.what for goal in goals(results(3, **RATES))}
    beside = {goal.what for goal in goals(results(3, **RATES, **peers))}

    assert beside - without == {
        "send_task drain x celery-batches",
        "send_task drain x ARQ, SQLAlchemy",
    }


def test_latencies_are_compared_with_the_bare_drainer_of_their_round() -> None:
    rounds = [
        {
            "submit_combat": latency("submit_combat", 2 * hour),
            "send_task": latency("send_task", 3 * hour),
            "bare blocking drainer": latency("bare blocking drainer", hour),
        }
        for hour in (1, 5, 1)
    ]

    whole = replace(results(3, **RATES), latencies=rounds)
    measured = {goal.what: goal for goal in goals(whole)}

    p50 = measured["submit_combat to effects, p50 x bare drainer"]
    assert (p50.value.low, p50.value.high, p50.reached) == (2, 2, False)
    assert measured["submit_combat to effects, p99 x bare drainer"].reached


def test_fewer_rounds_than_are_quoted_are_told_of() -> None:
    five = {name: [*rates, *rates[:2]] for name, rates in RATES.items()}

    assert "NOT TO BE QUOTED" in render(results(3, **RATES))
    assert "NOT TO BE QUOTED" not in render(results(5, **five))


def test_growth_stands_side_by_side_with_its_ratio() -> None:
    def size(rows: int, rate: float) -> Size:
        reads = {"last 20 fights": Percentiles(rate / 100, 1, 4)}
        return Size(rows, 3000, [Settled(rate, 5000, usage(0))] * 5, reads)

    lines = render_growth(
        {"machine": "two cores"}, Growth(size(10_000, 2000), size(5_000_000, 1800))
    )

    table = {line[:36].strip(): line.split()[-3:] for line in lines.splitlines()}
    assert table["inbox drain, combats/s"] == ["2,000", "1,800", "0.90"]
    assert table["last 20 fights, p50 ms"] == ["20.00", "18.00", "0.90"]
    assert "MISSED" in lines


def test_the_command_line_chooses_what_is_measured() -> None:
    usual = _options([])
    assert usual.sizes == FULL
    assert (usual.peers, usual.latency, usual.growth) == (False, False, False)

    asked = _options(["--quick", "--peers", "--latency", "--growth", "--rows", "20000"])
    assert asked.sizes == QUICK
    assert (asked.peers, asked.latency, asked.growth) == (True, True, True)
    assert asked.rows == 20_000


def test_missing_packages_are_told_of_with_the_command_that_installs_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(environments, "SHOWN", {tmp_path / ".venv-peers": ()})

    assert environments.missing() == (
        "the peers' packages are not installed (.venv-peers): make peers"
    )
