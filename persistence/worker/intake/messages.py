"""Every message is read here before Celery reads it.

What is a call of a task of ours goes on in one spelling: protocol 2, headers of the
types that Celery expects, limits of ours. `envelopes` sets the rest aside.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from celery import Celery
from celery.app.task import Context
from celery.utils.saferepr import saferepr
from celery.utils.time import maybe_iso8601, maybe_make_aware
from kombu.utils.json import dumps

from persistence.worker.intake.envelopes import (
    JSON_TYPE,
    SETTLE,
    WHY,
    Unreadable,
    as_unreadable,
    check_depth,
    name_in,
    told_of,
)

MAX_RETRIES = 1_000_000

MAX_ETA_SECONDS = 30
"""A message that waits longer is delivered anew while it waits, each time."""


def read(message: Any, app: Celery) -> None:
    """Bring a message into the one spelling, or raise Unreadable.

    It is then a call, of protocol 2, of a task that `app` has, with arguments that it
    takes. A result does not expire, and nobody but us limits or delays a task.
    """
    headers = message.headers
    if message.errors:
        raise as_unreadable(message.errors[0][1])
    if WHY in headers:
        raise Unreadable("", str(headers[WHY]))
    if message.content_type != JSON_TYPE:
        raise Unreadable("content-type", f"is {saferepr(message.content_type)}")
    headers = _one_protocol(message)
    check_depth("headers", headers)
    task: Any = app.tasks.get(name_in(headers, "task"))
    # Celery's own tasks (chunks, map, backend_cleanup) would run whatever they name.
    if task is None or task.name.startswith("celery."):
        raise Unreadable("headers.task", f"{headers['task']!r} is no task of this")
    message.headers = _sound_headers(headers, app)
    message.properties = _sound_properties(message)
    args, kwargs, embedded = _body(message.payload)
    _check_callbacks(embedded, app)
    try:
        task.__header__(*args, **kwargs)
    except TypeError as error:
        raise Unreadable("arguments", str(error)) from error


def _one_protocol(message: Any) -> dict[str, Any]:
    """The headers; those of protocol 1 lie in the body, which is then written anew."""
    payload = message.payload
    if not isinstance(payload, dict):
        return {**message.headers}
    if not payload.keys() & {"task", "args"}:
        raise Unreadable("body", "is an object that calls nothing")
    told = {**payload, **message.headers}
    call = [
        told.pop("args", None) or [],
        told.pop("kwargs", None) or {},
        {name: told.pop(name, None) for name in ("callbacks", "errbacks", "chord")},
    ]
    message.body = dumps(call)
    message.content_encoding = "utf-8"
    message._decoded_cache = None
    return told


def _sound_headers(headers: dict[str, Any], app: Celery) -> dict[str, Any]:
    sound = {
        name: value
        for name, value in headers.items()
        # Celery lays headers over the attributes of a task's request.
        if name in KNOWN or not (name.startswith("_") or hasattr(Context, name))
    }
    for name, is_sound in KNOWN.items():
        if not is_sound(sound.get(name)):
            raise Unreadable(
                f"headers.{name}", f"{saferepr(sound[name])} is no such value"
            )
    name_in(sound, "id")
    sound["retries"] = sound.get("retries") or 0
    # A sender's limits would end a settlement in the middle, or not end it at all.
    for name in ("timelimit", "ignore_result"):
        sound.pop(name, None)
    _moment(sound, "expires", app)
    if sound["task"] == SETTLE:
        sound.pop("expires", None)
    # In the past, or far ahead, it is dropped: a message that waits is held without
    # being acknowledged, and delivered anew meanwhile.
    eta = _moment(sound, "eta", app)
    if eta is not None:
        wait = eta.timestamp() - datetime.now(eta.tzinfo).timestamp()
        if not 0 < wait <= MAX_ETA_SECONDS:
            sound.pop("eta")
    return sound


def _moment(headers: dict[str, Any], name: str, app: Celery) -> datetime | None:
    value = headers.get(name)
    if value is None:
        return None
    try:
        moment: Any = maybe_iso8601(value)
        moment = maybe_make_aware(moment, app.timezone)
        moment.timestamp()
    except Exception as error:
        raise Unreadable(
            f"headers.{name}", f"{saferepr(value)} is no moment"
        ) from error
    found: datetime = moment
    return found


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_count(value: object) -> bool:
    return value is None or (type(value) is int and 0 <= value <= MAX_RETRIES)


def _is_limits(value: object) -> bool:
    return value is None or (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(part is None or type(part) in (int, float) for part in value)
    )


def _is_list_of_text(value: object) -> bool:
    return value is None or (
        isinstance(value, list) and all(isinstance(part, str) for part in value)
    )


KNOWN: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(
        (
            "lang",
            "task",
            "id",
            "root_id",
            "parent_id",
            "group",
            "shadow",
            "argsrepr",
            "kwargsrepr",
            "origin",
            "eta",
            "expires",
        ),
        _is_text,
    ),
    **dict.fromkeys(("retries", "group_index", "replaced_task_nesting"), _is_count),
    "timelimit": _is_limits,
    "ignore_result": lambda value: value in (None, True, False),
    "stamped_headers": _is_list_of_text,
    "stamps": lambda value: value is None or isinstance(value, dict),
}
"""The headers of protocol 2. A moment is text; what it says is looked at later."""


def _sound_properties(message: Any) -> dict[str, Any]:
    """Addresses of answers that nobody sends are of no consequence."""
    found = message.properties
    return {
        name: found[name]
        for name in ("reply_to", "correlation_id")
        if isinstance(found.get(name), str)
    }


def _body(payload: object) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    if not isinstance(payload, list) or len(payload) != 3:
        raise Unreadable("body", "is no list of arguments, named ones and options")
    args, kwargs, embedded = payload
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise Unreadable("body", "arguments are a list and an object")
    if embedded is None:
        embedded = {}
    if not isinstance(embedded, dict) or not embedded.keys() <= EMBEDDED:
        raise Unreadable("body", "the options hold what no message of Celery holds")
    return args, kwargs, embedded


EMBEDDED = {"callbacks", "errbacks", "chain", "chord"}


def _check_callbacks(embedded: dict[str, Any], app: Celery) -> None:
    for name, value in embedded.items():
        if not value:
            continue
        check_depth(f"body.{name}", value)
        callbacks = [value] if name == "chord" else value
        if not isinstance(callbacks, list) or not all(map(_is_call, callbacks)):
            raise Unreadable(f"body.{name}", "holds what is no call of a task")
        try:
            for callback in callbacks:
                app.signature(callback)
        except Exception as error:
            raise Unreadable(f"body.{name}", told_of(error)) from error


def _is_call(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("task"), str)
        and isinstance(value.get("args") or [], list)
        and isinstance(value.get("kwargs") or {}, dict)
        and isinstance(value.get("options") or {}, dict)
        and _is_text((value.get("options") or {}).get("queue"))
    )
