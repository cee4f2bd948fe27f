from __future__ import annotations

import base64
import string
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.contract.ids import parse_session_id, short_id
from tests.unit.strategies import BOUNDED

ID = UUID("0192f3a4-5b6c-7d8e-9f01-555666777888")
BASE64URL = string.ascii_letters + string.digits + "-_"


@given(session_id=st.uuids())
@BOUNDED
def test_every_form_names_the_same_session(session_id: UUID) -> None:
    for form in (
        session_id,
        str(session_id),
        str(session_id).upper(),
        session_id.hex,
        session_id.hex.upper(),
        short_id(session_id),
    ):
        assert parse_session_id(form) == session_id


@given(session_id=st.uuids())
@BOUNDED
def test_the_short_form_is_22_characters_of_base64url(session_id: UUID) -> None:
    short = short_id(session_id)

    assert len(short) == 22
    assert set(short) <= set(BASE64URL)
    assert base64.urlsafe_b64decode(short + "==") == session_id.bytes


@given(text=st.text(BASE64URL, min_size=22, max_size=22))
@BOUNDED
def test_no_two_short_texts_name_one_session(text: str) -> None:
    try:
        session_id = parse_session_id(text)
    except ValueError:
        return
    assert short_id(session_id) == text


def test_the_short_form_tells_upper_from_lower_case() -> None:
    short = short_id(ID)

    assert parse_session_id(short[0].swapcase() + short[1:]) != ID


@pytest.mark.parametrize("last", [c for c in BASE64URL if c not in "AQgw"])
def test_trailing_bits_that_carry_nothing_are_refused(last: str) -> None:
    with pytest.raises(ValueError, match="trailing bits"):
        parse_session_id(short_id(ID)[:-1] + last)


@pytest.mark.parametrize(
    "value",
    [
        str(ID)[:-1],
        str(ID) + "0",
        ID.hex[:-1],
        ID.hex + "0",
        short_id(ID)[:-1],
        short_id(ID) + "=",
        short_id(ID) + "==",
        "",
        f"{{{ID}}}",
        f"urn:uuid:{ID}",
        f" {ID}",
        f"{ID}\n",
        ID.hex + "\n",
        short_id(ID)[:-1] + "+",
        short_id(ID)[:-1] + "/",
        short_id(ID)[:-1] + "é",
        str(ID).replace("-", "_"),
        str(ID).replace("-", "", 1),
        "g" * 32,
        "٠" * 32,
        None,
        5,
        ID.bytes,
        ["x"],
    ],
)
def test_any_other_form_is_refused_and_the_accepted_ones_are_named(
    value: object,
) -> None:
    with pytest.raises(
        ValueError, match="a UUID, 32 hex digits or 22 base64url characters"
    ):
        parse_session_id(value)


def test_the_message_quotes_no_more_than_the_start_of_the_value() -> None:
    with pytest.raises(ValueError, match="is not a session id") as caught:
        parse_session_id("x" * 10_000)

    assert len(str(caught.value)) < 200
