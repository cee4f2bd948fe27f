"""The bot's side: a real bot between a Bot API stub and the real HTTP API."""

from __future__ import annotations
