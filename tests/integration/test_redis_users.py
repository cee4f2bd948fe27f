"""Redis' users of ops/redis/users.acl: each may what it needs, and nothing else.

The suite's worker, engines and the bot's web server run as theirs all along.
"""

from __future__ import annotations

import fnmatch
import inspect
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
import redis
from celery import Celery

from devservers.redis import binary
from persistence.contract import redis_keys
from persistence.contract.errors import ItemNotOnBelt
from persistence.dispatcher import SyncDispatcher
from persistence.engine import scripts
from persistence.engine.handoff import Receipt
from persistence.protocols import QUEUES, SyncScope
from tests.support.documents import HERO, PELT, POTION, make_document, op
from tests.support.ids import new_session_id
from tests.support.redis_users import RULES, SIGNED_IN, running_with_users, url_as
from tests.support.waiting import wait_until
from tests.support.worker import PROJECT_ROOT

LUA = PROJECT_ROOT / "persistence" / "lua"
SAMPLES = {"UUID": UUID(int=7), "int": 7, "str": "name", "UUID | str": UUID(int=7)}

ENGINE_KEYS = {
    "ACTIVE",
    "DOORBELL",
    "EPOCH",
    "EVENTS",
    "INBOX",
    "INTENTS",
    "INTENTS_SENT",
    "LINGERER",
    "WAKE",
    "account",
    "belts_ready",
    "engine",
    "inventory_delta",
    "result",
    "scenario",
    "session",
    "tombstone",
    "unknown",
}
"""A new key belongs here, or the engine has no right to it."""

NO_KEYS = {
    "intent",
    "session_field",
    "closing_field",
    "actor_field",
    "free_field",
    "use_field",
    "left_field",
    "belt_field",
    "joining_field",
    "conflict_field",
}
"""Members and fields."""

FORBIDDEN = {
    "everybody": (
        "FLUSHALL",
        "FLUSHDB",
        "CONFIG GET dir",
        "CONFIG SET dir /tmp",
        "SCRIPT FLUSH",
        "KEYS *",
        "ACL LIST",
        "MONITOR",
        "SHUTDOWN NOSAVE",
        "REPLICAOF 127.0.0.1 1",
        "MODULE LIST",
        "CLIENT KILL TYPE normal",
        "GET no.key.of.ours",
        "DEL no.key.of.ours",
    ),
    "engine": (
        "PUBLISH /0.celery.pidbox {}",
        "PSUBSCRIBE *",
        "SADD _kombu.binding.celery.pidbox x",
        "LRANGE celery 0 -1",
        "BRPOP celery 1",
        "DEL sweep:began",
        "ZRANGE combat:belts_orphaned 0 -1",
        "SCAN 0",
        "INFO",
        "XADD combat:events * event x",
    ),
    "bot": (
        "GET ac:7",
        "HGETALL combat:result:7",
        "SET combat:result_cache:7 x",
        "DEL combat:result_cache:7",
        "LPUSH celery x",
        "XADD combat:events * event x",
        "EVAL return(1) 0",
        "PUBLISH /0.celery.pidbox {}",
    ),
    "web": ("PUBLISH /0.celery.pidbox {}", "BRPOP celery 1", "HGETALL unacked"),
    "worker": ("PUBLISH news {}", "ZADD api:unknown_asked:x 1 y"),
    "flower": (
        "LPUSH celery x",
        "GET ac:7",
        "ZADD combat:inbox 1 x",
        "HSET combat:result:7 raw x",
        "EVAL return(1) 0",
        "PUBLISH news {}",
    ),
}

REFUSALS = [
    *[(name, line) for name in SIGNED_IN[1:] for line in FORBIDDEN["everybody"]],
    *[(name, line) for name in SIGNED_IN[1:] for line in FORBIDDEN[name]],
]


