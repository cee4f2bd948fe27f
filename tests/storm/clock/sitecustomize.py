"""A wrong clock for the process that finds this on its path, without libfaketime.

Only what asks `time` is misled; `datetime` is not.
"""

from __future__ import annotations

import os
import time

AHEAD = float(os.environ.get("STORM_CLOCK_AHEAD", "0"))

_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + AHEAD
time.time_ns = lambda: _time_ns() + int(AHEAD * 1e9)
