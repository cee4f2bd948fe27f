"""The fault matrix: a combat at each point of its life, met by each kind of fault.

`tests/chaos/matrix.py` names the cells. `--soak` plays all of them (`make matrix`); the
suite plays a part that a seed chooses.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from persistence.contract.errors import HandoffFailed
from persistence.dispatcher import SyncDispatcher
from tests.chaos.load import bare_producer, wait_settled
from tests.chaos.matrix import PLAYED
from tests.chaos.points import POINTS, Point, Stage
from tests.chaos.rig import Cables, ServerPair, Staff, kill_server
from tests.support.journal import Fight
from tests.support.ledger_oracle import Oracle


@pytest.fixture
def stage(
    pair: ServerPair, cables: Cables, wired: Staff, watch: Oracle
) -> Iterator[Stage]:
    with ExitStack() as stack:
        made = Stage(pair, cables, wired, stack)
        stack.callback(made.release)
        stack.callback(made.end_replay)
        yield made


@pytest.fixture
def older_redis(pair: ServerPair, watch: Oracle, tmp_path: Path) -> Path:
    """What Redis holds before the fight: the fail-over to a replica that lags."""
    copy = tmp_path / "older"
    _copy(pair.folder / "redis", copy)
    return copy


def _copy(source: Path, target: Path) -> None:
    """With owners, as the servers run under one of their own."""
    subprocess.run(["cp", "--archive", str(source), str(target)], check=True)


def _kill_process(stage: Stage, point: Point, *_: object) -> None:
    if point.process == "engine":
        stage.engine.kill9()
    elif point.process == "admin":
        stage.end_replay()
    else:
        stage.staff.worker.kill9()


def _kill_redis(stage: Stage, *_: object) -> None:
    kill_server(stage.pair.redis)
    stage.pair.redis.restart()


def _lose_data(stage: Stage, _: Point, __: Fight, older: Path) -> None:
    kill_server(stage.pair.redis)
    shutil.rmtree(stage.pair.folder / "redis")
    _copy(older, stage.pair.folder / "redis")
    stage.pair.redis.restart()


def _kill_postgres(stage: Stage, *_: object) -> None:
    kill_server(stage.pair.postgres)
    stage.pair.postgres.restart()


def _cut_line(stage: Stage, point: Point, *_: object) -> None:
    """Everybody waits on a dead line for a while, and then hears that it is closed."""
    time.sleep(0.5)
    stage.lines[point.line].cut()


def _deliver_again(stage: Stage, _: Point, fight: Fight, __: Path) -> None:
    """Through both doors, past whoever is held."""
    with bare_producer(stage.pair.redis_url()) as producer:
        producer.send_task("settle_combat", args=[fight.document])
    other = SyncDispatcher(stage.pair.redis_url())
    with suppress(HandoffFailed):
        other.submit_combat_sync(fight.document)
        stage.journal.accepted.add(fight.session_id)
    other.close()


Strike = Callable[[Stage, Point, Fight, Path], None]
STRIKES: dict[str, Strike] = {
    "process_kill": _kill_process,
    "redis_kill": _kill_redis,
    "data_loss": _lose_data,
    "postgres_kill": _kill_postgres,
    "network_cut": _cut_line,
    "duplicate": _deliver_again,
}


@pytest.mark.parametrize("cell", PLAYED)
def test_cell(stage: Stage, older_redis: Path, cell: str) -> None:
    name, fault = cell.split("-")
    point = POINTS[name]
    fight = stage.new_fight(point.failure)
    point.reach(stage, fight)
    STRIKES[fault](stage, point, fight, older_redis)
    stage.release()
    stage.staff.supervise()
    stage.insist(fight, point.door)
    point.end(stage, fight)
    with stage.oracle() as oracle:
        wait_settled(oracle, stage.journal, stage.staff.supervise)