@pytest.fixture(
    scope="module", params=[binary(), shutil.which("redis-server")], ids=["own", "PATH"]
)
def url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Of a Redis 6.2, and of whichever is installed."""
    if request.param is None:
        pytest.skip("no redis-server is on the PATH, and only it may be a Redis 7")
    folder = tmp_path_factory.mktemp("redis")
    with running_with_users(folder, Path(request.param)) as url:
        yield url


def test_what_is_not_granted_is_refused(url: str) -> None:
    for name, line in REFUSALS:
        with redis.Redis.from_url(url_as(name, url)) as client:
            try:
                answer = client.execute_command(*line.split())
            except redis.exceptions.NoPermissionError:
                continue
            except redis.ResponseError as error:
                answer = error
        pytest.fail(f"{name}: {line}: {answer}")


def test_nobody_is_let_in_without_a_password(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        for line in ("PING", "INFO", "GET ac:7"):
            with pytest.raises(redis.AuthenticationError):
                client.execute_command(*line.split())


def test_the_list_on_disk_holds_digests_alone(tmp_path: Path) -> None:
    with running_with_users(tmp_path, binary()):
        written = (tmp_path / "users.acl").read_text("utf-8")

    assert (tmp_path / "users.acl").stat().st_mode & 0o777 == 0o600
    assert len(re.findall(r"^user \w+ on #[0-9a-f]{64} ", written, re.M)) == 6
    assert "of-everybody" not in written


def test_the_engine_can_make_every_call(url: str) -> None:
    own = url_as("engine", url)
    session_id, engine = new_session_id(), SyncDispatcher(own, own)
    try:
        engine.start_combat_sync(session_id, [HERO])
        engine.heartbeat_sync(session_id)
        engine.join_sync(session_id, {8: "red"})
        engine.leave_sync(session_id, 8)
        with pytest.raises(ItemNotOnBelt):
            engine.use_item_sync(session_id, HERO, POTION, "a")
        ended = {"meta": {"finish_reason": "draw"}}
        assert engine.finish_combat_sync(session_id, ended) is Receipt.ACCEPTED
        journey = new_session_id()
        engine.switch_context_sync(char_id=7, to="scenario", session_id=journey)
        operation = op("a", "add", item_template_id=PELT, qty=1)
        engine.change_inventory_sync(HERO, [operation])
        engine.dispatch_sync(SyncScope.VITALS, char_id=HERO)
        document = make_document()
        assert engine.submit_combat_sync(document) is Receipt.ACCEPTED
        with redis.Redis.from_url(url_as("worker", url)) as worker:
            event = (
                '{"id": 1, "kind": "x", "session_id": null, "op_id": "a", "body": {},'
                ' "character_ids": [], "created_at": "2026-01-01T00:00:00Z"}'
            )
            worker.xadd(redis_keys.EVENTS, {"event": event}, id="1-0")
        told = engine.events_sync("game", "one")
        assert next(told).id == 1
        told.close()
        with redis.Redis.from_url(url_as("admin", url)) as admin:
            wait_until(lambda: _holds(admin, "celery", b"settle_inbox"), "a ring")
            wait_until(lambda: _holds(admin, "saves", b"sync_state"), "one to save")
            # Not `broker`: CELERY_BROKER_URL of the tests would stand above it.
            with Celery(broker_write_url=own, set_as_current=False) as bare:
                bare.send_task("settle_combat", args=[document])
            wait_until(lambda: _holds(admin, "celery", b"settle_combat"), "the task")
    finally:
        engine.close()
    assert _refused(url) == []


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("worker", "/0.celeryev/worker.*"),
        ("worker", "/0.celery.pidbox"),
        ("flower", "/0.celeryev/*"),
    ],
)
def test_who_listens_to_a_pattern_may(url: str, name: str, pattern: str) -> None:
    """Redis compares it letter by letter: of gossip, of broadcasts, of Flower."""
    with redis.Redis.from_url(url_as(name, url)) as client:
        with client.pubsub() as heard:
            heard.psubscribe(pattern)
            assert heard.get_message(timeout=5)["type"] == "psubscribe"
        client.publish("/0.celeryev/worker.heartbeat", "{}")


def test_a_bot_reads_tombstones(url: str) -> None:
    with redis.Redis.from_url(url_as("bot", url)) as bot:
        assert bot.get(redis_keys.tombstone(UUID(int=7))) is None


@pytest.mark.parametrize("name", ["engine", "worker", "web"])
def test_every_command_of_its_scripts_is_granted(name: str) -> None:
    """A script that begins to use another one needs it in ops/redis/users.acl."""
    granted = {rule[1:] for rule in RULES[name] if rule.startswith("+")}

    used = {command for script in _scripts(name) for command in _commands(script)}

    assert used - granted - {"json.get", "json.set"} == set()


def test_every_key_of_the_contract_is_somebody_s() -> None:
    keys = _keys()

    assert {name for name in keys if _reaches("engine", keys[name])} == ENGINE_KEYS
    for name in keys.keys() - {"unknown_asked"}:
        assert _reaches("worker", keys[name]), name
    for name in keys.keys() - {"taker"}:
        assert _reaches("web", keys[name]), name
    bots = {name for name in keys if _reaches("bot", keys[name])}
    assert bots == {"EVENTS", "tombstone"}
    assert not any(_reaches("flower", key) for key in keys.values())


@pytest.mark.parametrize("queue", QUEUES)
def test_flower_sees_no_queue_and_workers_see_all(queue: str) -> None:
    assert not _reaches("flower", queue)
    assert _reaches("worker", queue)
    assert _reaches("web", queue)


def _holds(admin: redis.Redis, queue: str, task: bytes) -> bool:
    messages: list[bytes] = admin.lrange(queue, 0, -1)  # type: ignore[assignment]
    return any(task in message for message in messages)


def _refused(url: str) -> list[str]:
    """CLIENT SETINFO, which redis-py does without, is unknown to Redis 7.0's lists."""
    with redis.Redis.from_url(url_as("admin", url)) as admin:
        log = admin.execute_command("ACL", "LOG")
        admin.execute_command("ACL", "LOG", "RESET")
    found = [str(entry) for entry in log if "'engine'" in str(entry)]
    return [entry for entry in found if "client" not in entry]


