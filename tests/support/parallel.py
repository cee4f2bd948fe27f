"""Work that really happens at once: threads and processes that start together."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier

import psycopg
from django.db import connection

from tests.support.mortal import mortal
from tests.support.waiting import wait_until
from tests.support.worker import PROJECT_ROOT, database_url, environment

# Set up once, then forked: nothing is connected yet. The children wait for the pipe's
# end, which comes when all of them are there.
_PROCESSES = """
import json, os, sys
import django

django.setup()
from persistence.tasks import settle_combat, settle_inbox

inputs = json.load(sys.stdin)
start, all_forked = os.pipe()
children = []
for number, arguments in enumerate(inputs):
    if pid := os.fork():
        children.append(pid)
        continue
    os.close(all_forked)
    log = os.open(f"{{sys.argv[1]}}/process-{{number}}.log", os.O_CREAT | os.O_WRONLY)
    os.dup2(log, 2)
    os.read(start, 1)
    for argument in arguments:
        {call}
    sys.exit()
os.close(all_forked)
sys.exit(any([os.waitpid(pid, 0)[1] for pid in children]))
"""


def in_threads(*calls: Callable[[], object]) -> None:
    """Run the calls at once, each on a database connection of its own."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], object]) -> None:
        barrier.wait(10)
        try:
            call()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        for future in [pool.submit(run, call) for call in calls]:
            future.result()


def in_processes(
    call: str, inputs: Sequence[Sequence[object]], folder: Path, **env: str
) -> list[str]:
    """Run `call` for each `argument` of each input, one process an input.

    All processes start together. Returns their logs; fails where one did not end well.
    """
    code = _PROCESSES.format(call=call)
    settings = {"DJANGO_SETTINGS_MODULE": "settlement_project.settings"}
    ended = subprocess.run(
        mortal(sys.executable, "-c", code, str(folder)),
        cwd=PROJECT_ROOT,
        env=environment(**settings, **env),
        input=json.dumps(inputs),
        text=True,
        timeout=100,
        check=False,
    )
    logs = [
        (folder / f"process-{number}.log").read_text(encoding="utf-8")
        for number in range(len(inputs))
    ]
    assert ended.returncode == 0, logs
    return logs


@contextmanager
def character_locked(character_id: int) -> Iterator[None]:
    """Another transaction holds the character's row for the length of the block."""
    with psycopg.connect(database_url()) as other:
        other.execute(
            "SELECT 1 FROM characters WHERE id = %s FOR UPDATE", [character_id]
        )
        yield
        other.rollback()


def wait_until_blocked(connections: int) -> None:
    """Until as many connections of the test database wait for a lock."""
    statement = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'
    """
    with psycopg.connect(database_url(), autocommit=True) as watcher:

        def are_blocked() -> bool:
            row = watcher.execute(statement).fetchone()
            return row is not None and row[0] >= connections

        wait_until(are_blocked, f"{connections} connections wait for a lock")
