"""What becomes of a message whose task has failed."""

from __future__ import annotations

from billiard.einfo import ExceptionInfo
from celery.exceptions import Reject
from kombu import Connection

from persistence.tasks import settle_combat
from persistence.worker.intake.requests import ReadableRequest
from settlement_project.celery import app
from tests.support.documents import make_document
from tests.support.fuzz import call, headers


def test_a_retry_that_cannot_be_sent_gives_the_message_back() -> None:
    """Celery rejects it for good then: nobody but the message knows of the result."""
    sent = headers()
    with Connection("memory://") as broker:
        queue = broker.SimpleQueue("results")
        queue.put(call(make_document()), headers=sent)
        message = queue.get()
        request = ReadableRequest(
            message,
            app=app,
            task=settle_combat,
            on_ack=message.ack_log_error,
            on_reject=message.reject_log_error,
        )
        try:
            raise Reject("the broker is away", requeue=False)
        except Reject:
            request.on_failure(ExceptionInfo())

        assert queue.get(timeout=1).headers["id"] == sent["id"]
        queue.close()
