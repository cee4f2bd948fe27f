"""Signing in: failures are in the audit, which is what guessing is slowed by.

A name from one address gets MAX_OF_NAME tries in WINDOW, an address MAX_OF_ADDRESS over
all names. What is refused for that is not written down: the audit does not grow with
the patience of whoever guesses.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from combat_history import origin
from combat_history.actions import audit
from combat_history.models import AuditEntry

logger = logging.getLogger(__name__)

VERB = "sign_in"
NOBODY = "nobody"
"""Who fails to sign in is not known; an address stands beside it."""

WINDOW = timedelta(minutes=15)
MAX_OF_NAME = 5
MAX_OF_ADDRESS = 50

SIGNED_IN_AT = "signed_in_at"
"""Of a session: seconds since 1970 of the last time that the password was given."""


class Throttle:
    """The first of the backends: refuses before a password is looked at.

    No `BaseBackend`: it knows no users, and gives no permissions.
    """

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, **_: Any
    ) -> None:
        if request is None or username is None:
            return
        if _is_spent(request, username):
            logger.warning(
                "too many failed sign-ins", extra={"from": _address(request)}
            )
            raise PermissionDenied


def watch() -> None:
    user_login_failed.connect(_failed)
    user_logged_in.connect(_signed_in)


def is_fresh(request: HttpRequest) -> bool:
    """Whether the password was given lately enough for what cannot be taken back.

    A form may be sent for as long again as it may be opened.
    """
    age = timezone.now().timestamp() - request.session.get(SIGNED_IN_AT, 0)
    allowed = settings.SETTLEMENT_FRESH_SIGN_IN_SECONDS
    return bool(age < (allowed if request.method == "GET" else 2 * allowed))


def _failed(
    sender: object,
    credentials: dict[str, Any],
    request: HttpRequest | None = None,
    **_: Any,
) -> None:
    name = str(credentials.get("username") or "")[:150]
    if request is None or _is_spent(request, name):
        return
    AuditEntry.objects.create(
        actor_name=f"{NOBODY}@{_address(request)}"[:150],
        verb=VERB,
        target_type="user",
        target_id=name,
        outcome=audit.Outcome.FAILED,
        request_id=origin.request_id.get(),
    )


def _signed_in(sender: object, request: HttpRequest, **_: Any) -> None:
    now = timezone.now()
    request.session[SIGNED_IN_AT] = now.timestamp()
    # A moment: counted anew with every request it would never come.
    request.session.set_expiry(now + timedelta(seconds=settings.SESSION_COOKIE_AGE))


def _is_spent(request: HttpRequest, name: str) -> bool:
    failed = _failures(request)
    return (
        failed.filter(target_id=name[:150])[:MAX_OF_NAME].count() >= MAX_OF_NAME
        or failed[:MAX_OF_ADDRESS].count() >= MAX_OF_ADDRESS
    )


def _failures(request: HttpRequest) -> QuerySet[AuditEntry]:
    """Of this address, in the window; by the key of the audit's actors."""
    return AuditEntry.objects.filter(
        actor_name=f"{NOBODY}@{_address(request)}"[:150],
        verb=VERB,
        at__gt=timezone.now() - WINDOW,
    ).order_by("-id")


def _address(request: HttpRequest) -> str:
    return str(request.META.get("REMOTE_ADDR", ""))
