"""A runnable bot; `main.py` says how."""

from __future__ import annotations
