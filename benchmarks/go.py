"""Bare processes that are ready wait for one element each of a list in Redis."""

from __future__ import annotations

GO = "benchmark:go"
WAIT_SECONDS = 120
