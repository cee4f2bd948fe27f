"""The API as it is deployed: uvicorn in a process of its own, and a worker."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connection

from combat_history.models import Character
from tests.support.api import result_path
from tests.support.documents import HERO, sample_document
from tests.support.waiting import wait_until
from tests.support.web import Web, running_web
from tests.support.worker import CeleryProcess

CONNECTIONS = 2
NAME = "web-under-test"


@pytest.fixture
def web(world: None, tmp_path: Path) -> Iterator[Web]:
    env = {"SETTLEMENT_DATABASE_POOL": str(CONNECTIONS), "PGAPPNAME": NAME}
    with running_web(tmp_path / "uvicorn.log", **env) as web:
        yield web


def connections_of_web() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [NAME]
        )
        count: int = cursor.fetchone()[0]
    return count


def test_fight_handed_off_over_http_is_settled_and_told(
    web: Web, worker: CeleryProcess
) -> None:
    document = sample_document()

    status, told = web.ask("/api/combats", document)
    assert (status, told["duplicate"]) == (202, False)

    path = result_path(document["session_id"], language="en")
    wait_until(lambda: web.ask(path)[1]["credit"] == "credited", "it is credited")
    assert Character.objects.get(pk=HERO).gold == 100
    assert web.ask("/api/combats", document)[1]["duplicate"] is True
    assert web.ask(result_path(document["session_id"], 102))[0] == 404


def test_many_requests_at_once_share_the_connections_of_the_pool(web: Web) -> None:
    paths = [f"/api/characters/{HERO}/belt", f"/api/characters/{HERO}/combats"] * 40
    most = 0

    with ThreadPoolExecutor(8) as callers:
        answers = [callers.submit(web.ask, path) for path in paths]
        for answer in answers:
            assert answer.result()[0] == 200
            most = max(most, connections_of_web())

    assert 1 <= most <= CONNECTIONS
