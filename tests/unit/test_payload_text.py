"""Texts a document may arrive as: unreadable, unstorable, too deep, too large."""

from __future__ import annotations

import json

import pytest

from persistence.contract.document import (
    MAX_DOCUMENT_BYTES,
    canonical_json,
    parse_document,
    unstorable,
)
from persistence.contract.errors import PayloadInvalid
from persistence.engine.handoff import checked, unchecked
from tests.unit.builders import paths, sample, sample_with

SURROGATE = "a string holds a lone surrogate"
NUL = "a string holds the NUL character"
NUMBER = "a number is NaN, infinite or too large for a float"


def sample_text(value: str, key: str = "note") -> str:
    """The sample's text with one more member, `value` being JSON text."""
    document = {k: v for k, v in sample().items() if k != key}
    return f'{json.dumps(document)[:-1]}, "{key}": {value}}}'


def refused(payload: object) -> PayloadInvalid:
    with pytest.raises(PayloadInvalid) as caught:
        checked(payload)  # type: ignore[arg-type]  # any type may come from an engine
    return caught.value


@pytest.mark.parametrize(
    "text", ["", "{", "{'a': 1}", '{"a": 1,}', '{"a": 1} x', "\ufeff{}", '{"a": "\n"}']
)
def test_what_is_no_json_is_refused(text: str) -> None:
    error = refused(text)

    assert (error.code, paths(error)) == ("invalid_payload", [""])
    assert "not readable as JSON" in error.errors[0]["message"]


def test_bytes_that_are_no_utf_8_are_refused() -> None:
    assert refused(b'{"a": "\xff"}').code == "invalid_payload"


@pytest.mark.parametrize("text", ["[]", "null", '"text"', "5", "true"])
def test_json_that_is_no_object_has_a_code_of_its_own(text: str) -> None:
    error = refused(text)

    assert (error.code, paths(error)) == ("not_an_object", [""])


@pytest.mark.parametrize("value", [None, 5, [sample()], bytearray(b"{}"), object()])
def test_a_payload_of_another_type_is_no_object(value: object) -> None:
    error = refused(value)

    assert error.code == "not_an_object"
    assert type(value).__name__ in error.errors[0]["message"]


def test_a_document_of_the_largest_size_is_accepted() -> None:
    text = sample_text('""')
    padding = "x" * (MAX_DOCUMENT_BYTES - len(text))

    checked(sample_text(f'"{padding}"'))
    error = refused(sample_text(f'"{padding}x"'))

    assert (error.code, paths(error)) == ("too_large", [""])
    assert str(MAX_DOCUMENT_BYTES) in error.errors[0]["message"]


def test_too_large_is_told_before_anything_is_looked_into() -> None:
    with pytest.raises(PayloadInvalid) as caught:
        unchecked(b"x" * 2000, 1999)

    assert caught.value.code == "too_large"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (r'"a\u0000b"', NUL),
        (r'{"a\u0000b": 1}', NUL),
        (r'[[{"deep": "\u0000"}]]', NUL),
        ("NaN", NUMBER),
        ("Infinity", NUMBER),
        ("[-Infinity]", NUMBER),
        ("1e400", NUMBER),
        ('{"x": [-1e999]}', NUMBER),
        (r'"\ud800"', SURROGATE),
        (r'{"\udfff": 1}', SURROGATE),
        ('"\ud800"', SURROGATE),
    ],
)
@pytest.mark.parametrize("key", ["note", "replay_log"])
def test_text_that_jsonb_refuses_is_refused_at_the_door(
    key: str, value: str, reason: str
) -> None:
    text = sample_text(f"[{value}]", key)

    error = refused(text)

    assert (error.code, error.errors[0]["message"]) == ("invalid_payload", reason)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("a\x00b", NUL),
        ({"a\x00b": 1}, NUL),
        (float("nan"), NUMBER),
        (float("inf"), NUMBER),
        ("\ud800", SURROGATE),
        ({"\udfff": 1}, SURROGATE),
    ],
)
def test_values_that_jsonb_refuses_are_refused_in_a_dict_too(
    value: object, reason: str
) -> None:
    document = sample_with("note", [value])

    assert refused(document).errors == [{"path": "", "message": reason}]
    assert unstorable(canonical_json(document), document) == reason


@pytest.mark.parametrize(
    "value", [r'"\\u0000"', '"NaN"', '"-Infinity"', r'"😀 \ud83d\ude00"', "1e308"]
)
def test_text_that_only_looks_unstorable_is_accepted(value: str) -> None:
    checked(sample_text(value))


def test_the_sample_is_storable() -> None:
    assert unstorable(canonical_json(sample()), sample()) is None


@pytest.mark.parametrize("depth", [5_000, 100_000])
def test_nesting_beyond_the_parser_is_refused(depth: int) -> None:
    error = refused(sample_text("[" * depth + "]" * depth))

    assert (error.code, paths(error)) == ("invalid_payload", [""])


def test_an_integer_beyond_the_parser_is_refused() -> None:
    error = refused(sample_text("9" * 5000))

    assert (error.code, paths(error)) == ("invalid_payload", [""])


def test_a_big_integer_where_nothing_is_applied_is_kept() -> None:
    document = parse_document(sample_text("9" * 400).encode())

    assert document["note"] == 10**400 - 1


def test_an_escaped_surrogate_is_read_so_that_a_row_can_say_why_not() -> None:
    document = parse_document(sample_text(r'"\ud800"').encode())

    assert document["note"] == "\ud800"