def _scripts(name: str) -> set[str]:
    rooms = {
        "engine": [
            *("persistence/engine/calls.py", "persistence/engine/combat_calls.py"),
            "persistence/engine/remembered.py",
        ],
        "worker": ["persistence/worker", "persistence/savers", "persistence/sweeping"],
        "web": ["combat_history/reading", "combat_history/actions"],
    }
    # Over HTTP engines make their calls through it.
    rooms["web"] += rooms["engine"]
    known = {path.stem for path in LUA.glob("*.lua")}
    return {
        word
        for room in rooms[name]
        for path in [PROJECT_ROOT / room, *(PROJECT_ROOT / room).rglob("*.py")]
        if path.is_file()
        for word in re.findall(r'"([a-z_]+)"', path.read_text("utf-8"))
        if word in known
    }


def _commands(script: str) -> set[str]:
    found = re.findall(r"call\(\s*['\"]([A-Za-z.]+)", scripts.source(script))
    return {command.lower() for command in found}


def _keys() -> dict[str, str]:
    """One key of each kind, by the name that makes it."""
    constants = {
        name: value
        for name, value in vars(redis_keys).items()
        if name.isupper() and isinstance(value, str) and ":" in value
    }
    found = {
        name: f"{value}7" if name.endswith("PREFIX") else value
        for name, value in constants.items()
        if not name.endswith("PREFIX") or name == "SWEEP_CURSOR_PREFIX"
    }
    for name, make in inspect.getmembers(redis_keys, inspect.isfunction):
        if name not in NO_KEYS:
            parameters = inspect.signature(make).parameters.values()
            found[name] = make(*(SAMPLES[str(p.annotation)] for p in parameters))
    return found


def _reaches(name: str, key: str) -> bool:
    patterns = [rule[1:] for rule in RULES[name] if rule.startswith("~")]
    return any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns)
