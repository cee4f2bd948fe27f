"""The users of ops/redis/users.acl: on the tests' own Redis, or on one for them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import redis

from devservers.ports import HOST
from tests.support.mortal import mortal
from tests.support.ports import free_port
from tests.support.waiting import wait_until
from tests.support.worker import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "ops" / "redis"
PASSWORD = "of-everybody"

RULES = {
    words[1]: words[2:]
    for words in map(str.split, (FOLDER / "users.acl").read_text("utf-8").splitlines())
    if words[:1] == ["user"]
}
"""By user, in the words of the file."""

GAMES_QUEUES = ("engine*", "combats*")
"""Of callbacks in the tests: an operator adds those of the game by REDIS_ALSO."""

SIGNED_IN = ("admin", "engine", "bot", "worker", "web", "flower")


def make_users(broker: str) -> None:
    """Beside the tests' own user; with the channels of the broker's database."""
    own = f"&{urlsplit(broker).path}."
    with redis.Redis.from_url(broker) as client:
        for name in SIGNED_IN:
            _, *rules = (rule.replace("&/0.", own) for rule in RULES[name])
            words = ["reset", "on", f">{PASSWORD}", *rules]
            if name == "worker":
                words += [f"~{queue}" for queue in GAMES_QUEUES]
            client.execute_command("ACL", "SETUSER", name, *words)


def url_as(name: str, url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{name}:{PASSWORD}@{host}").geturl()


@contextmanager
def running_with_users(folder: Path, program: Path) -> Iterator[str]:
    """As compose starts it, with a password for everybody: its URL, without a user."""
    port = free_port()
    options = {"--bind": HOST, "--port": str(port), "--dir": str(folder), "--save": ""}
    options |= {"--appendonly": "yes", "--maxmemory-policy": "noeviction"}
    words = [word for option in options.items() for word in option]
    env = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "ACL_FILE": str(folder / "users.acl"),
        **{f"REDIS_{name.upper()}_PASSWORD": PASSWORD for name in SIGNED_IN},
    }
    script = mortal("sh", str(FOLDER / "start.sh"), *words)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(script, env=env, stdout=log, stderr=log)
    try:
        with redis.Redis(HOST, port, username="probe", password="none") as probe:
            wait_until(lambda: _answers(probe, server), "Redis answers")
        yield f"redis://{HOST}:{port}/0"
    finally:
        server.terminate()
        server.wait()


def _answers(probe: redis.Redis, server: subprocess.Popen[bytes]) -> bool:
    assert server.poll() is None
    try:
        return bool(probe.ping())
    except redis.ConnectionError:
        return False
