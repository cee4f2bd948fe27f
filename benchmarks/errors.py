"""The one error a benchmark ends with: what was measured would not be true."""

from __future__ import annotations


class BenchmarkError(Exception):
    """A run whose figures mean nothing; the message says what went wrong."""
