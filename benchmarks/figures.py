"""The few statistics the report is made of."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Percentiles:
    """Milliseconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Spread:
    """The median of all rounds, and between what they lay."""

    median: float
    low: float
    high: float


def percentiles(seconds: Iterable[float]) -> Percentiles:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return Percentiles(cuts[49] * 1000, cuts[94] * 1000, cuts[98] * 1000)


def spread(values: Iterable[float]) -> Spread:
    known = sorted(values)
    return Spread(statistics.median(known), known[0], known[-1])
