"""`manage.py doctor`: what is wrong, what to do, and whether it is bad."""

from __future__ import annotations

import time
from io import StringIO

import pytest
import redis
from django.core.management import CommandError, call_command
from pytest_django import Settings

from combat_history.actions.mode import Actor, set_mode
from persistence.contract import redis_keys
from persistence.worker import presence
from persistence.worker.mode import Mode
from tests.support.admin import add_failed
from tests.support.ports import free_port

pytestmark = pytest.mark.usefixtures("world", "_developer")


@pytest.fixture
def _developer(settings: Settings) -> None:
    """The tests' servers and times would be refused in production."""
    settings.DEBUG = True


@pytest.fixture
def _alive(world: None) -> None:
    presence.say("worker")
    presence.say("beat")


def told() -> str:
    """What it says. Raises CommandError where something is bad."""
    said = StringIO()
    call_command("doctor", stdout=said)
    return said.getvalue()


def told_badly() -> str:
    said = StringIO()
    with pytest.raises(CommandError, match=r"\d+ of \d+ findings are errors"):
        call_command("doctor", stdout=said)
    return said.getvalue()


@pytest.mark.usefixtures("_alive")
def test_where_all_is_well_there_are_no_errors_and_each_finding_has_a_remedy() -> None:
    add_failed()

    text = told()
    assert "1 failed combats wait for a person." in text
    assert "Open the failed settlements in the admin" in text
    assert text.endswith("No errors.\n")
    # As a developer's machine has it: a defence that is off is a warning.
    assert "warning  settlement.W040: No keys of engines" in text


def test_a_silent_worker_and_beat_are_errors(redis_client: redis.Redis) -> None:
    five_minutes_ago = (time.time() - 300) * 1000
    redis_client.zadd(redis_keys.ALIVE, {"worker@far:7": five_minutes_ago})

    text = told_badly()
    assert "ERROR    No worker has been heard of, the last 30" in text
    assert "No beat has been heard of.\n" in text
    assert "Start one: celery -A settlement_project beat" in text


@pytest.mark.usefixtures("_alive")
def test_what_waits_for_too_long_is_an_error(redis_client: redis.Redis) -> None:
    redis_client.zadd(redis_keys.INBOX, {"a": (time.time() - 600) * 1000})

    text = told_badly()
    assert "An accepted combat has waited for 60" in text


@pytest.mark.usefixtures("_alive")
def test_a_pause_is_told_of_and_is_no_error() -> None:
    set_mode(Mode.PAUSED, actor=Actor("night"), reason="a pause for the night")

    assert "note     Settlement is paused" in told()


@pytest.mark.usefixtures("_alive")
def test_a_server_that_is_away_hides_nothing_else(settings: Settings) -> None:
    add_failed()
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"

    text = told_badly()
    assert "Processes cannot be told: ConnectionError" in text
    assert "Inbox cannot be told" in text
    assert "1 failed combats wait for a person." in text
