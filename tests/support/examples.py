"""How many examples the properties try: few in the suite, `make properties` more."""

from __future__ import annotations

import os

TIMES_VARIABLE = "EXAMPLES_TIMES"


def examples(number: int) -> int:
    """So many in the suite."""
    return number * int(os.environ.get(TIMES_VARIABLE, "1"))
