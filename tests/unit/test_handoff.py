"""What the hand-off script is given: the keys and arguments of its header."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from persistence.contract.document import canonical_json, digest
from persistence.contract.errors import PayloadInvalid
from persistence.engine import scripts
from persistence.engine.handoff import Receipt, answer, checked, unchecked
from tests.unit.builders import paths, sample, sample_with, sample_without

ID = sample()["session_id"]


def test_a_valid_document_names_its_keys_and_its_snapshots() -> None:
    document = sample_with("participants.102", {"is_winner": False, "changes": {}})
    document["participants"]["goblin_1"] = {}
    raw = canonical_json(document)

    handoff = checked(document)

    assert handoff.raw == raw
    assert handoff.sha256 == digest(raw)
    assert handoff.keys == [
        f"combat:result:{ID}",
        "combat:inbox",
        f"cs:{ID}",
        "combat:active",
        "combat:doorbell",
        "combat:lingerer",
        "combat:wake",
        "ac:101",
        "ac:102",
    ]
    assert handoff.args == [
        ID,
        raw,
        handoff.sha256,
        1735460000,
        300,
        1000,
        5,
        "",
        1,
        handoff.sha256,
        "",
        "",
        "",
        450,
        20,
        "",
        "",
    ]


@pytest.mark.parametrize("form", [json.dumps(sample()), json.dumps(sample()).encode()])
def test_a_text_is_kept_byte_for_byte(form: str | bytes) -> None:
    kept = form if isinstance(form, bytes) else form.encode()

    assert checked(form).raw == kept


def test_any_form_of_the_id_leads_to_the_same_keys() -> None:
    short = sample_with("session_id", "AZLzpFtsfY6fAVVWZnd4iA")

    assert checked(short).keys == checked(sample()).keys
    assert checked(short).args[0] == ID


def test_a_document_that_breaks_the_contract_is_refused_when_checked() -> None:
    with pytest.raises(PayloadInvalid) as caught:
        checked(sample_with("participants.101.changes.xp_gaind", 5))

    assert caught.value.errors[0]["path"] == "participants.101.changes.xp_gaind"


def test_unchecked_it_is_handed_over_without_a_snapshot() -> None:
    document = sample_with("participants.101.changes.xp_gaind", 5)

    handoff = unchecked(document)

    assert handoff.keys[-1] == "combat:wake"
    assert handoff.args[0] == ID
    assert handoff.args[3] == 0
    assert handoff.args[7:] == ["", "", handoff.sha256, "", "", ""]


def test_unchecked_a_valid_document_is_handed_over_in_full() -> None:
    raw = canonical_json(sample())

    assert unchecked(raw) == checked(sample()).once_accepted()


def test_a_session_named_twice_is_nobodys() -> None:
    text = json.dumps(sample())[:-1] + ', "session_id": "x"}'

    with pytest.raises(PayloadInvalid) as caught:
        unchecked(text)

    assert paths(caught.value) == ["session_id"]


def test_without_a_session_nothing_can_be_handed_over() -> None:
    with pytest.raises(PayloadInvalid) as caught:
        unchecked(sample_without("session_id"))

    assert caught.value.code == "bad_session_id"


@pytest.mark.parametrize(
    ("reply", "meaning"),
    [
        ([b"accepted", 1], (Receipt.ACCEPTED, True)),
        (["accepted", 0], (Receipt.ACCEPTED, False)),
        ([b"duplicate", 0], (Receipt.DUPLICATE, False)),
        ([b"conflict", 1], (Receipt.CONFLICT, True)),
    ],
)
def test_the_scripts_answer_is_read(
    reply: list[bytes | str | int], meaning: tuple[Receipt, bool]
) -> None:
    assert answer(reply) == meaning


def test_an_answer_of_another_kind_is_no_acceptance() -> None:
    with pytest.raises(ValueError, match="OK"):
        answer([b"OK", 1])


LUA = Path(scripts.__file__).parent.parent / "lua"
SCRIPTS = [
    path.stem
    for path in sorted(LUA.glob("*.lua"))
    if not path.read_text().startswith("-- Included by")
]


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_states_its_arguments_and_its_reply(name: str) -> None:
    header = "\n".join(
        line for line in scripts.source(name).splitlines() if line.startswith("--")
    )

    assert re.search("KEYS:|ARGV:", header)
    assert "Returns" in header
