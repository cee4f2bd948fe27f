"""Whose processes the embedded servers are, and what they may touch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from devservers import kept, postgres
from tests.support.embedded_pair import (
    DAC_OVERRIDE,
    PROJECT_ROOT,
    SERVERS,
    TIMEOUT_SECONDS,
    USER,
    Pair,
    access_to,
    answers,
    pair_over,
    process_field,
)

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="what root must not do shows only where root runs it"
)


def test_closed_parent_folders_work_and_stay_closed(tmp_path: Path) -> None:
    parent = tmp_path / "closed"
    parent.mkdir(mode=0o700)
    before = access_to(parent, *parent.parents)

    with pair_over(parent / "repository" / ".data") as pair:
        assert answers(pair.attach())

    assert access_to(parent, *parent.parents) == before


@needs_root
def test_root_serves_an_open_folder_without_any_power() -> None:
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        with pair_over(folder / "data") as pair:
            pair.attach()
            for name in SERVERS:
                assert process_field(pair.pid(name), "Uid") != "0"
                assert int(process_field(pair.pid(name), "CapEff"), 16) == 0
    finally:
        shutil.rmtree(folder)


@needs_root
def test_root_can_serve_with_binaries_in_a_closed_folder(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    installed = postgres.binaries().parents[1]
    for name in (installed.name, f"{installed.name}.libs"):
        subprocess.run(["cp", "-a", installed.parent / name, closed], check=True)

    with pair_over(tmp_path / "data") as pair:
        assert answers(pair.attach(env={"PYTHONPATH": str(closed)}))

        command = Path(f"/proc/{pair.pid('postgres')}/cmdline").read_text("utf-8")
        assert command.startswith(str(closed))
        assert int(process_field(pair.pid("postgres"), "CapEff"), 16) == DAC_OVERRIDE


@needs_root
def test_root_of_a_sandbox_with_one_user_can_serve(fresh: Pair) -> None:
    sandbox = ("unshare", "--user", "--map-root-user")
    if subprocess.run([*sandbox, "true"], capture_output=True).returncode:
        pytest.skip("the sandbox is a user namespace, which this machine forbids")

    urls = fresh.attach(prefix=sandbox)

    assert answers(urls)
    assert (fresh.data_dir / "postgres").stat().st_uid == 0


@needs_root
def test_data_of_another_user_is_refused_in_plain_words() -> None:
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        with pair_over(folder / "data") as pair:
            pair.attach()
            stranger = pair.user(
                "import os; " + USER.replace("servers =", "os.setuid(12345); servers =")
            )
            _, error = stranger.communicate(timeout=TIMEOUT_SECONDS)
            assert "is closed to this user (uid 12345)" in error
    finally:
        shutil.rmtree(folder)


STRANGER = """
import os, sys
from pathlib import Path
import psycopg, redis
from tests.support.embedded_pair import reached

data_dir, database_url, port = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
cache = redis.Redis("127.0.0.1", port)
# All that is imported late is imported now: the code may be closed to him as well.
psycopg.connect(database_url).close()
reached(cache.ping)
os.setgroups([])
os.setgid(12345)
os.setuid(12345)
attempts = {
    "list": lambda: os.listdir(data_dir),
    **{name: (data_dir / name).read_bytes for name in sys.argv[4:]},
    "socket": lambda: psycopg.connect(database_url),
    "superuser": lambda: psycopg.connect(database_url, user="postgres"),
    "ping": cache.ping,
    "config": lambda: cache.config_set("dir", "/tmp"),
}
print([name for name, attempt in attempts.items() if reached(attempt)])
"""
"""Somebody else on this machine, who knows every address and name but no secret."""


@needs_root
@pytest.mark.parametrize("mode", [0o710, 0o755], ids=oct)
def test_another_user_of_the_machine_gets_nothing(mode: int) -> None:
    """Also not where the folder is open, as before secrets were kept in it."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        with pair_over(folder / "data") as pair:
            database_url, redis_url = pair.attach()
            kept.secret(pair.data_dir / "secret-key")
            pair.data_dir.chmod(mode)
            files = ["env", "servers.json", "secret-key", "redis-password"]
            logs = [f"logs/{name}.log" for name in (*SERVERS, "supervisor")]
            port = str(urlsplit(redis_url).port)
            program = [sys.executable, "-c", STRANGER, str(pair.data_dir)]
            told = subprocess.run(
                [*program, database_url, port, *files, *logs],
                cwd=PROJECT_ROOT,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
            )
    finally:
        shutil.rmtree(folder)

    reached = ["list"] if mode == 0o755 else []
    assert told.stdout.strip() == str(reached), told.stderr


def test_no_secret_stands_in_a_command_line(shared: Pair) -> None:
    password = urlsplit(shared.attach()[1]).password or ""

    command = Path(f"/proc/{shared.pid('redis')}/cmdline").read_text("utf-8")

    assert len(password) > 20
    assert password not in command


def test_who_asks_at_once_gets_one_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        drawn = set(pool.map(kept.secret, [tmp_path / "new" / "secret"] * 8))

    assert len(drawn) == 1
    assert (tmp_path / "new" / "secret").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["secret"]
