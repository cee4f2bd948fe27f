"""What began the work at hand: a command of a person, or a request of HTTP.

Django is not asked: it may not be set up yet.
"""

from __future__ import annotations

from contextvars import ContextVar

is_command = False
"""Set by `manage.py` and `combat-settlement`."""

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the HTTP request that is being answered; the middleware sets it."""
