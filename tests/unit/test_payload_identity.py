"""Which documents are the same document: canonical JSON and its SHA-256."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.document import (
    Document,
    canonical_json,
    digest,
    parse_document,
)
from persistence.errors import PayloadInvalid
from persistence.handoff import checked
from persistence.payload import (
    AiParticipant,
    Changes,
    CombatMeta,
    CombatResultPayload,
    ConsumedItem,
    FinishReason,
    GainedItem,
    ParticipantResult,
    StateSnapshot,
    validate,
)
from tests.unit.builders import sample, sample_with
from tests.unit.strategies import BOUNDED, json_values


def sha256(document: Document) -> str:
    return digest(canonical_json(document))


def test_canonical_json_is_sorted_compact_and_utf_8() -> None:
    document = {"б": "я", "a": [1, {"z": None, "b": True}]}

    assert canonical_json(document) == '{"a":[1,{"b":true,"z":null}],"б":"я"}'.encode()


def test_the_digest_is_sha_256_of_the_canonical_bytes() -> None:
    assert sha256({}) == hashlib.sha256(b"{}").hexdigest()


@pytest.mark.parametrize(
    "form",
    [
        sample(),
        json.dumps(sample()),
        json.dumps(sample(), ensure_ascii=False),
        json.dumps(sample()).encode(),
        json.dumps(sample(), indent=4),
        json.dumps(sample(), separators=(",", ":")),
        dict(reversed(sample().items())),
        json.dumps(sample(), sort_keys=True),
        validate(sample()),
    ],
    ids=[
        "dict",
        "escaped text",
        "text",
        "bytes",
        "indented",
        "compact",
        "reordered dict",
        "sorted text",
        "model",
    ],
)
def test_one_document_has_one_hash_in_every_form(
    form: CombatResultPayload | Document | str | bytes,
) -> None:
    assert checked(form).sha256 == sha256(sample())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("session_id", "0192f3a4-5b6c-7d8e-9f01-555666777889"),
        # The hash is of the document as received, never of what it means.
        ("session_id", "0192F3A4-5B6C-7D8E-9F01-555666777888"),
        ("meta.end_timestamp", 1735460001),
        ("participants.101.changes.gold_gained", 101),
        ("participants.101.changes.items_gained", None),
        ("participants.101.ui_report.damage_dealt", 5000.5),
        ("participants.goblin_1", {}),
        ("replay_log", []),
        ("note", ""),
    ],
)
def test_any_difference_is_another_document(path: str, value: object) -> None:
    assert checked(sample_with(path, value)).sha256 != sha256(sample())


@given(document=st.dictionaries(st.text(), json_values()))
@BOUNDED
def test_writing_and_reading_a_document_keeps_its_hash(document: Document) -> None:
    for text in (
        json.dumps(document),
        json.dumps(document, ensure_ascii=False, indent=1),
        json.dumps(document, sort_keys=True),
    ):
        assert sha256(parse_document(text.encode())) == sha256(document)


@given(
    document=st.dictionaries(st.text(), json_values()),
    key=st.text(),
    value=json_values(),
)
@BOUNDED
def test_one_changed_value_changes_the_hash(
    document: Document, key: str, value: Any
) -> None:
    other = {**document, key: [value]}

    assert (sha256(other) == sha256(document)) == (
        json.dumps(other, sort_keys=True) == json.dumps(document, sort_keys=True)
    )


def test_a_payload_built_in_python_has_the_hash_of_its_document() -> None:
    built = CombatResultPayload(
        session_id=UUID("0192f3a4-5b6c-7d8e-9f01-555666777888"),
        meta=CombatMeta(end_timestamp=1735460000, finish_reason=FinishReason.FLEE),
        participants={
            "101": ParticipantResult(
                is_winner=False,
                state_snapshot=StateSnapshot(hp=1, energy=0),
                changes=Changes(
                    gold_gained=-5,
                    items_consumed=[ConsumedItem(inventory_id=55, qty=1)],
                    items_gained=[GainedItem(item_template_id="wolf_hide", qty=2)],
                ),
            ),
            "-7": AiParticipant.model_validate({"kind": "shadow"}),
        },
    )
    document = {
        "session_id": "0192f3a4-5b6c-7d8e-9f01-555666777888",
        "meta": {"end_timestamp": 1735460000, "finish_reason": "flee"},
        "participants": {
            "101": {
                "is_winner": False,
                "state_snapshot": {"hp": 1, "energy": 0},
                "changes": {
                    "gold_gained": -5,
                    "items_consumed": [{"inventory_id": 55, "qty": 1}],
                    "items_gained": [{"item_template_id": "wolf_hide", "qty": 2}],
                },
            },
            "-7": {"kind": "shadow"},
        },
    }

    assert built.document() == document
    assert checked(built).sha256 == checked(document).sha256


@pytest.mark.parametrize(
    "document", [{"x": object()}, {"x": {1, 2}}, {"x": 1, 5: 2}, {"x": 10**5000}]
)
def test_a_value_json_has_no_form_for_is_refused(document: Document) -> None:
    with pytest.raises(PayloadInvalid) as caught:
        canonical_json(document)

    assert caught.value.code == "invalid_payload"
    assert "not writable as JSON" in str(caught.value)
