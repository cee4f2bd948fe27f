"""Which documents are the same document: equal JSON values have one SHA-256."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from persistence.contract.changes import Changes, ConsumedItem, GainedItem
from persistence.contract.document import (
    Document,
    canonical_json,
    parse_document,
)
from persistence.contract.errors import PayloadInvalid
from persistence.contract.identity import identified, identity
from persistence.contract.meta import CombatMeta, FinishReason
from persistence.contract.payload import (
    AiParticipant,
    CombatResultPayload,
    ParticipantResult,
    StateSnapshot,
    validate,
)
from persistence.engine.handoff import checked, unchecked
from tests.unit.builders import sample, sample_with
from tests.unit.strategies import BOUNDED, json_values, typed_values


def sha256(document: Document) -> str:
    return identity(document)


def form(text: str) -> str:
    """The identified form of an array's text."""
    document = parse_document(f'{{"x":{text}}}'.encode())
    return identified(document).decode()[5:-1]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        # Of the appendix of RFC 8785, as far as that is no integer of ours.
        ("-0", "0"),
        ("-0.0", "0"),
        ("10", "10"),
        ("10.0", "10"),
        ("1e1", "10"),
        ("0.1e2", "10"),
        ("1E-1", "0.1"),
        ("5000.50", "5000.5"),
        ("4.50", "4.5"),
        ("2e-3", "0.002"),
        ("0.000001", "0.000001"),
        ("0.0000001", "1e-7"),
        ("1.5e-9", "1.5e-9"),
        ("5e-324", "5e-324"),
        ("333333333.33333329", "333333333.3333333"),
        # Exact, and written in full.
        ("9007199254740993", "9007199254740993"),
        ("1e21", "1000000000000000000000"),
        ("1e23", "1" + "0" * 23),
        ("1" + "0" * 23, "1" + "0" * 23),
        ("123456789012345680000", "123456789012345680000"),
        ('[1.0,[-2.50,{"k":3e0}]]', '[1,[-2.5,{"k":3}]]'),
        ('["1.0",":1.50",",2e+5",1.0]', '["1.0",":1.50",",2e+5",1]'),
        (r'["\"1.0",1.0]', r'["\"1.0",1]'),
        (
            r'"\u20ac$\u000F\u000aA\u0027\u0042\u0022\u005c\\\"\/"',
            r'''"€$\u000f\nA'B\"\\\\\"/"''',
        ),
    ],
)
def test_values_are_written_as_rfc_8785_says(text: str, written: str) -> None:
    assert form(text) == written


def test_keys_are_sorted_by_utf_16_code_units() -> None:
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\x80", "\xf6"]

    text = form(json.dumps(dict.fromkeys(keys, 1.0)))

    assert list(json.loads(text)) == [
        *("\r", "1", "\x80", "\xf6", "\u20ac", "\U0001f600", "\ufb33")
    ]
    assert set(json.loads(text, parse_int=str).values()) == {"1"}


@pytest.mark.parametrize(
    "respelt",
    [
        {"session_id": "0192F3A4-5B6C-7D8E-9F01-555666777888"},
        {"session_id": "0192f3a45b6c7d8e9f01555666777888"},
        {"session_id": "AZLzpFtsfY6fAVVWZnd4iA"},
        {"note": [10, 0, {"k": 100}]},
        {"note": [1e1, -0.0, {"k": 1e2}]},
    ],
)
def test_another_spelling_is_the_same_document(respelt: Document) -> None:
    document = {"note": [10.0, 0, {"k": 100}]}

    first = checked({**sample(), **document})
    again = checked(json.dumps({**sample(), **document, **respelt}))

    assert again.sha256 == first.sha256
    assert again.raw == json.dumps({**sample(), **document, **respelt}).encode()


def test_an_accepted_alias_is_the_same_document() -> None:
    entries = [{"inv_id": 55, "qty": 1}], [{"inventory_id": 55, "qty": 1}]
    path = "participants.101.changes.items_consumed"

    by_alias, by_name = (checked(sample_with(path, consumed)) for consumed in entries)

    assert by_alias.sha256 == by_name.sha256
    assert b'"inv_id"' in by_alias.raw


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
        ("note", "10"),
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


@given(extra=json_values() | st.floats() | st.text(st.characters()))
@example(2**64)
@example([True, 1, 1.0, None])
@example({"\ue000": 1, "\U0001f600": 2, "\x7f\u2028/": '"\\'})
@example([float("nan"), None])
@BOUNDED
def test_every_form_of_a_document_has_the_hash_of_pythons_own_writer(
    extra: Any,
) -> None:
    document = {**sample(), "extra": extra}

    for form in (
        document,
        json.dumps(document),
        json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True),
    ):
        assert unchecked(form).sha256 == sha256(document)


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

    # Numbers are equal by their value, and booleans are no numbers.
    assert (sha256(other) == sha256(document)) == (values(other) == values(document))


def values(value: Any) -> Any:
    match value:
        case bool():
            return str(value)
        case dict():
            return {key: values(inner) for key, inner in value.items()}
        case list():
            return [values(inner) for inner in value]
    return value


@given(
    extra=json_values() | typed_values(),
    ai=st.dictionaries(st.text(), json_values() | typed_values(), max_size=3),
    form=st.sampled_from([str, str.upper, lambda text: UUID(text).hex]),
    consumed=st.sampled_from(["inv_id", "inventory_id"]),
)
@BOUNDED
def test_a_model_is_the_document_it_was_made_of(
    extra: Any, ai: dict[str, Any], form: Callable[[str], str], consumed: str
) -> None:
    path = "participants.101.changes.items_consumed"
    document = sample_with(path, [{consumed: 55, "qty": 1}])
    document["session_id"] = form(document["session_id"])
    document["meta"]["extra"] = document["participants"]["101"]["extra"] = extra
    document["participants"]["goblin_1"] = {"kept": ai}

    assert identity(validate(document).document()) == unchecked(document).sha256


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
