"""Workers of a RabbitMQ record by the batch what they have not acknowledged, and die.

Skipped where `rabbitmq-server` is not installed: `make test-amqp` installs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from kombu import Connection

from combat_history.models import CombatHistory
from persistence.worker.intake.gathering import Gathering
from tests.chaos.gathered import gathered
from tests.chaos.scenes import play
from tests.chaos.test_broken_variants import is_seen
from tests.support.brokers import send
from tests.support.crash import When, every_crash
from tests.support.documents import make_document
from tests.support.ledger_oracle import Oracle
from tests.support.waiting import wait_until
from tests.support.worker import CeleryProcess, database_url, running_worker

WAITING = 250
"""More than a batch, fewer than two workers of one process read ahead."""


def test_accepted_is_applied_once_wherever_a_process_is_killed(
    oracle: Oracle, rabbitmq: str
) -> None:
    for at in every_crash([When.AFTER]):
        first, _, wrong = play(oracle, partial(gathered, rabbitmq), (at, None))
        assert not wrong, f"{at}:\n" + "\n".join(wrong)
        if not first.is_killed:
            break
    # The acknowledgements alone are six.
    assert at.operation > 6


def _acknowledged_before_recorded() -> None:
    take = Gathering._batch

    def take_and_acknowledge(self: Gathering) -> list[Any]:
        batch = take(self)
        for message in batch[1:]:
            message.ack()
        return batch

    Gathering._batch = take_and_acknowledge  # type: ignore[method-assign]
    Gathering._go_on = lambda *_: None  # type: ignore[method-assign]


def test_an_acknowledgement_before_the_hand_off_is_caught(
    oracle: Oracle, rabbitmq: str
) -> None:
    make = partial(gathered, rabbitmq)
    is_seen(oracle, _acknowledged_before_recorded, make, "LOST")


def test_what_workers_held_when_they_ended_others_settle_once(
    world: None, rabbitmq: str, tmp_path: Path
) -> None:
    documents = [make_document() for _ in range(WAITING)]
    with (
        # Its beat drains what the killed one had claimed, once that lease has run out.
        _worker(rabbitmq, tmp_path / "last", beat=True) as last,
        _worker(rabbitmq, tmp_path / "killed") as killed,
        _worker(rabbitmq, tmp_path / "stopped") as stopped,
        Connection(rabbitmq) as connection,
    ):
        with _history_locked():
            for document in documents:
                send(connection, document)
            # Recorded, and not acknowledged: the drain behind it waits for the lock.
            wait_until(killed.taken_along, "a batch is recorded")
            killed.kill9()
        stopped.terminate()

        def come_again() -> bool:
            others = stopped.output() + last.output()
            return all(task_id in others for task_id in killed.taken_along())

        wait_until(come_again, "what the killed worker had recorded is delivered again")
        wait_until(lambda: _settled() == WAITING, "all are settled")
    assert CombatHistory.objects.count() == WAITING


def _worker(
    url: str, folder: Path, *, beat: bool = False
) -> AbstractContextManager[CeleryProcess]:
    # RabbitMQ lets in one of a name.
    return running_worker(
        folder, concurrency=1, beat=beat, name=folder.name, CELERY_BROKER_URL=url
    )


@contextmanager
def _history_locked() -> Iterator[None]:
    """Nothing is settled meanwhile."""
    with psycopg.connect(database_url()) as connection:
        connection.execute("LOCK TABLE combat_history IN ACCESS EXCLUSIVE MODE")
        yield


def _settled() -> int:
    return CombatHistory.objects.filter(settlement_status="processed").count()
