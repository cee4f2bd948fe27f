"""The prefork pool, which ends when its last task does."""

from __future__ import annotations

from typing import Any

from celery.concurrency import prefork
from celery.concurrency.asynpool import AsynPool
from celery.concurrency.asynpool import ResultHandler as AsynResultHandler


class ResultHandler(AsynResultHandler):
    def on_stop_not_started(self: Any) -> None:
        """Read what the children tell until they have left.

        Celery stops reading once it waits for no job. Of a job that it gave up in
        stopping, the child's answer stays unread, and the child waits for half a minute
        to have it read.
        """
        own = self.cache
        self.cache = {None: "a child may still tell something"}
        try:
            super().on_stop_not_started()
        finally:
            self.cache = own


class Pool(AsynPool):
    ResultHandler = ResultHandler


class TaskPool(prefork.TaskPool):
    Pool = Pool
