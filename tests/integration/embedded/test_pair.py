"""The embedded pair, with real servers, real users (processes) and real kills."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

import devservers
from devservers import EmbeddedError
from devservers.supervisor import GRACE_SECONDS
from tests.support.embedded_pair import (
    FORKING_USER,
    SERVERS,
    Pair,
    answers,
    cache,
    pair_over,
    query,
    remember_something,
    remembers,
    urls_of,
    wait_until,
)


def test_both_servers_answer(shared: Pair) -> None:
    database_url, redis_url = urls = shared.attach()

    assert answers(urls)
    who = "SELECT current_user || '@' || current_database()"
    assert query(database_url, who) == "settlement@settlement"
    assert urlsplit(redis_url).hostname == "127.0.0.1"


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


def test_the_role_of_the_project_is_no_superuser(shared: Pair) -> None:
    database_url, _ = shared.attach()

    assert query(database_url, "SELECT current_setting('is_superuser')") == "off"


def test_postgres_does_not_listen_and_redis_asks_for_a_password(shared: Pair) -> None:
    database_url, redis_url = shared.attach()

    assert query(database_url, "SHOW listen_addresses") == ""
    with (
        cache(redis_url.replace(urlsplit(redis_url).password or "", "")) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


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
        devservers.ensure(fresh.data_dir)

    text = str(caught.value)
    assert "embedded postgres" in text
    assert str(fresh.data_dir / "logs" / "postgres.log") in text
    assert "No such file or directory" in text
    assert "DATABASE_URL" in text
