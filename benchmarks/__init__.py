"""Settlement measured side by side: `make bench`, or `python -m benchmarks --help`."""

from __future__ import annotations
