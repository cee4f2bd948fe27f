"""Make, rotate and revoke tokens of the HTTP API: permitted, with a reason, audited.

A secret is returned once, to whoever asked for it, and kept nowhere: neither in the
table nor in the audit. A web process obeys within `tokens.OBEYED_WITHIN_SECONDS`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models.functions import Now

from combat_history import origin
from combat_history.actions import audit
from combat_history.actions.mode import Actor
from combat_history.callers import checked_name, checked_scopes, digest_of
from combat_history.models import ApiToken, AuditEntry

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PERMISSION = "combat_history.manage_apitoken"
TARGET = "api token"
MAKE, ROTATE, REVOKE = "make_token", "rotate_token", "revoke_token"

SECRET_BYTES = 32

DONE = audit.Outcome.DONE


def make(name: str, scopes: Iterable[str], *, actor: Actor, reason: str) -> str:
    """The secret of a new token. Raises ValueError for a name that was ever used."""
    reason, name = audit.checked_reason(reason), checked_name(name)
    wanted = sorted(checked_scopes(scopes))
    secret = secrets.token_urlsafe(SECRET_BYTES)
    with transaction.atomic(durable=True):
        _, is_new = ApiToken.objects.get_or_create(
            name=name,
            defaults={
                "digest": digest_of(secret),
                "scopes": wanted,
                "created_by": actor.name,
            },
        )
        if not is_new:
            raise ValueError(f"there is or was a token named {name}")
        _audit(actor, MAKE, name, reason, DONE, {"scopes": wanted})
    return secret


def rotate(name: str, *, actor: Actor, reason: str) -> str:
    """A new secret; the one before is good no more. Raises ValueError for a token that
    is not there or is revoked."""
    reason = audit.checked_reason(reason)
    secret = secrets.token_urlsafe(SECRET_BYTES)
    with transaction.atomic(durable=True):
        good = _good(name)
        good.digest, good.rotated_at = digest_of(secret), Now()
        good.save(update_fields=["digest", "rotated_at"])
        _audit(actor, ROTATE, name, reason, DONE, {"scopes": good.scopes})
    return secret


def revoke(name: str, *, actor: Actor, reason: str) -> None:
    """For ever. Raises ValueError for a token that is not there or is revoked."""
    reason = audit.checked_reason(reason)
    with transaction.atomic(durable=True):
        good = _good(name)
        good.revoked_at = Now()
        good.save(update_fields=["revoked_at"])
        _audit(actor, REVOKE, name, reason, DONE, {"scopes": good.scopes})


def actor_permitted(user: User, verb: str, name: str, reason: str) -> Actor:
    """The person as an actor. Raises PermissionDenied, audited."""
    actor = Actor(user.get_username(), user.pk)
    if not user.has_perm(PERMISSION):
        _audit(actor, verb, name, reason, audit.Outcome.DENIED, None)
        raise PermissionDenied
    return actor


def _good(name: str) -> ApiToken:
    tokens = ApiToken.objects.select_for_update(no_key=True)
    try:
        return tokens.get(name=name, revoked_at=None)
    except ApiToken.DoesNotExist:
        raise ValueError(f"there is no token named {name}, or it is revoked") from None


def _audit(
    actor: Actor,
    verb: str,
    name: str,
    reason: str,
    outcome: AuditEntry.Outcome,
    after: Mapping[str, Any] | None,
) -> None:
    AuditEntry.objects.create(
        actor_id=actor.id,
        actor_name=actor.name,
        verb=verb,
        target_type=TARGET,
        target_id=name[:200],
        reason=reason[: audit.MAX_REASON_LENGTH],
        after=after,
        outcome=outcome,
        request_id=origin.request_id.get(),
    )
