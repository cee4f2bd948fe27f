"""`manage.py demo` and `manage.py run` as a stranger starts them."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from django.conf import settings
from psycopg import sql

from benchmarks.servers import drop_database
from tests.support.mortal import mortal
from tests.support.waiting import wait_until
from tests.support.worker import PROJECT_ROOT

START_SECONDS = 120
"""Bounds a failure alone: a busy machine takes long to start four programs."""
END_SECONDS = 90

OWN_FIGHTS = ("their fights, settled once", "abandoned fights, ended by force")
"""Lines of the summary about the adventurers' fights."""

COUNTS = """
SELECT settlement_status || COALESCE(': ' || failure_code, ''), count(*)
FROM combat_history GROUP BY 1
UNION ALL
SELECT 'rejected: ' || code, count(*) FROM rejected_payloads
WHERE session_id IS NULL GROUP BY 1
UNION ALL
SELECT 'conflicting documents refused', count(*) FROM rejected_payloads
WHERE code = 'payload_conflict'
UNION ALL
SELECT 'discrepancies recorded', count(*) FROM settlement_discrepancies
"""


class Arena:
    """A database and a data directory of their own, and the tested Redis, emptied."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.data = folder
        self.database_url = database_url
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *command: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            mortal(sys.executable, "manage.py", *command),
            cwd=PROJECT_ROOT,
            env={
                **os.environ,
                "DATABASE_URL": self.database_url,
                "REDIS_URL": settings.REDIS_URL,
                "CELERY_BROKER_URL": settings.BROKER_URL,
                "SETTLEMENT_DATA_DIR": str(self.data),
                "PYTHONUNBUFFERED": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def demo(self, *options: str) -> tuple[int, str]:
        """A whole demo: exit status and output."""
        process = self.start("demo", *options)
        output, _ = process.communicate(timeout=START_SECONDS + END_SECONDS)
        return process.returncode, output

    def journal(self, event: str) -> list[dict[str, Any]]:
        """Lines of one kind, over all journals, the last of a killed run excepted."""
        text = "".join(
            path.read_text(encoding="utf-8")
            for path in sorted(self.data.glob("journals/*.jsonl"))
        )
        whole, _, _ = text.rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        return [line for line in lines if line["event"] == event]

    def wait_for_answers(self, number: int) -> None:
        """Until that many deliveries are made: a demo is in full swing."""
        wait_until(
            lambda: len(self.journal("answer")) >= number, "fights", START_SECONDS
        )

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def arena(tmp_path: Path, redis_client: redis.Redis) -> Iterator[Arena]:
    name = f"demo_{secrets.token_hex(4)}"
    url = urlsplit(settings.DATABASE_URL)._replace(path=f"/{name}").geturl()
    create = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as connection:
        connection.execute(create)
        arena = Arena(tmp_path, url)
        yield arena
        for process in arena.started:
            process.kill()
            process.communicate()
        drop_database(connection, name)


def children(pid: int) -> set[int]:
    """All living descendants of a process."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = {int(child) for child in listed}
    return found.union(*(children(child) for child in found))


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until_gone(pids: set[int]) -> None:
    assert pids
    wait_until(lambda: all(map(is_gone, pids)), f"the end of {pids}")


def table(output: str) -> dict[str, tuple[int, int]]:
    """The summary's lines: what, expected, found."""
    lines = re.findall(r"^ *(\S.*?) {2,}(\d+) +(\d+)", output, re.MULTILINE)
    return {what: (int(expected), int(found)) for what, expected, found in lines}


def test_every_fight_is_settled_and_the_same_seed_repeats_the_run(
    arena: Arena, redis_client: redis.Redis, tmp_path: Path
) -> None:
    options = ("--combats", "60", "--seed", "7", "--clock", "1735460000")
    status, output = arena.demo(*options)
    assert status == 0, output
    assert "seed 7" in output
    told = table(output)
    assert told["combats accounted for once"] == (60, 60)
    assert told["characters own what they should"] == (284, 284)
    assert told["inventories, row by row"] == (16, 16)
    assert all(expected == found for expected, found in told.values())
    counted = {row[0]: row[1] for row in arena.query(COUNTS)}
    fights = ("processed", *OWN_FIGHTS)
    assert counted.pop("processed") == sum(told[what][1] for what in fights)
    assert counted == {what: told[what][1] for what in counted}
    # A plain pipe gets plain lines.
    assert "Submitted 60/60, settled 60" in output
    assert "\r" not in output
    sent = arena.journal("submission")
    owned = arena.journal("opening")
    done = arena.journal("deed")
    kinds = {line["kind"] for line in sent}
    assert {"duplicate", "late", "conflict", "malformed", "shortage"} <= kinds

    # Over the same tables the same fights would all be repetitions.
    status, output = arena.demo(*options)
    assert status == 1
    assert "played already" in output

    arena.data = tmp_path / "again"
    arena.query("DROP SCHEMA public CASCADE")
    arena.query("CREATE SCHEMA public")
    redis_client.flushdb()
    again = arena.start("demo", *options)
    arena.wait_for_answers(10)
    again.kill()
    again.wait()
    repeated = arena.journal("submission")
    assert repeated == sent[: len(repeated)] != []
    assert arena.journal("opening") == owned
    repeated = arena.journal("deed")
    assert repeated == done[: len(repeated)]


