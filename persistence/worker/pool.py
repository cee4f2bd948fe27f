"""The prefork pool, which ends when its last task does."""

from __future__ import annotations

from typing import Any

from celery.concurrency import prefork
from celery.concurrency.asynpool import AsynPool
from celery.concurrency.asynpool import ResultHandler as AsynResultHandler

from persistence.worker import occupancy


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
    """Tells its processes how many jobs there are for them, and that it closes."""

    Pool = Pool
    _pool: Any

    def on_start(self) -> None:
        occupancy.open_pool()
        super().on_start()

    def apply_async(self, *args: Any, **options: Any) -> Any:
        # Before a process has it: one that waits in vain is told of this one.
        occupancy.tell(len(self._pool._cache) + 1, self.num_processes)
        return super().apply_async(*args, **options)

    def on_close(self) -> None:
        occupancy.close_pool()
        super().on_close()
