"""History and audit as CSV and JSON lines: all that was asked for, once, in order."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from combat_history.actions import export
from combat_history.models import AuditEntry, Status
from tests.support import worker
from tests.support.admin import add_combat, add_failed
from tests.support.documents import HERO, make_document
from tests.support.ids import new_session_id

pytestmark = pytest.mark.usefixtures("world")

START = datetime(2026, 1, 1, tzinfo=UTC)


def exported(*arguments: str) -> str:
    out = StringIO()
    call_command("export_history", *arguments, stdout=out)
    return out.getvalue()


def json_lines(*arguments: str) -> list[dict[str, Any]]:
    text = exported("--format", "jsonl", *arguments)
    return [json.loads(line) for line in text.splitlines()]


def ids(*arguments: str) -> list[str]:
    return [row["session_id"] for row in json_lines(*arguments)]


def add_days(count: int, **over: Any) -> list[str]:
    """One combat a day from START on."""
    made = [
        add_combat(finished_at=START + timedelta(days=number), **over)
        for number in range(count)
    ]
    return [str(row.pk) for row in made]


@pytest.mark.parametrize("page", [1, 3, 500])
def test_every_combat_once_oldest_first(
    monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(export, "PAGE", page)
    earlier = add_days(4)
    # Of one moment: a page may end between them, and the id decides.
    same = sorted(
        str(add_combat(finished_at=START + timedelta(days=9)).pk) for _ in range(4)
    )
    assert ids() == earlier + same
    assert ids("--character", str(HERO)) == earlier + same


def test_a_range_has_its_beginning_and_not_its_end() -> None:
    made = add_days(5)
    assert ids("--since", "2026-01-02", "--until", "2026-01-04") == made[1:3]
    assert ids("--since", "2026-01-02T00:00:01+00:00") == made[2:]
    # One without an offset is of TIME_ZONE, which is UTC here.
    assert ids("--until", "2026-01-01T00:00:01") == made[:1]
    assert ids("--character", str(HERO), "--since", "2026-01-05") == made[4:]


def test_by_status_and_by_character() -> None:
    failed = add_failed(finished_at=START, participant_ids=[HERO, 202])
    add_combat(finished_at=START, participant_ids=[303])
    assert ids("--status", "failed") == [str(failed.pk)]
    assert ids("--character", "202") == [str(failed.pk)]
    assert ids("--character", "202", "--status", "pending") == []
    assert ids("--character", "404") == []


def test_a_json_line_has_the_document_as_it_is_stored() -> None:
    combat = add_failed(finished_at=START)
    (row,) = json_lines()
    assert row["document"] == combat.result_payload
    assert (row["status"], row["failure_code"]) == ("failed", "unknown_item")
    assert row["finished_at"] == "2026-01-01T00:00:00+00:00"
    assert (row["winner_team"], row["finish_reason"]) == ("blue", "victory")
    assert row["settled_at"] is None


def test_a_document_of_any_shape_is_exported() -> None:
    for meta in ("text", None, {"winner_team": ["odd"]}):
        session_id = new_session_id()
        document = make_document(session_id=session_id, meta=meta)
        add_combat(session_id=session_id, finished_at=START, result_payload=document)
    assert len(json_lines()) == 3
    assert len(list(csv.DictReader(StringIO(exported())))) == 3


def test_csv_is_read_back_by_its_heading() -> None:
    add_combat(
        finished_at=START,
        participant_ids=[HERO, 202],
        settlement_status=Status.PROCESSED,
        settled_at=START,
        received_at=START,
    )
    (row,) = csv.DictReader(StringIO(exported()))
    assert row["status"] == "processed"
    assert row["participants"] == f"{HERO} 202"
    assert row["settled_at"] == "2026-01-01T00:00:00+00:00"
    assert row["failure_code"] == ""


@pytest.mark.parametrize("text", ['=HYPERLINK("x")', "+1", "-1", "@x", "\t=1", "＝1"])
@pytest.mark.parametrize("shape", [str, lambda text: [text]])
def test_no_spreadsheet_runs_what_came_with_a_document(
    text: str, shape: Callable[[str], object]
) -> None:
    session_id = new_session_id()
    meta = {"winner_team": shape(text), "finish_reason": "victory", "end_timestamp": 1}
    add_combat(
        session_id=session_id,
        finished_at=START,
        result_payload=make_document(session_id=session_id, meta=meta),
    )
    (row,) = csv.DictReader(StringIO(exported()))
    assert row["winner_team"] == f"'{text}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x;=cmd|' /C calc'!A0", "x;'=cmd|' /C calc'!A0"),
        ('x;"=1";+2', "x;\"'=1\";'+2"),
        (";-1", ";'-1"),
        ("a\n@b", "a\n'@b"),
        ("a|＝1", "a|'＝1"),
        ("1;2, -3 and 4-5", "1;2, -3 and 4-5"),
    ],
)
def test_nor_where_it_splits_a_cell_itself(text: str, told: str) -> None:
    session_id = new_session_id()
    meta = {"winner_team": text, "finish_reason": "victory", "end_timestamp": 1}
    add_combat(
        session_id=session_id,
        finished_at=START,
        result_payload=make_document(session_id=session_id, meta=meta),
    )
    (row,) = csv.DictReader(StringIO(exported()))
    assert row["winner_team"] == told


def add_entries(count: int) -> list[int]:
    """One a day from START on."""
    made = AuditEntry.objects.bulk_create(
        AuditEntry(
            at=START + timedelta(days=number),
            actor_name="=anna",
            verb="void",
            target_type="combat",
            target_id=str(number),
            reason="a reason, with a comma",
            before={"status": "failed"},
            outcome="done",
        )
        for number in range(count)
    )
    return [entry.pk for entry in made]


@pytest.mark.parametrize("page", [1, 2, 500])
def test_the_audit_is_exported_too(monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    monkeypatch.setattr(export, "PAGE", page)
    made = add_entries(5)
    told = json_lines("--audit", "--since", "2026-01-02", "--until", "2026-01-05")
    assert [entry["id"] for entry in told] == made[1:4]
    assert told[0]["before"] == {"status": "failed"}
    rows = list(csv.DictReader(StringIO(exported("--audit"))))
    assert [int(row["id"]) for row in rows] == made
    assert (rows[0]["actor_name"], rows[0]["reason"]) == (
        "'=anna",
        "a reason, with a comma",
    )
    assert json.loads(rows[0]["before"]) == {"status": "failed"}
    assert rows[0]["after"] == ""


def test_a_file_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = add_days(3)
    file = tmp_path / "history.jsonl"
    errors = StringIO()
    call_command(
        "export_history", "--format", "jsonl", "--output", str(file), stderr=errors
    )
    lines = file.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["session_id"] for line in lines] == made
    assert errors.getvalue().strip() == "3 lines"

    file.write_text("old", encoding="utf-8")
    with monkeypatch.context() as patch:
        connection.close()
        patch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
        patch.setitem(connection.settings_dict, "PORT", "1")
        with pytest.raises(CommandError, match="cannot export"):
            call_command("export_history", "--output", str(file))
    connection.close()
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert file.read_text(encoding="utf-8") == "old"


def test_a_reader_may_stop_early() -> None:
    add_days(5, failure_detail="x" * 200_000)
    export_command = f"{sys.executable} manage.py export_history | head -n 1"
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", export_command],
        cwd=worker.PROJECT_ROOT,
        env=worker.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("session_id,")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--since", "yesterday"),
        ("--since", "2026-13-01"),
        ("--status", "lost"),
        ("--character", "-1"),
        ("--character", str(2**63)),
        ("--format", "xml"),
        ("--audit", "--status", "failed"),
        ("--audit", "--character", "7"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        exported(*arguments)


def test_each_page_is_read_by_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "PAGE", 100)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO combat_history (session_id, participant_ids, finished_at, "
            "result_payload) SELECT gen_random_uuid(), '{7}', now() - number * "
            "interval '1 second', '{}' FROM generate_series(1, 20000) number"
        )
        cursor.execute(
            "INSERT INTO combat_participants SELECT 7, finished_at, session_id "
            "FROM combat_history"
        )
        cursor.execute("ANALYZE combat_history, combat_participants")
    rows_before = _tuples_read()
    combats = export.history(export.Selection())
    first = next(iter(export.lines(combats, export.Format.JSONL)))
    assert first
    assert _tuples_read() - rows_before < 5000


def _tuples_read() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(
            "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) "
            "FROM pg_stat_user_tables WHERE relname = 'combat_history'"
        )
        return int(cursor.fetchone()[0])
