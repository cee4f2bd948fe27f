"""Task requests as the worker's main process holds them: small, and without loot."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionWithTraceback  # type: ignore[attr-defined]
from billiard.exceptions import Terminated, WorkerLostError
from celery import Task
from celery.exceptions import Ignore, Reject, Retry
from celery.worker.request import Request
from celery.worker.state import revoked as revoked_tasks
from kombu.exceptions import DecodeError

from persistence.worker import rings
from persistence.worker.intake.callbacks import unsent
from persistence.worker.intake.envelopes import KEEP, call_to_keep

if TYPE_CHECKING:
    from persistence.worker.intake.gathering import Along

logger = logging.getLogger(__name__)

_SESSION_ID = re.compile(r'"session_id"\s*:\s*"([\w-]{22,36})"')
_ID = re.compile(r"[\w-]{22,36}")
_UNKNOWN = "no session id"

NOT_DONE = (
    *(Ignore, Reject, Retry),
    *(MemoryError, SystemExit, KeyboardInterrupt, Terminated, WorkerLostError),
)
"""After these a message comes again, or was given up on purpose."""


class LeanRequest(Request):
    """Takes no arguments along to the pool, which reads them from the message's body.

    Pickled along, a document nested some hundred levels deep would end the worker, and
    the next one that gets the message.
    """

    @property
    def request_dict(self) -> dict[str, Any]:
        # The pool is sent this and the body, and reads the arguments from the body.
        return {**super().request_dict, "args": (), "kwargs": {}}

    def on_failure(self, exc_info: Any, *args: Any, **options: Any) -> None:
        """What is lost with the task is kept before its message is acknowledged."""
        error: Any = exc_info.exception
        error = error.exc if isinstance(error, ExceptionWithTraceback) else error
        if isinstance(error, Reject):
            # Celery's word for a retry that it could not send: nobody rejects here.
            error.requeue = True  # type: ignore[attr-defined]  # stubs lack it
        call = self._lost(error)
        if call is not None:
            # Where the broker is away this raises, and nothing is acknowledged.
            rings.send(KEEP, call)
        super().on_failure(exc_info, *args, **options)

    def _lost(self, error: BaseException) -> list[Any] | None:
        """The call that keeps it; None where nothing is lost."""
        if isinstance(error, NOT_DONE):
            return None
        if isinstance(error, DecodeError):
            # The pool has other frames on its stack than the consumer: a body may be
            # too deep for it alone.
            return call_to_keep(self.message, error)
        return unsent(self.message, error)


class LeanTask(Task[Any, Any]):
    """The base of every task of this application."""

    Request = "persistence.worker.intake.requests:LeanRequest"


class ReadableRequest(LeanRequest):
    """Shows the session id in place of what the sender made of the arguments.

    A combat's result is settled whatever a sender or a person revokes: settling a
    combat is prevented in the admin, where it is seen.
    """

    _context: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        payload = self.args[0] if self.args else self.kwargs.get("payload")
        self._argsrepr = f"({_shown(payload)},)"
        self._kwargsrepr = "{}"
        self._along: Along | None = getattr(self.message, "along", None)
        if self._along is not None:
            # Celery's class for each task overrides the method and calls no other.
            self.on_success = self._on_success  # type: ignore[assignment,method-assign]

    def _on_success(self, told: tuple[Any, Any, Any], **options: Any) -> None:
        failed, result, _ = told
        if self._along is not None and not failed:
            self._along.learn(result)
        type(self).on_success(self, told, **options)

    def revoked(self) -> bool:
        if self.id in revoked_tasks:
            logger.warning("revocation ignored", extra={"task_id": self.id})
        return False

    def terminate(self, *_: Any, **__: Any) -> None:
        """It ends by itself, within its time limits."""
        logger.warning("termination ignored", extra={"task_id": self.id})

    def _lost(self, error: BaseException) -> list[Any] | None:
        # Celery delivers it no further: it may have ended its worker each time.
        is_last = self._context.retries >= (self.task.max_retries or 0)
        if isinstance(error, WorkerLostError) and is_last:
            return call_to_keep(self.message, error)
        return super()._lost(error)

    @property
    def request_dict(self) -> dict[str, Any]:
        shown = {"argsrepr": self._argsrepr, "kwargsrepr": self._kwargsrepr}
        told = {**super().request_dict, **shown}
        if self._along is not None:
            # Not a header, which would be sent along with a retry.
            along = {"along": self._along.calls()}
            told["delivery_info"] = {**told["delivery_info"], **along}
        return told


def _shown(payload: object) -> str:
    if isinstance(payload, dict):
        session_id = payload.get("session_id")
        if isinstance(session_id, str) and _ID.fullmatch(session_id):
            return session_id
    elif isinstance(payload, str) and (found := _SESSION_ID.search(payload)):
        return found.group(1)
    return _UNKNOWN
