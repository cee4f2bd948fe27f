"""The HTTP API of engines and bots: asynchronous views, bearer token, problem+json."""

from __future__ import annotations
