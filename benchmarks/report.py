"""The report: one table a question, then the goals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks import latency
from benchmarks.drain import Drain
from benchmarks.figures import Percentiles, Spread, spread
from benchmarks.growth import Growth, Settled
from benchmarks.latency import RATE, Latency
from benchmarks.noise import Measured, told
from benchmarks.submit_cost import SubmitCost
from benchmarks.variants import ARQ, BATCHES

QUOTABLE = 5
"""Rounds from which on a median is more than an anecdote."""

BARE = latency.BARE.name
SEND_TASK = latency.SEND_TASK.name
SUBMIT_COMBAT = latency.INBOX.name

Round = Mapping[str, Drain]
"""One drain of each variant, by its name."""

Latencies = Mapping[str, Latency]
"""One round: a measurement of each door, by its name."""


@dataclass(frozen=True)
class Results:
    facts: Mapping[str, str]
    rounds: Sequence[Round]
    latencies: Sequence[Latencies]
    submit: SubmitCost


@dataclass(frozen=True)
class Goal:
    """`bound` is a floor where `at_least`, else a ceiling."""

    what: str
    value: Spread
    bound: float
    at_least: bool

    @property
    def reached(self) -> bool:
        if self.at_least:
            return self.value.median >= self.bound
        return self.value.median <= self.bound


def render(results: Results) -> str:
    rounds, latencies = results.rounds, results.latencies
    measured: list[Measured] = [
        *(drain for r in rounds for drain in r.values()),
        *(timed for r in latencies for timed in r.values()),
    ]
    parts = [
        *_facts(results.facts),
        *_trust(len(rounds), measured),
        "",
        *_drains(rounds),
        "",
        *_latencies(latencies),
        "",
        *_calls(latencies, results.submit),
        "",
        *_goals(goals(results)),
    ]
    return "\n".join(parts)


def render_growth(facts: Mapping[str, str], growth: Growth) -> str:
    short, long = growth.short, growth.long
    measured: list[Measured] = [*short.rounds, *long.rounds]

    def settled(name: str, form: str, value: Callable[[Settled], float]) -> list[str]:
        each = [spread(map(value, size.rounds)) for size in (short, long)]
        ratio = spread(
            value(b) / value(a) for a, b in zip(short.rounds, long.rounds, strict=True)
        )
        return [name, *(_shown(s, form) for s in each), _shown(ratio, ".2f")]

    header = ["combats in the history", f"{short.rows:,}", f"{long.rows:,}", "ratio"]
    rows = [
        settled("inbox drain, combats/s", ",.0f", lambda s: s.rate),
        settled("WAL, bytes a combat", ",.0f", lambda s: s.wal),
        _compared(
            "tables and indexes, bytes a combat",
            ",.0f",
            short.bytes_a_combat,
            long.bytes_a_combat,
        ),
    ]
    for name, few in short.reads.items():
        many = long.reads[name]
        rows.append(_compared(f"{name}, p50 ms", ".2f", few.p50, many.p50))
        rows.append(_compared(f"{name}, p99 ms", ".2f", few.p99, many.p99))
    rate = spread(
        b.rate / a.rate for a, b in zip(short.rounds, long.rounds, strict=True)
    )
    what = f"rate at {long.rows:,} of that at {short.rows:,}"
    parts = [
        *_facts(facts),
        *_trust(len(short.rounds), measured),
        "",
        *_table([header, *rows]),
        "",
        *_goals([Goal(what, rate, 0.95, True)]),
    ]
    return "\n".join(parts)


def _compared(name: str, form: str, few: float, many: float) -> list[str]:
    return [name, f"{few:{form}}", f"{many:{form}}", f"{many / few:.2f}"]


def _trust(rounds: int, measured: list[Measured]) -> list[str]:
    lines = [f"noise  {told(measured)}"]
    if rounds < QUOTABLE:
        lines.append(f"noise  fewer than {QUOTABLE} rounds: NOT TO BE QUOTED")
    return lines


def goals(results: Results) -> list[Goal]:
    rounds, latencies, submit = results.rounds, results.latencies, results.submit
    drains = [
        ("inbox", "ceiling", 0.9),
        ("inbox", "naive", 50),
        ("send_task", "ceiling", 0.6),
        ("send_task", "naive", 30),
        ("send_task", BATCHES.name, 4),
        ("send_task", ARQ.name, 10),
    ]
    timed = [
        (SUBMIT_COMBAT, "p50", 1.5),
        (SUBMIT_COMBAT, "p99", 2),
        (SEND_TASK, "p50", 2.5),
        (SEND_TASK, "p99", 2.5),
    ]
    return [
        *(
            Goal(f"{name} drain x {base}", _ratio(rounds, name, base), bound, True)
            for name, base, bound in drains
            if base in rounds[0]
        ),
        *(
            Goal(
                f"{door} to effects, {which} x bare drainer",
                _latency_ratio(latencies, door, which),
                bound,
                False,
            )
            for door, which, bound in timed
            if BARE in latencies[0]
        ),
        *(
            Goal(f"submit_combat of {form} x bare write, p50", _one(ratio), 2, False)
            for form, ratio in (
                ("a dict", submit.document.p50 / submit.bare_write.p50),
                ("JSON text", submit.text.p50 / submit.bare_write.p50),
            )
        ),
    ]


def _ratio(rounds: Sequence[Round], name: str, base: str) -> Spread:
    """Within a round: the machine changes from one to the next."""
    return spread(r[name].rate / r[base].rate for r in rounds)


def _latency_ratio(latencies: Sequence[Latencies], door: str, which: str) -> Spread:
    return spread(
        getattr(r[door].settled, which) / getattr(r[BARE].settled, which)
        for r in latencies
    )


def _one(value: float) -> Spread:
    return Spread(value, value, value)


def _facts(facts: Mapping[str, str]) -> list[str]:
    width = max(map(len, facts))
    return [f"{name:{width}}  {value}" for name, value in facts.items()]


def _drains(rounds: Sequence[Round]) -> list[str]:
    header = [
        *("drain of a backlog", "combats", "combats/s", "x naive", "of ceiling"),
        *("Celery", "pool", "PostgreSQL", "Redis", "busy", "foreign"),
    ]
    rows = [_drain_row(rounds, name) for name in rounds[0]]
    return [
        f"rounds: {len(rounds)}; median (lowest-highest); CPU in us a combat; "
        "busy, foreign: cores taken by these processes, by all others",
        *_table([header, *rows]),
    ]


def _drain_row(rounds: Sequence[Round], name: str) -> list[str]:
    drains = [r[name] for r in rounds]

    def each(value: Callable[[Drain], float]) -> Spread:
        return spread(map(value, drains))

    def cost(field: str) -> str:
        spent = each(lambda d: getattr(d.usage, field) / d.combats * 1e6)
        return f"{spent.median:,.0f}"

    return [
        name,
        f"{drains[0].combats:,}",
        _shown(each(lambda d: d.rate), ",.0f"),
        _shown(_ratio(rounds, name, "naive"), ".1f"),
        _shown(_ratio(rounds, name, "ceiling"), ".2f"),
        *map(cost, ("main", "pool", "postgres", "redis")),
        f"{each(lambda d: d.usage.busy_cores).median:.2f}",
        f"{each(lambda d: d.usage.foreign_cores).median:.2f}",
    ]


def _latencies(latencies: Sequence[Latencies]) -> list[str]:
    names = ("p50", "p95", "p99")
    compared = ["p50 x bare", "p99 x bare"] if BARE in latencies[0] else []
    rows = []
    for door in latencies[0]:
        settled = [r[door].settled for r in latencies]
        row = [f"{door}, {RATE}/s"]
        row += [_shown(spread(getattr(s, n) for s in settled), ".1f") for n in names]
        if compared:
            ratios = [_latency_ratio(latencies, door, n) for n in ("p50", "p99")]
            row += [_shown(ratio, ".2f") for ratio in ratios]
        rows.append(row)
    header = ["submit to committed and effects, ms", *names, *compared]
    return _table([header, *rows])


def _calls(latencies: Sequence[Latencies], submit: SubmitCost) -> list[str]:
    timed: dict[str, Percentiles] = {
        "submit_combat_sync, JSON text": submit.text,
        "submit_combat_sync, dict": submit.document,
        "bare SET of the same bytes": submit.bare_write,
    }
    rows = [
        [
            f"{door}, the call alone, {RATE}/s",
            *(
                f"{spread(getattr(r[door].submitted, n) for r in latencies).median:.2f}"
                for n in ("p50", "p95", "p99")
            ),
        ]
        for door in latencies[0]
    ]
    rows += [
        [name, *(f"{value:.2f}" for value in (p.p50, p.p95, p.p99))]
        for name, p in timed.items()
    ]
    return _table([["milliseconds", "p50", "p95", "p99"], *rows])


def _goals(goals: Iterable[Goal]) -> list[str]:
    rows = [
        [
            goal.what,
            _shown(goal.value, ".2f"),
            f"{'at least' if goal.at_least else 'at most'} {goal.bound:g}",
            "reached" if goal.reached else "MISSED",
        ]
        for goal in goals
    ]
    return _table([["goal", "measured", "wanted", ""], *rows])


def _shown(value: Spread, form: str) -> str:
    if value.low == value.high:
        return f"{value.median:{form}}"
    return f"{value.median:{form}} ({value.low:{form}}-{value.high:{form}})"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """First column to the left, the others to the right, a rule below the header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [f"{c:>{w}}" for c, w in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([f"{first:<{widths[0]}}", *cells]).rstrip())
    rule = "  ".join("-" * width for width in widths)
    return [lines[0], rule, *lines[1:]]
