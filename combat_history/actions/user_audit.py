"""Every change of users, groups and their permissions, in the audit.

By Django's signals, whatever page, form or command made it. Who did it is the user of
the request, or of the machine where a command runs; a statement of SQL is not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib.auth.models import Group, User
from django.db.models import Model, signals

from combat_history import origin
from combat_history.actions import audit
from combat_history.actions.mode import Actor, command_actor
from combat_history.models import AuditEntry

SECRET = frozenset({"password"})
HIDDEN = "***"
OF_EVERY_SIGN_IN = frozenset({"last_login"})
CHANGES = {"post_add": "added", "post_remove": "removed", "pre_clear": "removed"}

_EARLIER = "_values_before_saving"
"""Attribute of a row that is being saved."""

Values = Mapping[str, Any]


def watch() -> None:
    for model in (User, Group):
        signals.pre_save.connect(_saving, sender=model)
        signals.post_save.connect(_saved, sender=model)
        signals.post_delete.connect(_deleted, sender=model)
    for link in (
        User.groups.through,
        User.user_permissions.through,
        Group.permissions.through,
    ):
        signals.m2m_changed.connect(_linked, sender=link)


def _saving(sender: type[Model], instance: Model, **_: Any) -> None:
    rows = sender._base_manager.filter(pk=instance.pk)
    setattr(instance, _EARLIER, rows.values().first() if instance.pk else None)


def _saved(sender: type[Model], instance: Model, created: bool, **_: Any) -> None:
    before: Values | None = instance.__dict__.pop(_EARLIER, None)
    after = _values(instance)
    if before is None:
        _record("add", instance, None, after)
        return
    changed = {name for name, value in after.items() if before[name] != value}
    if changed - OF_EVERY_SIGN_IN:
        _record("change", instance, _only(before, changed), _only(after, changed))


def _deleted(sender: type[Model], instance: Model, **_: Any) -> None:
    _record("delete", instance, _values(instance), None)


def _linked(
    sender: type[Model],
    instance: Model,
    action: str,
    model: type[Model],
    pk_set: Iterable[int] | None,
    **_: Any,
) -> None:
    if action not in CHANGES:
        return
    linked = model._base_manager.all()
    if pk_set is not None:
        linked = linked.filter(pk__in=pk_set)
    else:
        key = "user" if isinstance(instance, User) else "group"
        linked = linked.filter(**{key: instance})
    names = sorted(map(str, linked))
    if names:
        after = {f"{model._meta.verbose_name_plural} {CHANGES[action]}": names}
        _record("change", instance, None, after)


def _values(row: Model) -> Values:
    fields: Iterable[Any] = row._meta.concrete_fields
    return {field.attname: getattr(row, field.attname) for field in fields}


def _only(values: Values, names: Iterable[str]) -> Values:
    return {name: values[name] for name in names}


def _shown(values: Values | None) -> Values | None:
    if values is None:
        return None
    return {
        name: HIDDEN if name in SECRET else _plain(value)
        for name, value in values.items()
    }


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | list | None) else str(value)


def _record(
    verb: str, target: Model, before: Values | None, after: Values | None
) -> None:
    actor = _actor()
    if actor is None:
        return
    AuditEntry.objects.create(
        actor_id=actor.id,
        actor_name=actor.name,
        verb=verb,
        target_type=str(target._meta.model_name),
        target_id=str(target)[:200],
        before=_shown(before),
        after=_shown(after),
        outcome=audit.Outcome.DONE,
        request_id=origin.request_id.get(),
    )


def _actor() -> Actor | None:
    """None of a program that no person has begun: tests, workers."""
    request = audit.asking.get()
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        return Actor(user.get_username(), user.pk)
    return command_actor() if origin.is_command else None
