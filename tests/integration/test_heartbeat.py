"""Heartbeat files of real workers and of beat, and the check that containers run."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from persistence.protocols import QUEUE
from persistence.worker.heartbeat import FOLDER_VARIABLE, TOUCH_SECONDS
from settlement_project.celery import app
from tests.support.waiting import wait_until
from tests.support.worker import PROJECT_ROOT, CeleryProcess, running_beat, start_worker

SCRIPT = PROJECT_ROOT / "persistence" / "worker" / "heartbeat.py"


def check(kind: str, folder: Path | None, *arguments: str) -> tuple[int, str]:
    """As a container runs it: nothing of the environment but the folder."""
    env = {} if folder is None else {FOLDER_VARIABLE: str(folder)}
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), kind, *arguments],
        cwd=PROJECT_ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stderr.strip()


def own_file(folder: Path, kind: str) -> Path:
    return folder / f"{kind}.{socket.gethostname()}"


def age(file: Path, seconds: float) -> None:
    moment = time.time() - seconds
    os.utime(file, (moment, moment))


def test_a_fresh_file_is_life_and_an_old_one_is_not(tmp_path: Path) -> None:
    assert check("worker", tmp_path) == (1, "worker: no heartbeat")
    own_file(tmp_path, "worker").touch()
    assert check("worker", tmp_path) == (0, "")
    assert check("beat", tmp_path)[0] == 1

    age(own_file(tmp_path, "worker"), 90)
    status, said = check("worker", tmp_path)
    assert status == 1
    assert said.startswith("worker: last heartbeat 9")
    assert check("worker", tmp_path, "--max-age", "100") == (0, "")


def test_another_machine_does_not_speak_for_this_one(tmp_path: Path) -> None:
    (tmp_path / "worker.another").touch()
    assert check("worker", tmp_path)[0] == 1


def test_without_a_folder_it_says_so() -> None:
    assert check("worker", None) == (1, f"{FOLDER_VARIABLE} is not set")


def test_the_check_loads_neither_django_nor_celery(tmp_path: Path) -> None:
    own_file(tmp_path, "beat").touch()
    code = (
        "import runpy, sys; sys.argv = ['heartbeat.py', 'beat']; "
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__'); "
        "assert not {'django', 'celery', 'settlement_project'} & set(sys.modules)"
    )
    env = {FOLDER_VARIABLE: str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=60)


def touched_again(file: Path) -> None:
    wait_until(file.exists, f"{file} is there")
    age(file, 1000)
    wait_until(lambda: time.time() - file.stat().st_mtime < 60, f"{file} is touched")


@pytest.mark.usefixtures("world")
def test_a_worker_and_its_beat_keep_theirs_until_they_stop(tmp_path: Path) -> None:
    # Neither made beforehand nor kept where none is asked for.
    folder = tmp_path / "made" / "by-the-worker"
    worker = start_worker(tmp_path, beat=True, SETTLEMENT_HEARTBEAT_DIR=str(folder))
    try:
        for kind in ("worker", "beat"):
            touched_again(own_file(folder, kind))
            assert check(kind, folder) == (0, "")
    finally:
        worker.terminate()
    assert not own_file(folder, "worker").exists()


@pytest.mark.usefixtures("world")
def test_a_worker_whose_loop_stands_still_is_found_out(tmp_path: Path) -> None:
    worker = start_worker(tmp_path, SETTLEMENT_HEARTBEAT_DIR=str(tmp_path))
    file = own_file(tmp_path, "worker")
    try:
        os.kill(worker.pid, signal.SIGSTOP)
        age(file, 90)
        assert check("worker", tmp_path)[0] == 1
        os.kill(worker.pid, signal.SIGCONT)
        touched_again(file)
    finally:
        os.kill(worker.pid, signal.SIGCONT)
        worker.terminate()


@pytest.mark.usefixtures("world")
def test_a_worker_that_takes_from_a_queue_no_more_is_found_out(tmp_path: Path) -> None:
    worker = start_worker(
        tmp_path,
        SETTLEMENT_HEARTBEAT_DIR=str(tmp_path),
        SETTLEMENT_REMOTE_CONTROL="true",
    )
    file = own_file(tmp_path, "worker")
    try:
        touched_again(file)
        assert app.control.cancel_consumer(QUEUE, reply=True, timeout=10, limit=1)
        age(file, 90)
        time.sleep(TOUCH_SECONDS + 1)
        assert check("worker", tmp_path)[0] == 1
        assert worker.is_alive
    finally:
        worker.terminate()


@pytest.mark.usefixtures("world")
def test_broadcasts_do_nothing_where_remote_control_is_off(tmp_path: Path) -> None:
    worker = start_worker(tmp_path, SETTLEMENT_HEARTBEAT_DIR=str(tmp_path))
    try:
        app.control.cancel_consumer(QUEUE)
        app.control.shutdown()
        time.sleep(1)
        touched_again(own_file(tmp_path, "worker"))
        assert check("worker", tmp_path) == (0, "")
        assert worker.is_alive
    finally:
        worker.terminate()


@pytest.mark.usefixtures("world")
def test_beat_alone_keeps_its_own(tmp_path: Path) -> None:
    forgotten = tmp_path / "beat.long-gone"
    forgotten.touch()
    age(forgotten, 3 * 24 * 60 * 60)
    with running_beat(tmp_path, SETTLEMENT_HEARTBEAT_DIR=str(tmp_path)):
        touched_again(own_file(tmp_path, "beat"))
        assert not own_file(tmp_path, "worker").exists()
    assert not own_file(tmp_path, "beat").exists()
    assert not forgotten.exists()


@pytest.mark.usefixtures("world")
def test_a_worker_that_cannot_keep_one_does_not_start(tmp_path: Path) -> None:
    file = tmp_path / "no-folder"
    file.touch()
    env = {FOLDER_VARIABLE: str(file)}
    worker = CeleryProcess(tmp_path, ["worker", "--loglevel", "INFO"], env)
    try:
        wait_until(lambda: not worker.is_alive, "it has ended")
    finally:
        worker.kill9()
    assert "FileExistsError" in worker.output()
