"""Authentication of callers: bearer tokens, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest

from combat_history.api.problems import Problem

CALLER_DIGITS = 16
"""Digits of a token's digest that name its caller: enough to tell callers apart, too
few to be the token."""


def authenticate(request: HttpRequest) -> str:
    """The caller's name in Redis keys. Raises a 401 problem."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _unauthorized("a bearer token is required", "")
    presented = _digest(token.strip())
    # Digests, and all of them: neither length nor position of a token shows in time.
    matches = [
        hmac.compare_digest(presented, _digest(known))
        for known in settings.SETTLEMENT_API_TOKENS
    ]
    if not any(matches):
        raise _unauthorized("the token is not known", ', error="invalid_token"')
    return presented[:CALLER_DIGITS]


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _unauthorized(detail: str, error: str) -> Problem:
    return Problem(
        HTTPStatus.UNAUTHORIZED,
        "unauthorized",
        detail,
        headers={"WWW-Authenticate": f'Bearer realm="combat-settlement"{error}'},
    )
