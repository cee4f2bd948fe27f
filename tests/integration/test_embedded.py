"""The embedded pair, with real servers, real users (processes) and real kills."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from settlement_project import embedded
from settlement_project.embedded import EmbeddedError, locks, postgres
from settlement_project.embedded import redis as embedded_redis
from settlement_project.embedded.supervisor import GRACE_SECONDS

PROJECT_ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 30
SERVERS = ("postgres", "redis")
DAC_OVERRIDE = 1 << 1

USER = """
import sys
from pathlib import Path
from settlement_project.embedded import ensure

servers = ensure(Path(sys.argv[1]))
print(servers.database_url, servers.redis_url, flush=True)
"""
STAYING_USER = USER + "sys.stdin.read()\n"
# A worker with one pool process; that one speaks, so it is there when we listen.
FORKING_USER = STAYING_USER.replace("print", "import os; os.fork() or print")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="about running as root")


class Pair:
    """One data directory, and the users that a test lets come and go."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.users: list[subprocess.Popen[str]] = []

    def user(
        self,
        code: str = STAYING_USER,
        env: Mapping[str, str] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*prefix, sys.executable, "-c", code, str(self.data_dir)],
            cwd=PROJECT_ROOT,
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.users.append(process)
        return process

    def attach(self, **options: Any) -> tuple[str, str]:
        """A new user's DATABASE_URL and REDIS_URL, once it has them."""
        return urls_of(self.user(**options))

    def leave(self) -> None:
        """All users end, forked children included."""
        for process in self.users:
            process.communicate(timeout=TIMEOUT_SECONDS)
        self.users.clear()

    def pid(self, name: str) -> int:
        text = (self.data_dir / "servers.json").read_text(encoding="utf-8")
        return int(json.loads(text)[f"{name}_pid"])

    def is_gone(self) -> bool:
        """No supervisor and no server process: their locks are free."""
        return all(self._is_free(name) for name in ("supervisor", *SERVERS))

    def stop(self) -> None:
        """Do not wait for the grace period."""
        self.leave()
        embedded.stop(self.data_dir)
        assert self.is_gone()

    def _is_free(self, name: str) -> bool:
        lock = locks.open_lock(self.data_dir, name)
        try:
            return locks.try_exclusive(lock)
        finally:
            os.close(lock)


def urls_of(user: subprocess.Popen[str]) -> tuple[str, str]:
    assert user.stdout is not None
    words = user.stdout.readline().split()
    if len(words) != 2:
        pytest.fail(f"ensure failed: {user.communicate()[1]}")
    return words[0], words[1]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def query(database_url: str, sql: str) -> Any:
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = connection.execute(sql.encode()).fetchone()
    return row[0] if row else None


