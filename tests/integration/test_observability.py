"""What operators see: every try of a combat in the log, ids in events, never loot."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from combat_history.models import CombatHistory
from persistence.contract.document import Document
from settlement_project.celery import app
from tests.conftest import Settle
from tests.support.documents import make_document, make_participant, sample_document
from tests.support.events import events
from tests.support.factories import add_character
from tests.support.ids import new_session_id
from tests.support.parallel import character_locked
from tests.support.waiting import wait_until
from tests.support.worker import CeleryProcess

_LINE = re.compile(
    r"^\S+ \S+ (?P<level>[A-Z]+) persistence\.worker\.drain combats"
    r" outcome=(?P<outcome>\w+) code=(?P<code>\w*) attempt=(?P<attempt>\d+)"
    r" duration_ms=(?P<duration_ms>[\d.]+) combats=\d+ session_ids=(?P<ids>\S+)$",
    re.MULTILINE,
)

SECRET = "loot_nobody_may_see"


def lines_of(worker: CeleryProcess, session_id: str) -> list[dict[str, str]]:
    lines = [match.groupdict() for match in _LINE.finditer(worker.output())]
    return [line for line in lines if session_id in line["ids"].split(",")]


ENDINGS: dict[str, tuple[Document, str, str, str]] = {
    "processed": (sample_document(), "INFO", "processed", ""),
    "failed": (
        make_document({"404": make_participant()}),
        "ERROR",
        "failed",
        "unknown_character",
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_one_line_tells_how_a_combat_ended(
    settle: Settle, worker: CeleryProcess, ending: str
) -> None:
    document, level, outcome, code = ENDINGS[ending]

    settle(document)

    (line,) = lines_of(worker, document["session_id"])
    assert (line["level"], line["outcome"], line["code"]) == (level, outcome, code)
    assert line["attempt"] == "1"
    assert 0 < float(line["duration_ms"]) < 60_000


def test_duplicate_and_conflict_have_a_line_each(
    settle: Settle, worker: CeleryProcess
) -> None:
    document = make_document()

    settle(document)
    settle(document)
    settle({**document, "note": "other"})

    lines = lines_of(worker, document["session_id"])
    assert [line["outcome"] for line in lines] == ["processed", "duplicate", "conflict"]
    assert lines[-1]["code"] == "payload_conflict"


def test_rejected_payload_has_a_line_without_its_content(
    settle: Settle, worker: CeleryProcess
) -> None:
    settle({"note": SECRET})

    assert re.search(
        r"ERROR \S+ payload rejected outcome=rejected code=bad_session_id",
        worker.output(),
    )
    assert SECRET not in worker.output()


@pytest.mark.usefixtures("settle")
def test_attempt_that_has_to_wait_has_a_line_too(worker: CeleryProcess) -> None:
    add_character(102)
    document = make_document({"102": make_participant()})

    def outcomes() -> list[str]:
        return [line["outcome"] for line in lines_of(worker, document["session_id"])]

    def is_settled() -> bool:
        app.send_task("settle_inbox")
        return "processed" in outcomes()

    with character_locked(102):
        app.send_task("settle_combat", args=[document])
        wait_until(lambda: "retry" in outcomes(), "the attempt is logged")
    wait_until(is_settled, "it is settled once the lock is gone")

    assert set(outcomes()) == {"retry", "processed"}


def secret_document() -> Document:
    part = make_participant(
        items_gained=[{"item_template_id": SECRET, "qty": 1}],
        ui_report={"loot_obtained": [{"name": SECRET, "qty": 1}]},
    )
    return make_document({"101": part})


FORMS: dict[str, Callable[[Document], Any]] = {
    "dict": lambda document: document,
    "json text": json.dumps,
    "id at the end": lambda document: json.dumps(dict(reversed(document.items()))),
    "id as hex": lambda document: {
        **document,
        "session_id": document["session_id"].replace("-", ""),
    },
}


def received(seen: list[dict[str, Any]]) -> list[str]:
    """The shown arguments of the `settle_combat` messages a worker has ended."""
    ended = {event["uuid"] for event in seen if event["type"] == "task-succeeded"}
    return [
        event["args"]
        for event in seen
        if event["type"] == "task-received"
        and event["name"] == "settle_combat"
        and event["uuid"] in ended
    ]


def types_that_tell(seen: list[dict[str, Any]], secret: str) -> set[str]:
    return {event["type"] for event in seen if secret in json.dumps(event)}


@pytest.mark.parametrize("form", FORMS)
def test_events_show_the_session_and_never_loot(settle: Settle, form: str) -> None:
    document = FORMS[form](secret_document())
    text = document if isinstance(document, str) else json.dumps(document)

    with events() as seen:
        settle(document)
        wait_until(lambda: received(seen), "the task's events came")

    assert received(seen) == [f"({json.loads(text)['session_id']},)"]
    assert not types_that_tell(seen, SECRET)


def test_events_show_no_content_of_what_is_no_document(settle: Settle) -> None:
    payloads = [SECRET, {"session_id": {"note": SECRET}}, [SECRET], {"a": SECRET}]

    with events() as seen:
        settle(*payloads)
        wait_until(
            lambda: len(received(seen)) == len(payloads), "the tasks' events came"
        )

    assert not types_that_tell(seen, SECRET)


def test_worker_log_never_shows_loot(settle: Settle, worker: CeleryProcess) -> None:
    document = secret_document()

    settle(
        document,
        json.dumps(document),
        {**document, "session_id": str(new_session_id())},
    )

    row = CombatHistory.objects.get(pk=document["session_id"])
    assert row.failure_code == "unknown_item"
    assert SECRET not in worker.output()
