from __future__ import annotations

import logging
import re
import sys
from typing import Any

from settlement_project.logs import KeyValueFormatter


def line(message: str = "combat", **extra: Any) -> str:
    record = logging.getLogger("persistence.worker.drain").makeRecord(
        "persistence.worker.drain",
        logging.INFO,
        __file__,
        1,
        message,
        (),
        None,
        extra=extra,
    )
    return KeyValueFormatter().format(record)


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