def test_what_does_not_come_from_the_fights_fails_the_demo(arena: Arena) -> None:
    demo = arena.start("demo", "--combats", "60")
    arena.wait_for_answers(10)
    arena.query("UPDATE characters SET gold = gold + 500 WHERE id = 1001")
    arena.query(
        "INSERT INTO settlement_ledger (session_id, revision, character_id, kind,"
        " xp_delta, gold_delta, xp_after, gold_after)"
        " SELECT session_id, 2, character_id, kind, 0, 0, xp_after, gold_after"
        " FROM settlement_ledger WHERE kind = 'settlement' LIMIT 1"
    )
    # Of adventurers: a coin more, a sword that a fight holds, news from the future.
    arena.query("UPDATE inventory SET quantity = quantity + 1 WHERE id = 12995")
    arena.query(
        "UPDATE inventory SET reserved_session_id = gen_random_uuid() WHERE id = 12990"
    )
    arena.query(
        "UPDATE characters SET hp = 1, vitals_at = now() + interval '1 hour'"
        " WHERE id = 1300"
    )
    output, _ = demo.communicate(timeout=END_SECONDS)
    assert demo.returncode == 1
    told = table(output)
    assert told["characters own what they should"] == (284, 283)
    assert told["inventories, row by row"] == (16, 15)
    assert told["belt items still reserved"] == (0, 1)
    assert told["hp, energy, place: the newest"] == (16, 15)
    assert told["combats accounted for once"] == (60, 59)
    assert re.search(r"character 1001: gold: expected \d+, found \d+", output)
    assert "NOT everything" in output


def test_kill_9_leaves_no_process_and_the_next_run_is_right(arena: Arena) -> None:
    demo = arena.start("demo", "--combats", "500")
    arena.wait_for_answers(40)
    processes = children(demo.pid)
    assert len(processes) >= 4
    demo.kill()
    wait_until_gone(processes)
    status, output = arena.demo("--combats", "20")
    assert status == 0, output
    ((pending,),) = arena.query(
        "SELECT count(*) FROM combat_history WHERE settlement_status = 'pending'"
    )
    assert pending == 0


def test_a_killed_worker_is_replaced_and_nothing_is_lost(arena: Arena) -> None:
    demo = arena.start("demo", "--combats", "60")
    arena.wait_for_answers(10)
    (worker,) = {
        pid
        for pid in children(demo.pid)
        if "worker" in command_line(pid) and len(children(pid)) == 2
    }
    os.kill(worker, signal.SIGKILL)
    output, _ = demo.communicate(timeout=START_SECONDS + END_SECONDS)
    assert demo.returncode == 0, output
    assert "worker died of SIGKILL: started again." in output


def test_ctrl_c_stops_all_that_the_demo_started(arena: Arena) -> None:
    demo = arena.start("demo", "--combats", "500")
    arena.wait_for_answers(20)
    processes = children(demo.pid)
    demo.send_signal(signal.SIGINT)
    output, _ = demo.communicate(timeout=END_SECONDS)
    assert demo.returncode == 130
    wait_until_gone(processes)
    assert "Traceback" not in output


def test_run_serves_the_admin_and_flower_and_goes_on_until_ctrl_c(
    arena: Arena,
) -> None:
    run = arena.start("run")
    output = read_until(run, "Ctrl-C stops everything.\n")
    admin, flower = re.findall(r"http://127\.0\.0\.1:\d+/\S*", output)
    password = (arena.data / "admin-password").read_text().strip()
    assert output.count(f"login admin, password {password}") == 2
    assert (arena.data / "admin-password").stat().st_mode & 0o777 == 0o600

    assert get(admin)[0] == 200
    assert get(f"{admin.removesuffix('admin/')}static/admin/css/base.css")[0] == 200
    assert get(f"{flower}api/tasks")[0] == 401
    # Of ops/: what Flower shows it cannot change.
    shutdown = f"{flower}api/worker/shutdown/celery"
    assert get(shutdown, password, method="POST")[0] == 403
    beating = {
        file.name.partition(".")[0] for file in (arena.data / "heartbeats").iterdir()
    }
    assert beating == {"worker", "beat"}
    wait_until(lambda: shown_sessions(flower, password), "a combat in Flower")
    wait_until(lambda: arena.query("SELECT 1 FROM combat_history"), "it is settled")

    (beat,) = {pid for pid in children(run.pid) if " beat " in command_line(pid)}
    os.kill(beat, signal.SIGKILL)
    again = "beat died of SIGKILL: started again.\n"
    assert read_until(run, again).endswith(again)

    processes = children(run.pid)
    run.send_signal(signal.SIGINT)
    rest, _ = run.communicate(timeout=END_SECONDS)
    assert run.returncode == 0
    assert rest.endswith("Stopped.\n")
    wait_until_gone(processes)


def read_until(process: subprocess.Popen[str], last: str) -> str:
    """Lines up to `last`, or all of them where the process ends before."""
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if line == last:
            break
    return text


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def get(url: str, password: str = "", method: str = "GET") -> tuple[int, bytes]:
    request = urllib.request.Request(url, method=method)
    if password:
        token = base64.b64encode(f"admin:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, b""


def shown_sessions(flower: str, password: str) -> set[str]:
    """Session ids that Flower shows as arguments of settle_combat."""
    tasks = json.loads(get(f"{flower}api/tasks", password)[1])
    shown = {t["args"] for t in tasks.values() if t["name"] == "settle_combat"}
    return {text for text in shown if re.fullmatch(r"\([0-9a-f-]{36},\)", text)}
