"""Reads what a caller wrote into path and query. Raises 400 problems."""

from __future__ import annotations

import re
from uuid import UUID

from django.http import HttpRequest

from combat_history.api.problems import bad_parameter
from persistence.contract.changes import MAX_BIGINT
from persistence.contract.ids import parse_session_id

_NUMBER = re.compile(r"[0-9]{1,19}")


def session_id(text: str) -> UUID:
    try:
        return parse_session_id(text)
    except ValueError as error:
        raise bad_parameter("session_id", str(error)) from None


def character_id(name: str, text: str | None) -> int:
    return _number(name, text, MAX_BIGINT)


def limit(request: HttpRequest, default: int, highest: int) -> int:
    text = request.GET.get("limit")
    return default if text is None else _number("limit", text, highest)


def after(request: HttpRequest) -> int:
    """The id of an event, or 0, which is before all of them."""
    return _number("after", request.GET.get("after", "0"), MAX_BIGINT, lowest=0)


def _number(name: str, text: str | None, highest: int, lowest: int = 1) -> int:
    if text is not None and _NUMBER.fullmatch(text) and lowest <= int(text) <= highest:
        return int(text)
    raise bad_parameter(name, f"expected a whole number from {lowest} to {highest}")
