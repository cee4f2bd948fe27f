"""The API as it is deployed: uvicorn in a process of its own, and a worker."""

from __future__ import annotations

import ctypes
import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from combat_history.models import Character
from persistence.document import Document
from tests.support.api import TOKEN, result_path
from tests.support.factories import HERO, sample_document
from tests.support.waiting import wait_until
from tests.support.worker import PROJECT_ROOT, CeleryProcess, environment

CONNECTIONS = 2
NAME = "web-under-test"


class Web:
    """uvicorn on a port that was taken before it started."""

    def __init__(self, log: Path) -> None:
        self._log = log
        with socket.create_server(("127.0.0.1", 0)) as listener, log.open("wb") as out:
            self.address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            fd = listener.fileno()
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "uvicorn", "--fd", str(fd)),
                    "settlement_project.asgi:application",
                ],
                cwd=PROJECT_ROOT,
                env=environment(
                    SETTLEMENT_API_TOKENS=TOKEN,
                    SETTLEMENT_DATABASE_POOL=str(CONNECTIONS),
                    PGAPPNAME=NAME,
                ),
                pass_fds=[fd],
                stdout=out,
                stderr=out,
                # Dies with the test run, however that ends.
                preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL),
            )

    def ask(self, path: str, document: Document | None = None) -> tuple[int, Any]:
        asked = urllib.request.Request(
            self.address + path,
            data=None if document is None else json.dumps(document).encode(),
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        try:
            with urllib.request.urlopen(asked, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def wait_ready(self) -> None:
        def is_ready() -> bool:
            assert self._process.poll() is None, self._log.read_text()
            try:
                return self.ask("/readyz")[0] == 200
            except OSError:
                return False

        wait_until(is_ready, "uvicorn is ready")

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        finally:
            self._process.kill()


@pytest.fixture
def web(world: None, tmp_path: Path) -> Iterator[Web]:
    web = Web(tmp_path / "uvicorn.log")
    try:
        web.wait_ready()
        yield web
    finally:
        web.stop()


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