def execute(database_url: str, sql: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(sql.encode())


@contextlib.contextmanager
def cache(redis_url: str) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    try:
        yield client
    finally:
        client.close()


def answers(urls: tuple[str, str]) -> bool:
    try:
        with cache(urls[1]) as client:
            return query(urls[0], "SELECT 1") == 1 and bool(client.ping())
    except (psycopg.OperationalError, redis.ConnectionError):
        return False


def remember_something(urls: tuple[str, str]) -> None:
    execute(urls[0], "CREATE TABLE kept AS SELECT 42 AS answer")
    with cache(urls[1]) as client:
        client.set("kept", "42")


def remembers(urls: tuple[str, str]) -> bool:
    with cache(urls[1]) as client:
        return query(urls[0], "SELECT answer FROM kept") == 42 and (
            client.get("kept") == "42"
        )


def process_field(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{name}:"))


def access_to(*paths: Path) -> list[tuple[int, int, int]]:
    found = [path.stat() for path in paths]
    return [(one.st_mode, one.st_uid, one.st_gid) for one in found]


@contextlib.contextmanager
def pair_over(data_dir: Path) -> Iterator[Pair]:
    pair = Pair(data_dir)
    try:
        yield pair
    finally:
        if data_dir.exists():
            pair.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """For the tests that only look: one pair, started by the first of them."""
    with pair_over(tmp_path_factory.mktemp("shared") / "data") as made:
        yield made


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Pair]:
    """No data yet: the first user makes the cluster."""
    with pair_over(tmp_path / "data") as made:
        yield made


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data at rest; copying it is quicker than making it for every test."""
    data_dir = tmp_path_factory.mktemp("template") / "data"
    with pair_over(data_dir) as made:
        made.attach()
    return data_dir / "postgres"


@pytest.fixture
def pair(tmp_path: Path, cluster: Path) -> Iterator[Pair]:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    subprocess.run(["cp", "-a", cluster, data_dir], check=True)
    with pair_over(data_dir) as made:
        yield made


def test_both_servers_answer(shared: Pair) -> None:
    database_url, redis_url = urls = shared.attach()

    assert answers(urls)
    who = "SELECT current_user || '@' || current_database()"
    assert query(database_url, who) == "settlement@settlement"
    assert redis_url.startswith("redis://127.0.0.1:")


def test_a_shell_can_source_the_addresses(shared: Pair) -> None:
    urls = shared.attach()

    script = '. "$0"; echo "$DATABASE_URL $REDIS_URL $CELERY_BROKER_URL"'
    env_file = shared.data_dir / "env"
    told = subprocess.check_output(["sh", "-c", script, env_file], text=True)

    assert told.split() == [*urls, urls[1]]


def test_both_servers_are_durable(shared: Pair) -> None:
    database_url, redis_url = shared.attach()

    assert query(database_url, "SHOW fsync") == "on"
    assert query(database_url, "SHOW full_page_writes") == "on"
    with cache(redis_url) as client:
        config = client.config_get("*")
    assert config["appendonly"] == "yes"
    assert config["appendfsync"] == "everysec"
    assert config["maxmemory-policy"] == "noeviction"
    assert config["save"] == ""


def test_the_tcp_port_has_no_superuser(shared: Pair) -> None:
    port = psycopg.conninfo.conninfo_to_dict(shared.attach()[0])["port"]
    tcp = f"host=127.0.0.1 port={port} dbname=settlement user="

    assert query(tcp + "settlement", "SELECT current_setting('is_superuser')") == "off"
    with pytest.raises(psycopg.OperationalError, match="no pg_hba"):
        query(tcp + "postgres", "SELECT 1")


def test_a_second_process_attaches_to_the_same_pair(shared: Pair) -> None:
    urls = shared.attach()
    pids = [shared.pid(name) for name in SERVERS]

    assert shared.attach() == urls
    assert [shared.pid(name) for name in SERVERS] == pids


def test_simultaneous_first_users_get_one_pair(fresh: Pair) -> None:
    users = [fresh.user() for _ in range(6)]

    assert len({urls_of(user) for user in users}) == 1
    log = (fresh.data_dir / "logs" / "supervisor.log").read_text(encoding="utf-8")
    assert log.count("postgres: pid") == 1


def test_the_pair_outlives_a_gap_between_commands(pair: Pair) -> None:
    pair.attach()
    supervisor = pair.pid("supervisor")
    pair.leave()
    pair.attach()

    assert pair.pid("supervisor") == supervisor


def test_the_pair_stops_after_its_last_user_and_comes_back(pair: Pair) -> None:
    urls = pair.attach()
    remember_something(urls)
    pair.attach()
    pair.leave()
    wait_until(pair.is_gone)

    log = (pair.data_dir / "logs" / "postgres.log").read_text(encoding="utf-8")
    assert "database system is shut down" in log
    assert pair.attach() == urls
    assert remembers(urls)


def test_a_forked_child_of_a_killed_user_keeps_the_pair(pair: Pair) -> None:
    parent = pair.user(FORKING_USER)
    urls = urls_of(parent)
    parent.kill()
    parent.wait()

    time.sleep(GRACE_SECONDS + 0.5)

    assert answers(urls)


def test_a_user_that_comes_during_shutdown_gets_a_live_pair(pair: Pair) -> None:
    pair.attach()
    os.kill(pair.pid("supervisor"), signal.SIGTERM)

    assert answers(pair.attach())


@pytest.mark.parametrize("name", SERVERS)
def test_a_killed_server_is_started_again_at_its_address(pair: Pair, name: str) -> None:
    urls = pair.attach()
    remember_something(urls)
    killed = pair.pid(name)
    os.kill(killed, signal.SIGKILL)

    wait_until(lambda: pair.pid(name) != killed)

    assert remembers(urls)


def test_servers_die_with_a_killed_supervisor_and_come_back(pair: Pair) -> None:
    urls = pair.attach()
    remember_something(urls)
    os.kill(pair.pid("supervisor"), signal.SIGKILL)
    wait_until(pair.is_gone)

    assert pair.attach() == urls
    assert remembers(urls)


def test_frozen_orphans_do_not_stop_the_next_start(pair: Pair) -> None:
    urls = pair.attach()
    remember_something(urls)
    os.kill(pair.pid("postgres"), signal.SIGSTOP)
    os.kill(pair.pid("supervisor"), signal.SIGKILL)

    assert pair.attach() == urls
    assert remembers(urls)


def test_a_pid_file_that_names_a_stranger_is_no_obstacle(pair: Pair) -> None:
    pair.attach()
    pair.stop()
    pid_file = pair.data_dir / "postgres" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n", encoding="utf-8")

    assert answers(pair.attach())


def test_a_half_made_cluster_is_made_anew(fresh: Pair) -> None:
    half = fresh.data_dir / "postgres.unfinished"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n", encoding="utf-8")

    assert answers(fresh.attach())
    assert not half.exists()


def test_taken_ports_are_passed_over(pair: Pair) -> None:
    ports = [int(url.split(":")[-1].split("/")[0]) for url in pair.attach()]
    pair.stop()

    with contextlib.ExitStack() as stack:
        for port in ports:
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
        urls = pair.attach()
        moved = [int(url.split(":")[-1].split("/")[0]) for url in urls]
        assert answers(urls)

    assert all(new > old for new, old in zip(moved, ports, strict=True))


def test_a_copied_directory_gets_servers_of_its_own(pair: Pair, tmp_path: Path) -> None:
    pair.attach()
    pair.stop()
    subprocess.run(["cp", "-a", pair.data_dir, tmp_path / "copy"], check=True)
    urls = pair.attach()

    with pair_over(tmp_path / "copy") as copy:
        assert not set(urls) & set(copy.attach())


def test_a_deep_path_with_spaces_and_cyrillic_works(tmp_path: Path) -> None:
    with pair_over(tmp_path / "очень глубоко" / ("d" * 100) / "data") as pair:
        assert answers(pair.attach())


def test_the_environment_cannot_mislead_the_servers(fresh: Pair) -> None:
    hostile = {
        "LC_ALL": "xx_YY.UTF-8",
        "LANG": "ru_RU.KOI8-R",
        "PGPORT": "1",
        "PGDATA": "/nowhere",
        "PGDATABASE": "nothing",
    }

    urls = fresh.attach(env=hostile)

    assert query(urls[0], "SHOW server_encoding") == "UTF8"
    assert query(urls[0], "SELECT upper('зелье')") == "ЗЕЛЬЕ"


def test_a_server_that_cannot_start_is_reported_with_its_log(fresh: Pair) -> None:
    (fresh.data_dir / "postgres").mkdir(parents=True)

    with pytest.raises(EmbeddedError) as caught:
        embedded.ensure(fresh.data_dir)

    text = str(caught.value)
    assert "embedded postgres" in text
    assert str(fresh.data_dir / "logs" / "postgres.log") in text
    assert "No such file or directory" in text
    assert "DATABASE_URL" in text


def test_a_missing_redis_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_redis, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")

    with pytest.raises(EmbeddedError, match="Install redis-server"):
        embedded_redis.binary()


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
        pytest.skip("this machine allows no user namespaces")

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
