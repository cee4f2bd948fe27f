"""Keeps what no task can act on as rows of `rejected_payloads`, with its bytes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from celery import shared_task
from celery.utils.saferepr import saferepr

from persistence.contract.errors import FailureCode
from persistence.contract.ids import parse_session_id
from persistence.protocols import Outcome
from persistence.worker import counts, rejected
from persistence.worker.intake.envelopes import KEEP, SETTLE, printable
from persistence.worker.keeping import keep
from persistence.worker.rejected import Rejected

logger = logging.getLogger(__name__)

SHOWN = ("task", "id", "queue", "content_type", "headers")

# What Celery writes before the first argument, given by its place or by its name.
_DOCUMENT_FOLLOWS = re.compile(
    r'\s*\[\s*\[\s*(?:\]\s*,\s*\{\s*"payload"\s*:\s*)?(?=["{])'
)
_SESSION_ID = re.compile(r'"session_id"\s*:\s*"([\w-]{22,36})"')
# Digits by the thousand are no number to Python, and none is needed here.
_decoder = json.JSONDecoder(parse_int=lambda _: 0, strict=False)


@shared_task(
    name=KEEP,
    acks_late=True,  # kept, then acknowledged
    ignore_result=True,
    max_retries=3,
    default_retry_delay=1,
)
def keep_unreadable(
    kept: object = None, told: object = None, *more: object, **unknown: object
) -> None:
    """Keep the bytes of a message that the worker could not read, and why not.

    The same bytes are one row. Of a result as much is kept as makes it easy to resend:
    its document's text, and the id of its combat. A message waits for PostgreSQL.
    """
    try:
        raw = base64.b64decode(str(kept), validate=True)
        errors, sha256 = _errors(told), _digest(told, raw)
    except (binascii.Error, ValueError, TypeError, KeyError):
        given = [kept, told, *more, unknown]
        refuse_call(
            keep_unreadable, given, "arguments", "nobody but a worker calls this"
        )
        return
    session_id = None
    if isinstance(told, Mapping) and told["task"] == SETTLE:
        document = _document(raw)
        session_id = _session(document or raw)
        if document is not None:
            raw, sha256 = document, hashlib.sha256(document).hexdigest()
    _reject(keep_unreadable, Rejected(session_id, sha256, CODE, errors, raw))


def refuse_call(task: Any, arguments: object, path: str, words: str) -> None:
    """Keep a call that `task` can make nothing of."""
    try:
        raw = json.dumps(arguments, default=str).encode()
    except (ValueError, RecursionError):
        raw = saferepr(arguments).encode("utf-8", "backslashreplace")
    errors = [_fault(path, words), _fault("task", task.name)]
    sha256 = _of_task(task.name, hashlib.sha256(raw).hexdigest())
    _reject(task, Rejected(None, sha256, CODE, errors, raw))


CODE = str(FailureCode.UNREADABLE_MESSAGE)


def _reject(task: Any, message: Rejected) -> None:
    keep(task, lambda cursor: rejected.keep(cursor, message))
    counts.count(f"{counts.MESSAGE}unreadable")
    logger.error("message kept", extra={"outcome": Outcome.REJECTED, "code": CODE})


def _errors(told: Any) -> list[dict[str, str]]:
    faults = [_fault(told["path"], told["message"])]
    return faults + [_fault(name, told[name]) for name in SHOWN if told[name]]


def _fault(path: object, words: object) -> dict[str, str]:
    return {"path": printable(str(path)), "message": printable(str(words))}


def _digest(told: Any, raw: bytes) -> str:
    """The identity of all the bytes that came, of which `raw` may be the first only.

    The same arguments for another task are another message.
    """
    sha256 = str(told["sha256"])
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError(sha256)
    if told["bytes"] == len(raw):
        sha256 = hashlib.sha256(raw).hexdigest()
    return _of_task(told["task"], sha256)


def _of_task(task: object, sha256: str) -> str:
    return hashlib.sha256(f"{task} {sha256}".encode()).hexdigest() if task else sha256


def _document(body: bytes) -> bytes | None:
    """The text of the document as it was sent, without the message around it."""
    try:
        text = body.decode("utf-8", "surrogatepass")
        start = _DOCUMENT_FOLLOWS.match(text)
        if start is None:
            return None
        document, end = _decoder.raw_decode(text, start.end())
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, str):
        document = text[start.end() : end]
    return document.encode("utf-8", "surrogatepass")


def _session(text: bytes) -> UUID | None:
    found = _SESSION_ID.search(text.decode("utf-8", "replace"))
    try:
        return parse_session_id(found.group(1)) if found else None
    except ValueError:
        return None
