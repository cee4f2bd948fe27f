"""Callbacks, chains and chords that are never sent are kept for people."""

from __future__ import annotations

from typing import Any

from kombu.utils.json import dumps

from persistence.worker.intake.envelopes import Unreadable, call_to_keep

FOLLOWING = ("callbacks", "chain")


def refused_chord(message: Any) -> list[Any] | None:
    """The call that keeps the body of a chord which this message is a part of.

    A body waits for results, and there are none. The part itself is run.
    """
    chord = _options(message).get("chord")
    if not chord:
        return None
    why = Unreadable(
        "chord",
        "the body of a chord waits for results, which are not kept: it is never sent. "
        "The tasks of its header are run. Use link, or read the result over HTTP",
    )
    return call_to_keep(message, why, dumps(chord).encode())


def unsent(message: Any, error: BaseException) -> list[Any] | None:
    """The call that keeps what was to follow a task which ended in an error.

    Celery ends a task so, too, that is done but whose callbacks it cannot send.
    """
    options = _options(message)
    following = {name: options[name] for name in FOLLOWING if options.get(name)}
    if not following:
        return None
    why = Unreadable("callbacks", f"not all was sent: {type(error).__name__}: {error}")
    return call_to_keep(message, why, dumps(following).encode())


def _options(message: Any) -> dict[str, Any]:
    return message.payload[2] or {}
