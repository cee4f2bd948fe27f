"""What other programs do to a measurement: it is repeated while they take too much.

A machine that never becomes quiet is measured all the same, with what was disturbed
least, and the report says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

from benchmarks.cpu import Reading

FOREIGN_CORES = 0.3
"""Above this, figures say as much about the other programs as about these."""

TRIES = 3


class Measured(Protocol):
    """A dataclass; `usage` is of the time that was measured."""

    @property
    def usage(self) -> Reading: ...

    @property
    def tries(self) -> int: ...


_Measured = TypeVar("_Measured", bound=Measured)


def quietest(measure: Callable[[], _Measured]) -> _Measured:
    """The first of at most TRIES that other programs left alone, else the best."""
    tried: list[_Measured] = []
    while len(tried) < TRIES:
        tried.append(measure())
        if not is_disturbed(tried[-1]):
            break
    best = min(tried, key=lambda measured: measured.usage.foreign_cores)
    return replace(best, tries=len(tried))  # type: ignore[type-var]


def is_disturbed(measured: Measured) -> bool:
    return measured.usage.foreign_cores > FOREIGN_CORES


def told(all_measured: list[Measured]) -> str:
    """One line for the report."""
    repeated = sum(measured.tries - 1 for measured in all_measured)
    disturbed = [m.usage.foreign_cores for m in all_measured if is_disturbed(m)]
    line = (
        f"{len(all_measured)} measurements; {repeated} repeated because other "
        f"programs took more than {FOREIGN_CORES} cores"
    )
    if not disturbed:
        return f"{line}; none is left that they disturbed"
    return (
        f"{line}; {len(disturbed)} DISTURBED even so, by up to {max(disturbed):.1f} "
        "cores: the machine was not idle"
    )
