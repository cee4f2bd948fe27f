"""The commands for engine developers and operators, as they are typed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection

from combat_history.models import CombatHistory
from persistence.contract import redis_keys
from tests.support import documents, worker
from tests.support.documents import HERO, hero_fight
from tests.support.mortal import mortal
from tests.support.ports import free_port
from tests.support.redis_server import running_redis
from tests.support.waiting import wait_until

SAMPLE = worker.PROJECT_ROOT / "examples" / "sample_payload.json"


@contextmanager
def started(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A command in a process of its own, which ends with the block."""
    with subprocess.Popen(
        mortal(sys.executable, "manage.py", *arguments),
        cwd=worker.PROJECT_ROOT,
        env=worker.environment(**environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(*arguments: str, text: str = "", **environment: str) -> tuple[int, str, str]:
    """Exit status, output and errors of a command that was given `text`."""
    with started(*arguments, **environment) as process:
        out, errors = process.communicate(text, timeout=60)
        return process.returncode, out, errors


def validate(path: Path) -> dict[str, Any]:
    out = StringIO()
    try:
        call_command("validate_payload", str(path), "--json", stdout=out)
        status = 0
    except CommandError as error:
        status = error.returncode
    answer: dict[str, Any] = json.loads(out.getvalue())
    assert status == (0 if answer["ok"] else 1)
    return answer


def written(path: Path, document: object) -> Path:
    file = path / "payload.json"
    file.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return file


def test_the_schema_closes_what_the_contract_closes() -> None:
    out = StringIO()
    call_command("payload_schema", stdout=out)
    schema = json.loads(out.getvalue())
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert set(schema["required"]) == {"session_id", "meta", "participants"}
    assert schema["$defs"]["Changes"]["additionalProperties"] is False
    assert schema["$defs"]["ParticipantResult"]["additionalProperties"] is True


@pytest.mark.django_db
def test_a_valid_payload_is_described_and_not_recorded(
    redis_client: redis.Redis,
) -> None:
    out = StringIO()
    call_command("validate_payload", str(SAMPLE), stdout=out)
    words = out.getvalue().split()
    assert words[:3] == ["OK:", "combat", json.loads(SAMPLE.read_bytes())["session_id"]]
    assert words[words.index("players") + 1] == str(HERO)
    assert words[words.index("size") + 1] == str(SAMPLE.stat().st_size)
    assert redis_client.dbsize() == 0
    assert not CombatHistory.objects.exists()


def test_the_hash_is_the_one_that_is_settled(
    settle_here: Callable[..., None], tmp_path: Path
) -> None:
    document = documents.sample_document()
    answer = validate(written(tmp_path, document))
    settle_here(document)
    row = CombatHistory.objects.get(pk=answer["session_id"])
    assert row.payload_sha256 == answer["sha256"]
    assert row.participant_ids == answer["players"]


CHANGES = f"participants.{HERO}.changes"

FAULTS = [
    (hero_fight(xp_gained="10"), f"{CHANGES}.xp_gained", "whole number"),
    (hero_fight(xp_gained=-1), f"{CHANGES}.xp_gained", "bound"),
    (hero_fight(exp_gained=1), f"{CHANGES}.exp_gained", "spelling"),
    (
        hero_fight(durability_loss={"sword": 1}),
        f"{CHANGES}.durability_loss",
        "inventory:",
    ),
    (hero_fight(items_consumed={}), f"{CHANGES}.items_consumed", "array"),
    (hero_fight(is_winner="yes"), f"participants.{HERO}.is_winner", "true or false"),
    (hero_fight(name=5), f"participants.{HERO}.name", "text in quotes"),
    (documents.make_document({"goblin_1": 5}), "participants", "object"),
    (documents.make_document(session_id="x"), "session_id", "id of the fight"),
    (
        documents.make_document(end_timestamp=10**13),
        "meta.end_timestamp",
        "Unix seconds",
    ),
    (documents.make_document(meta=None), "meta", "object"),
    (documents.make_document(note="\x00"), "", "characters"),
    (documents.make_document(note=float("nan")), "", "finite"),
    (documents.make_document(replay_log="x" * 2**20), "", "shorten"),
    (documents.make_document(replay_log=5), "replay_log", "payload_schema"),
    ([], "", "object"),
    ({}, "session_id", "add the field"),
]


@pytest.mark.parametrize(
    ("document", "path", "advice"), FAULTS, ids=[advice for *_, advice in FAULTS]
)
def test_a_fault_is_told_with_its_place_and_its_cure(
    tmp_path: Path, document: object, path: str, advice: str
) -> None:
    answer = validate(written(tmp_path, document))
    fault = answer["faults"][0]
    assert fault["path"].startswith(path)
    assert fault["message"]
    assert advice in fault["advice"]


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    file = written(tmp_path, hero_fight(xp_gained="10", gold_gained=1.5, loot=[]))
    out = StringIO()
    with pytest.raises(CommandError, match=r"^3 faults$") as raised:
        call_command("validate_payload", str(file), stdout=out)
    assert raised.value.returncode == 1
    for name in ("xp_gained", "gold_gained", "loot"):
        assert f"{CHANGES}.{name}: " in out.getvalue()
    assert out.getvalue().count("    -> ") == 3


def test_bytes_that_are_no_json_are_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "broken.json"
    file.write_bytes(b'{"session_id": \xff')
    (fault,) = validate(file)["faults"]
    assert fault["advice"] == "send JSON text in UTF-8"


@pytest.mark.django_db
def test_a_payload_may_come_through_a_pipe() -> None:
    text = SAMPLE.read_text(encoding="utf-8")
    status, out, _ = ended("validate_payload", "-", text=text)
    assert status == 0
    assert out.startswith("OK: combat ")


@pytest.mark.django_db
@pytest.mark.parametrize("arguments", [(), ("no such file",)])
def test_a_file_that_cannot_be_read_is_a_usage_error(arguments: tuple[str]) -> None:
    status, _, errors = ended("validate_payload", *arguments)
    assert status == 2
    assert "Traceback" not in errors


def leave_pending() -> str:
    """A receipt that nobody will settle unless it is swept."""
    document = documents.make_document()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO combat_history (session_id, participant_ids, result_payload,"
            " due_at) VALUES (%s, %s, %s, now() - interval '1 hour')",
            [document["session_id"], [HERO], json.dumps(document)],
        )
    return str(document["session_id"])


def rings() -> int:
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        return int(broker.llen("celery"))


def test_a_sweep_puts_back_what_is_stuck_and_rings(
    world: None, redis_client: redis.Redis
) -> None:
    call_command("sweep", stdout=(out := StringIO()))
    assert "pending_returned=0" in out.getvalue()
    assert rings() == 0

    session_id = leave_pending()
    call_command("sweep", stdout=(out := StringIO()))
    assert "pending_returned=1" in out.getvalue()
    assert redis_client.zscore(redis_keys.INBOX, session_id) is not None
    assert rings() == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_loop_sweeps_until_it_is_told_to_stop(
    world: None, redis_client: redis.Redis, number: signal.Signals
) -> None:
    with started("sweep", "--loop") as process:
        for _ in range(2):
            wait_until_swept(redis_client, leave_pending())
        process.send_signal(number)
        out, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
    assert out.count("pending_returned=1") == 2


def test_the_loop_outlives_an_outage(world: None, tmp_path: Path) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    session_id = leave_pending()
    with started("sweep", "--loop", REDIS_URL=url) as process:
        assert process.stderr is not None
        assert "sweep failed" in process.stderr.readline()
        with running_redis(tmp_path, port=port), redis.Redis.from_url(url) as client:
            wait_until_swept(client, session_id)
            process.terminate()
            process.communicate(timeout=60)
            assert process.returncode == 0


def wait_until_swept(client: redis.Redis, session_id: str) -> None:
    wait_until(
        lambda: client.zscore(redis_keys.INBOX, session_id),
        "the pending combat is put back",
    )


def test_a_sweep_without_redis_says_so(world: None) -> None:
    status, _, errors = ended("sweep", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert status == 1
    assert errors.startswith("CommandError: cannot sweep:")
