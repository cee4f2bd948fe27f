"""The report: one table a question, then the goals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.drain import Drain
from benchmarks.figures import Percentiles, Spread, spread
from benchmarks.latency import RATE, Latency
from benchmarks.submit_cost import SubmitCost

FOREIGN_CORES = 0.3
"""Above this, rates say as much about the other programs as about these."""

Round = Mapping[str, Drain]
"""One drain of each variant, by its name."""


@dataclass(frozen=True)
class Results:
    facts: Mapping[str, str]
    rounds: Sequence[Round]
    latency: Latency
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
    parts = [
        *_facts(results.facts),
        "",
        *_drains(results.rounds),
        "",
        *_calls(results.latency, results.submit),
        "",
        *_goals(goals(results)),
    ]
    return "\n".join(parts)


def goals(results: Results) -> list[Goal]:
    rounds, latency, submit = results.rounds, results.latency, results.submit
    return [
        Goal("inbox of ceiling", _ratio(rounds, "inbox", "ceiling"), 0.75, True),
        Goal("inbox x naive", _ratio(rounds, "inbox", "naive"), 35, True),
        Goal("send_task x naive", _ratio(rounds, "send_task", "naive"), 3, True),
        Goal(f"settled p50 at {RATE}/s, ms", _one(latency.settled.p50), 10, False),
        Goal(f"settled p99 at {RATE}/s, ms", _one(latency.settled.p99), 40, False),
        *(
            Goal(f"submit_combat of {form} x bare write, p50", _one(ratio), 3, False)
            for form, ratio in (
                ("a dict", submit.document.p50 / submit.bare_write.p50),
                ("JSON text", submit.text.p50 / submit.bare_write.p50),
            )
        ),
    ]


def _ratio(rounds: Sequence[Round], name: str, base: str) -> Spread:
    """Within a round: the machine changes from one to the next."""
    return spread(r[name].rate / r[base].rate for r in rounds)


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
        *_disturbed(rounds),
    ]


def _disturbed(rounds: Sequence[Round]) -> list[str]:
    foreign = max(d.usage.foreign_cores for r in rounds for d in r.values())
    if foreign < FOREIGN_CORES:
        return []
    return [f"Other programs took up to {foreign:.1f} cores: the machine was not idle."]


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


def _calls(latency: Latency, submit: SubmitCost) -> list[str]:
    timed: dict[str, Percentiles] = {
        f"submit to committed and effects, {RATE}/s": latency.settled,
        f"submit_combat (async), {RATE}/s": latency.submitted,
        "submit_combat_sync, JSON text": submit.text,
        "submit_combat_sync, dict": submit.document,
        "bare SET of the same bytes": submit.bare_write,
    }
    header = ["milliseconds", "p50", "p95", "p99"]
    rows = [
        [name, *(f"{value:.2f}" for value in (p.p50, p.p95, p.p99))]
        for name, p in timed.items()
    ]
    return _table([header, *rows])


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
