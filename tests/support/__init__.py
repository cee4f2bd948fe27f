"""What several tests share: valid input, worker processes, waiting with a deadline."""

from __future__ import annotations
