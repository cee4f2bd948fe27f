"""Authentication of callers by bearer tokens, and what their scopes let them do.

A token is looked up by its digest: what a look-up's time may tell of a digest does not
help to guess the token.
"""

from __future__ import annotations

from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest

from combat_history.api import tokens
from combat_history.api.problems import Problem, unavailable
from combat_history.callers import Caller, Scope, digest_of, environment_callers

REALM = 'Bearer realm="combat-settlement"'


def allowed(caller: Caller, scope: Scope) -> bool:
    return scope in caller.scopes


async def admit(request: HttpRequest, scope: Scope | None) -> Caller:
    """The caller, who may do this. Raises a 401 or a 403 problem, 503 where the tokens
    were never read.

    `scope` None: of an address that there is not, for whoever has a token.
    """
    caller = await _authenticate(request)
    if scope is not None and not allowed(caller, scope):
        raise _forbidden(scope)
    return caller


async def _authenticate(request: HttpRequest) -> Caller:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _unauthorized("a bearer token is required", "")
    digest = digest_of(token.strip())
    in_environment = environment_callers(tuple(settings.SETTLEMENT_API_TOKENS))
    try:
        caller = in_environment.get(digest) or await tokens.known.find(digest)
    except LookupError:
        raise unavailable("the tokens cannot be read; ask again") from None
    if caller is None:
        raise _unauthorized("the token is not known", ', error="invalid_token"')
    return caller


def _unauthorized(detail: str, error: str) -> Problem:
    return Problem(
        HTTPStatus.UNAUTHORIZED,
        "unauthorized",
        detail,
        headers={"WWW-Authenticate": f"{REALM}{error}"},
    )


def _forbidden(scope: Scope) -> Problem:
    return Problem(
        HTTPStatus.FORBIDDEN,
        "missing_scope",
        f"the token lacks the scope {scope}",
        headers={
            "WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{scope}"'
        },
    )
