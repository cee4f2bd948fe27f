"""Reads moments that engines write into Redis: milliseconds, or another unit."""

from __future__ import annotations

import re

FIRST_MS = 978_307_200_000
"""2001: what reads as earlier is of another unit, or never was."""

_NUMBER = re.compile(r"\d{1,19}(\.\d*)?", re.ASCII)

_UNITS = ((10**11, 1000), (10**14, 1), (10**17, 1 / 1000))
"""Below 10^11 it is seconds (until 5138), below 10^14 milliseconds, then micro-."""


def any_unit_ms(text: str | None) -> float:
    """Milliseconds of a field that only says who is later; 0 where there is none.

    The scripts have the same in `moments.lua`.
    """
    if text is None or not _NUMBER.fullmatch(text):
        return 0
    number = float(text)
    factors = (factor for below, factor in _UNITS if number < below)
    return number * next(factors, 1 / 1_000_000)
