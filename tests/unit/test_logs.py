from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from combat_history import origin
from settlement_project.celery import app
from settlement_project.logs import JsonFormatter, KeyValueFormatter


@pytest.fixture(autouse=True)
def _outside_of_requests() -> Iterator[None]:
    """The id of the last one stays, for what is logged behind its answer."""
    token = origin.request_id.set("")
    yield
    origin.request_id.reset(token)


def record_of(message: str = "combat", **extra: Any) -> logging.LogRecord:
    return logging.getLogger("persistence.worker.drain").makeRecord(
        "persistence.worker.drain",
        logging.INFO,
        __file__,
        1,
        message,
        (),
        None,
        extra=extra,
    )


def line(message: str = "combat", **extra: Any) -> str:
    return KeyValueFormatter().format(record_of(message, **extra))


def logged(record: logging.LogRecord) -> dict[str, Any]:
    text = JsonFormatter().format(record)
    assert "\n" not in text
    said: dict[str, Any] = json.loads(text)
    return said


def test_a_line_says_when_how_bad_who_and_what() -> None:
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO "
        r"persistence\.worker\.drain combat",
        line(),
    )


def test_every_extra_field_follows_in_its_order() -> None:
    text = line(session_id="0192f3a4", outcome="failed", attempt=2, duration_ms=1.5)

    assert text.endswith(
        " combat session_id=0192f3a4 outcome=failed attempt=2 duration_ms=1.5"
    )


def test_celerys_own_context_is_left_out() -> None:
    text = line(data={"args": "loot"}, code="poison")

    assert text.endswith(" combat code=poison")


def test_arguments_are_put_into_the_message() -> None:
    record = logging.LogRecord("x", logging.ERROR, "", 1, "%s of %d", ("a", 5), None)

    assert KeyValueFormatter().format(record).endswith(" ERROR x a of 5")


def test_a_traceback_follows_the_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        record = logging.LogRecord(
            "x", logging.ERROR, "", 1, "failed", (), sys.exc_info()
        )
    record.code = "unexpected"

    first, *rest = KeyValueFormatter().format(record).splitlines()

    assert first.endswith(" ERROR x failed code=unexpected")
    assert rest[0].startswith("Traceback")
    assert rest[-1] == "ValueError: broken"


def test_a_json_line_says_the_same_under_names() -> None:
    said = logged(record_of("%s", session_ids="0192f3a4", attempt=2, data={"a": 1}))

    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", said.pop("time")
    )
    del said["process"]
    assert said == {
        "level": "INFO",
        "logger": "persistence.worker.drain",
        "message": "%s",
        "session_ids": "0192f3a4",
        "attempt": 2,
    }


def test_a_json_line_holds_its_traceback_and_what_is_no_json() -> None:
    try:
        raise ValueError("broken\nin two")
    except ValueError:
        record = record_of("failed", where=object)
        record.exc_info = sys.exc_info()

    said = logged(record)

    assert said["exception"].endswith("ValueError: broken\nin two")
    assert said["where"] == "<class 'object'>"


def test_a_json_line_says_in_which_request_or_task_it_was_written() -> None:
    token = origin.request_id.set("from-the-proxy")
    try:
        assert logged(record_of())["request_id"] == "from-the-proxy"
    finally:
        origin.request_id.reset(token)

    @app.task(name="tests.log", bind=True)
    def log(task: Any) -> dict[str, Any]:
        return logged(record_of())

    said = log.apply(task_id="a-task", retries=1).get()
    assert (said["task"], said["task_id"], said["delivery"]) == (
        "tests.log",
        "a-task",
        1,
    )
    del app.tasks["tests.log"]
