"""Every delivery becomes a case with one verdict or is rejected; none raises."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.contract.changes import MAX_BIGINT
from persistence.contract.document import canonical_json, digest
from persistence.contract.errors import PayloadInvalid
from persistence.contract.fight_log import unpack
from persistence.engine.handoff import checked
from persistence.protocols import Delivery
from persistence.savers.combat.cases import (
    Case,
    conflict,
    read_delivery,
    read_row,
)
from persistence.worker.rejected import Rejected
from tests.unit.builders import sample, sample_with, sample_without
from tests.unit.strategies import BOUNDED, json_values

ID = UUID(sample()["session_id"])
NOW = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
ENDED = datetime(2024, 12, 29, 8, 13, 20, tzinfo=UTC)


def delivery(document: object, **over: Any) -> Delivery:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Delivery(ID, raw, **over)


def case_of(document: object, **over: Any) -> Case:
    case = read_delivery(delivery(document, **over), NOW)
    assert isinstance(case, Case)
    assert (case.payload is None) != (case.failure is None)
    return case


def rejected(found: Case | Rejected) -> Rejected:
    assert isinstance(found, Rejected)
    return found


def with_member(value: str, key: str = "note") -> bytes:
    document = {k: v for k, v in sample().items() if k != key}
    return f'{json.dumps(document)[:-1]}, "{key}": {value}}}'.encode(
        "utf-8", "surrogatepass"
    )


def test_a_valid_document_becomes_a_case_to_apply() -> None:
    case = case_of(sample())

    assert case.failure is None
    assert case.session_id == ID
    assert case.sha256 == digest(canonical_json(sample()))
    assert case.participants == [101]
    assert case.finished_at == ENDED
    assert case.received_at == NOW
    assert case.raw is None
    assert case.revision == 1


def test_the_row_holds_the_document_without_its_fight_log() -> None:
    case = case_of(sample())

    assert json.loads(case.text) == sample_without("replay_log")
    assert case.fight_log is not None
    assert unpack(case.fight_log) == sample()["replay_log"]


@pytest.mark.parametrize("log", [None, [], "KLUv/SAAAQAA"])
def test_a_fight_log_is_kept_as_it_was_sent(log: object) -> None:
    case = case_of(sample_with("replay_log", log))

    assert case.fight_log is not None
    assert unpack(case.fight_log) == log


def test_where_no_fight_log_was_sent_none_is_kept() -> None:
    assert case_of(sample_without("replay_log")).fight_log is None


def test_the_hash_and_the_time_of_the_hand_off_stand() -> None:
    accepted = datetime(2025, 1, 1, tzinfo=UTC)

    case = case_of(sample(), sha256="f" * 64, accepted_at=accepted)

    assert (case.sha256, case.received_at) == ("f" * 64, accepted)


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("participants.101.changes.xp_gaind", 5, "invalid_payload"),
        ("participants.101.changes.xp_gained", -5, "out_of_range"),
        ("participants", {}, "invalid_payload"),
        ("meta", None, "invalid_payload"),
        ("replay_log", 5, "invalid_payload"),
    ],
)
def test_a_document_that_breaks_the_contract_fails_with_its_path(
    path: str, value: object, code: str
) -> None:
    case = case_of(sample_with(path, value))

    assert case.failure is not None
    assert case.failure.code == code
    assert case.failure.session_id == str(ID)
    assert case.failure.detail.startswith(f"{path}: ")
    assert json.loads(case.text)["session_id"] == str(ID)


def test_an_invalid_document_keeps_its_time_and_its_players() -> None:
    case = case_of(sample_with("participants.101.changes", 5))

    assert (case.finished_at, case.participants) == (ENDED, [101])


@pytest.mark.parametrize(
    "stamp", [None, True, "x", 1.5, 0, -5, 10**13, 10**400, [], {"a": 1}]
)
def test_a_time_that_is_no_time_is_replaced_by_the_receipt(stamp: object) -> None:
    case = case_of(sample_with("meta.end_timestamp", stamp))

    assert case.payload is None
    assert case.finished_at == NOW


def test_a_time_in_the_future_of_the_door_fails_but_is_kept() -> None:
    accepted = ENDED - timedelta(minutes=6)

    case = case_of(sample(), accepted_at=accepted)

    assert case.failure is not None
    assert "in the future" in case.failure.detail
    assert case.finished_at == ENDED


def test_no_other_clock_than_the_doors_makes_a_time_future() -> None:
    late = int(time.time()) + 3600
    accepted = datetime.fromtimestamp(late - 60, UTC)

    case = case_of(sample_with("meta.end_timestamp", late), accepted_at=accepted)

    assert case.failure is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (r'"\u0000"', "NUL"),
        (r'{"\u0000": 1}', "NUL"),
        ("NaN", "NaN, infinite"),
        ("[-Infinity]", "NaN, infinite"),
        ("1e400", "NaN, infinite"),
        (r'"\ud800"', "surrogate"),
        ('"\ud800"', "surrogate"),
    ],
)
def test_what_jsonb_refuses_fails_and_keeps_its_exact_bytes(
    value: str, reason: str
) -> None:
    raw = with_member(value)

    case = case_of(raw)

    assert case.failure is not None
    assert case.failure.code == "invalid_payload"
    assert reason in case.failure.detail
    assert case.raw == raw
    assert case.fight_log is None
    assert (case.participants, case.finished_at) == ([101], ENDED)
    stored = json.loads(case.text)
    assert stored["session_id"] == str(ID)
    assert reason in stored["unstorable"]


@pytest.mark.parametrize(
    "value", [r'"\u0000"', "NaN", "1e400", r'"\ud800"', "[" * 190 + "]" * 190]
)
def test_a_fight_log_of_any_content_is_settled_and_kept(value: str) -> None:
    case = case_of(with_member(f"[{value}]", "replay_log"))

    assert case.failure is None
    assert case.fight_log is not None
    # NaN equals nothing, itself included.
    assert repr(unpack(case.fight_log)) == repr(json.loads(f"[{value}]"))


@pytest.mark.parametrize("key", ["note", "replay_log"])
@pytest.mark.parametrize("inside", ["1", "NaN", r'"\u0000"', r'"\ud800"'])
def test_nesting_beyond_the_bound_is_rejected_whatever_is_inside(
    key: str, inside: str
) -> None:
    raw = with_member("[" * 300 + inside + "]" * 300, key)

    found = rejected(read_delivery(delivery(raw), NOW))

    assert (found.code, found.raw) == ("invalid_payload", raw)
    assert "nested too deeply" in found.errors[0]["message"]


def test_a_row_nested_beyond_the_bound_fails_as_such() -> None:
    raw = with_member("[" * 900 + "]" * 900)
    row = (ID, "pending", "c" * 64, raw, 1, "{}", NOW, None, None, NOW)

    case = read_row(row)

    assert case.failure is not None
    assert "nested too deeply" in case.failure.detail


@pytest.mark.parametrize("key", ["note", "replay_log"])
def test_a_key_that_stands_twice_fails_and_keeps_its_exact_bytes(key: str) -> None:
    raw = with_member('[{"gold": 1, "g\\u006fld": 2, "q": "a \\u0022 b"}]', key)

    case = case_of(raw)

    assert case.failure is not None
    assert case.failure.detail == f"{key}.0.gold: this key stands twice"
    assert case.raw == raw
    # It is no other document, though one value of the two is all that is read.
    assert case.sha256 != case_of(with_member('[{"gold": 2}]', key)).sha256


@pytest.mark.parametrize("entry", [{"cls": "orc"}, {"_fields_set": []}])
def test_an_ai_of_any_keys_never_raises(entry: dict[str, Any]) -> None:
    assert case_of(sample_with("participants.goblin_1", entry)).failure is None


def test_a_player_id_beyond_bigint_fails_as_a_domain_failure() -> None:
    document = sample_with(
        f"participants.{MAX_BIGINT + 1}", sample()["participants"]["101"]
    )

    case = case_of(document)

    assert case.failure is not None
    assert case.participants == [101]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "invalid_payload"),
        (b"{", "invalid_payload"),
        (b'{"session_id": "\xff"}', "invalid_payload"),
        (b"[" * 100_000, "invalid_payload"),
        (b"[]", "not_an_object"),
        (b"null", "not_an_object"),
        (b"{}", "bad_session_id"),
        (b'{"session_id": "uuid-555-666"}', "bad_session_id"),
        (
            json.dumps(
                sample_with("session_id", "0192f3a4-5b6c-7d8e-9f01-000000000000")
            ).encode(),
            "bad_session_id",
        ),
    ],
)
def test_what_names_no_session_or_another_one_is_rejected_with_its_bytes(
    raw: bytes, code: str
) -> None:
    found = rejected(read_delivery(delivery(raw), NOW))

    assert (found.session_id, found.code, found.raw) == (ID, code, raw)
    assert found.sha256 == digest(raw)
    assert found.errors[0]["message"]


def test_a_rejected_delivery_keeps_the_hash_of_its_hand_off() -> None:
    found = rejected(read_delivery(delivery(b"[]", sha256="a" * 64), NOW))

    assert found.sha256 == "a" * 64


def test_an_entry_without_a_document_is_rejected_as_lost() -> None:
    found = rejected(read_delivery(Delivery(ID), NOW))

    assert (found.session_id, found.code) == (ID, "payload_lost")
    assert (found.sha256, found.raw) == (None, None)


def test_a_conflict_keeps_the_bytes_of_the_other_document() -> None:
    found = conflict(ID, "b" * 64, b"{}")

    assert (found.code, found.sha256, found.raw) == (
        "payload_conflict",
        "b" * 64,
        b"{}",
    )


def test_a_pending_row_is_read_from_its_own_document_time_and_revision() -> None:
    stored = json.dumps(sample_without("replay_log"))
    row = (ID, "pending", "c" * 64, None, 3, stored, NOW, None, None, NOW)

    case = read_row(row)

    assert case.payload is not None
    assert (case.sha256, case.revision, case.finished_at) == ("c" * 64, 3, NOW)
    assert case.fight_log is None


def test_a_pending_row_of_raw_bytes_is_read_from_them() -> None:
    raw = with_member("NaN")
    row = (ID, "pending", "c" * 64, raw, 1, '{"unstorable": "x"}', NOW, None, None, NOW)

    case = read_row(row)

    assert case.failure is not None
    assert (case.raw, case.participants) == (raw, [101])


def test_a_row_written_without_a_hash_gets_the_documents_own() -> None:
    document = sample_without("replay_log")
    row = (ID, "pending", None, None, 1, json.dumps(document), NOW, None, None, NOW)

    assert read_row(row).sha256 == digest(canonical_json(document))


ANY_VALUE = (
    json_values()
    | st.text(st.sampled_from('aя"\\\x00\ud800\udc00'))
    | st.lists(st.floats(), max_size=3)
)


@given(
    path=st.sampled_from(["note", "meta.note", "participants.-5", "replay_log"]),
    value=ANY_VALUE,
)
@BOUNDED
def test_what_the_door_accepts_the_worker_can_apply(path: str, value: object) -> None:
    text = json.dumps(sample_with(path, value))
    try:
        checked(text)
    except PayloadInvalid:
        return

    assert case_of(text.encode()).failure is None


@given(
    path=st.sampled_from(
        [
            "meta",
            "meta.end_timestamp",
            "meta.winner_team",
            "participants",
            "participants.101",
            "participants.-5",
            "participants.101.changes",
            "participants.101.changes.items_consumed",
            "participants.101.changes.durability_loss",
            "participants.101.changes.items_gained",
            "participants.101.ui_report",
            "participants.101.ui_report.loot_obtained",
            "participants.101.state_snapshot",
            "replay_log",
            "note",
        ]
    ),
    value=ANY_VALUE,
)
@BOUNDED
def test_no_value_anywhere_makes_a_delivery_raise(path: str, value: object) -> None:
    case = case_of(sample_with(path, value))

    assert case.text.encode()
    assert case.finished_at.tzinfo is not None
    json.loads(case.text, parse_constant=pytest.fail)


@given(raw=st.binary(max_size=200))
@BOUNDED
def test_no_bytes_make_a_delivery_raise(raw: bytes) -> None:
    assert rejected(read_delivery(delivery(raw), NOW)).raw == raw
