"""Counts by the minute: added up over threads, flushes and processes."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from django.db import connection
from django.db.models import Sum

from combat_history.models import MinuteCount
from persistence.worker import counts
from tests.support import worker
from tests.support.mortal import mortal
from tests.support.waiting import wait_until


def total(name: str) -> int:
    found = MinuteCount.objects.filter(name=name).aggregate(total=Sum("count"))
    return found["total"] or 0


@pytest.mark.django_db
def test_flushes_add_up() -> None:
    counts.count("adds.up")
    counts.count("adds.up", 41)
    counts.count("adds.once")
    counts.count("adds.nothing", 0)
    assert counts.flush()
    counts.count("adds.up", 8)
    assert counts.flush()
    assert counts.flush()

    assert total("adds.up") == 50
    assert total("adds.once") == 1
    assert not MinuteCount.objects.filter(name="adds.nothing").exists()
    row = MinuteCount.objects.filter(name="adds.up").latest("minute")
    assert (row.minute.second, row.minute.microsecond) == (0, 0)


@pytest.mark.django_db(transaction=True)
def test_no_count_is_lost_between_threads_and_flushes() -> None:
    def work() -> None:
        for _ in range(2000):
            counts.count("threads")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        counts.flush()
    counts.flush()

    assert total("threads") == 8000


@pytest.mark.django_db(transaction=True)
def test_counts_wait_for_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    counts.count("waits", 3)
    with monkeypatch.context() as patch:
        connection.close()
        patch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
        patch.setitem(connection.settings_dict, "PORT", "1")
        assert not counts.flush()
        counts.count("waits", 4)
        assert not counts.flush()
    connection.close()

    assert counts.flush()

    assert total("waits") == 7


@pytest.mark.django_db(transaction=True)
def test_memory_is_bounded_while_postgresql_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts.flush()
    monkeypatch.setattr(counts, "MAX_PENDING", 2)
    for name in ("bound.a", "bound.b", "bound.c", "bound.a"):
        counts.count(name)
    counts.flush()
    assert [total(f"bound.{name}") for name in "abc"] == [2, 1, 0]


PROCESS = """
import sys, django
django.setup()
from persistence.worker import counts
counts.flush_in_background()
counts.count("background", 2)
sys.stdin.readline()
counts.count("background", 3)
"""


@pytest.mark.django_db(transaction=True)
def test_a_process_flushes_by_itself_and_at_its_end() -> None:
    env = worker.environment(DJANGO_SETTINGS_MODULE="settlement_project.settings")
    with subprocess.Popen(
        mortal(sys.executable, "-c", PROCESS),
        cwd=worker.PROJECT_ROOT,
        env=env,
        stdin=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_until(lambda: total("background") == 2, "counted while it runs")
            process.communicate("end\n", timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
    assert total("background") == 5
