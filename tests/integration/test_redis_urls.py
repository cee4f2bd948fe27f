"""Every way to a Redis: Sentinels, a socket, IPv6; and what is no way to one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from combat_history.models import CombatHistory
from devservers.redis import binary
from persistence.contract.errors import HandoffFailed
from persistence.dispatcher import SyncDispatcher
from persistence.engine import connecting
from persistence.engine.handoff import Receipt
from settlement_project.celery import app
from tests.support.documents import hero_fight
from tests.support.mortal import mortal
from tests.support.ports import free_port
from tests.support.sentinels import watched
from tests.support.waiting import wait_until
from tests.support.worker import PROJECT_ROOT, environment, running_worker


def processed() -> int:
    return CombatHistory.objects.filter(settlement_status="processed").count()


def until_accepted(engine: SyncDispatcher) -> None:
    document = hero_fight()

    def is_accepted() -> bool:
        try:
            return engine.submit_combat_sync(document) in (
                Receipt.ACCEPTED,
                Receipt.DUPLICATE,
            )
        except HandoffFailed:
            return False

    wait_until(is_accepted, "it is accepted")


def test_a_fail_over_of_sentinel_is_followed_by_engine_and_worker(
    world: None, tmp_path: Path
) -> None:
    with watched(tmp_path) as pair:
        env: dict[str, Any] = {"REDIS_URL": pair.url, "CELERY_BROKER_URL": pair.url}
        with (
            running_worker(tmp_path / "worker", **env),
            closing(SyncDispatcher(pair.url, timeout=2, replicas=1)) as careful,
            closing(SyncDispatcher(pair.url, timeout=2)) as engine,
        ):
            careful.submit_combat_sync(hero_fight())
            wait_until(lambda: processed() == 1, "the first is settled")

            pair.kill_first()
            until_accepted(engine)
            wait_until(lambda: processed() == 2, "the second is settled")


@pytest.mark.parametrize("scheme", ["unix", "IPv6"])
def test_a_socket_and_ipv6_are_ways_to_redis(scheme: str, tmp_path: Path) -> None:
    port, path = free_port(), tmp_path / "redis.sock"
    if scheme == "unix":
        url, options = f"unix://{path}?db=0", ["--port", "0", "--unixsocket", str(path)]
    else:
        if not _has_ipv6():
            pytest.skip("this machine has no IPv6; the URL is read all the same")
        url, options = f"redis://[::1]:{port}/0", ["--port", str(port), "--bind", "::1"]
    assert connecting.fault(url) is None
    with serving(tmp_path, *options), closing(SyncDispatcher(url)) as engine:
        until_accepted(engine)


def test_a_cluster_is_refused_by_name_and_reason(tmp_path: Path) -> None:
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--cluster-enabled", "yes"]
    with serving(tmp_path, *options):
        url = f"redis://127.0.0.1:{port}/0"
        status, said = manage("check", "--deploy", REDIS_URL=url)

    assert status == 1
    assert "settlement.E025" in said
    assert "Redis Cluster is not supported: a hand-off joins a fight" in said


def test_every_url_that_is_wrong_stands_in_the_one_message() -> None:
    status, said = manage(
        "check",
        DATABASE_URL="postgresql://[/x",
        REDIS_URL="redi://127.0.0.1/0",
        CELERY_BROKER_URL="sentinel://127.0.0.1:1/0",
        SETTLEMENT_BATCH_SIZE="many",
    )

    assert status != 0
    assert "The environment is not usable:" in said
    assert "  - DATABASE_URL: " in said
    assert "  - REDIS_URL: redi:// is none of redis, rediss, unix, sentinel" in said
    assert "  - CELERY_BROKER_URL: ?master= must name the primary" in said
    assert "  - SETTLEMENT_BATCH_SIZE='many' is not a whole number" in said


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("redis://h:1/0", None),
        ("rediss://u:p@h/1", None),
        ("unix:///run/redis.sock?db=2", None),
        ("sentinel://u:p%40@h1,[::1]:5/3?master=m&sentinel_password=s", None),
        ("redis://h:port/0", "Port could not be cast"),
        ("redis://h/zero", "'zero' is no number of a database"),
        ("redis+cluster://h", "Redis Cluster is not supported"),
        ("http://h", "http:// is none of"),
        ("sentinel://h1,/0?master=m", "a Sentinel has no host"),
        ("sentinel://h1/0?master=m&mast=n", "unknown option mast"),
    ],
)
def test_what_is_wrong_with_a_url_is_said(url: str, fault: str | None) -> None:
    found = connecting.fault(url)

    assert (found is None) if fault is None else fault in (found or "")


def test_celery_is_told_of_the_sentinels_in_its_own_way() -> None:
    url, options = connecting.broker(
        "sentinel://u:p%40@h1,[::1]:5/3?master=m&sentinel_password=s"
    )

    assert url == "sentinel://u:p%40@h1:26379/3;sentinel://u:p%40@[::1]:5/3"
    assert options["master_name"] == "m"
    assert options["sentinel_kwargs"]["password"] == "s"
    with app.connection_for_write(url) as connection:
        assert connection.alt == url.split(";")


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[None]:
    words = ["--dir", str(folder), "--save", "", *options]
    server = subprocess.Popen(mortal(str(binary()), *words), stdout=subprocess.DEVNULL)
    address = dict(zip(options[::2], options[1::2], strict=True))
    try:
        with redis.Redis(
            host=address.get("--bind", "127.0.0.1"),
            port=int(address["--port"]) or 1,
            unix_socket_path=address.get("--unixsocket"),
        ) as client:
            wait_until(lambda: _answers(client), "Redis answers")
        yield
    finally:
        server.terminate()
        server.wait()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def _has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


def manage(*arguments: str, **over: str) -> tuple[int, str]:
    ended = subprocess.run(
        mortal(sys.executable, "manage.py", *arguments),
        cwd=PROJECT_ROOT,
        env={**os.environ, **environment(), **over},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr
