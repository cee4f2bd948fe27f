"""The published JSON Schema says what `validate` enforces."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from persistence.contract.document import Document
from persistence.contract.errors import PayloadInvalid
from persistence.contract.payload import MAX_PARTICIPANTS, validate
from persistence.contract.payload_schema import payload_schema
from tests.support.examples import examples
from tests.unit.builders import sample
from tests.unit.json_schema import holds
from tests.unit.strategies import BOUNDED, SLOPPY_KEYS, gifts, number_like_keys

Schema = dict[str, Any]


def definition(name: str) -> Schema:
    found: Schema = payload_schema()["$defs"][name]
    return found


def resolved(schema: Schema, root: Schema) -> Iterator[Schema]:
    """A schema with its reference followed and its alternatives spread out."""
    if "$ref" in schema:
        yield from resolved(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    for option in schema.get("anyOf", ()):
        yield from resolved(option, root)
    yield schema


def member(schemas: list[Schema], key: str) -> Schema | None:
    """The schema of an object's member, described by name or by pattern."""
    for schema in schemas:
        if key in schema.get("properties", {}):
            found: Schema = schema["properties"][key]
            return found
        for pattern, described in schema.get("patternProperties", {}).items():
            if re.search(pattern, key):
                return dict(described)
    return None


def undescribed(
    value: object, schema: Schema, root: Schema, path: str = ""
) -> Iterator[str]:
    options = list(resolved(schema, root))
    if isinstance(value, dict):
        for key, entry in value.items():
            found = member(options, key)
            if found is None:
                yield f"{path}{key}"
            else:
                yield from undescribed(entry, found, root, f"{path}{key}.")
    if isinstance(value, list):
        items = [option["items"] for option in options if "items" in option]
        for entry in value:
            for described in items:
                yield from undescribed(entry, described, root, path)


def test_the_schema_is_json_of_draft_2020_12() -> None:
    schema = payload_schema()

    assert json.loads(json.dumps(schema)) == schema
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["type"] == "object"


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(payload_schema())
    names = set(re.findall(r'"\$ref": "#/\$defs/(\w+)"', text))

    assert names
    assert names <= payload_schema()["$defs"].keys()


def test_every_key_of_the_sample_is_described_but_free_report_fields() -> None:
    schema = payload_schema()

    assert list(undescribed(sample(), schema, schema)) == [
        "participants.101.ui_report.damage_dealt"
    ]


@pytest.mark.parametrize(
    ("name", "required"),
    [
        ("CombatMeta", {"end_timestamp", "finish_reason"}),
        ("ParticipantResult", {"is_winner", "changes"}),
        ("StateSnapshot", {"hp", "energy"}),
        ("ConsumedItem", {"qty"}),
        ("GainedItem", {"item_template_id", "qty"}),
        ("Changes", set()),
    ],
)
def test_required_fields_are_listed(name: str, required: set[str]) -> None:
    assert set(definition(name).get("required", ())) == required


def test_a_document_needs_its_id_its_meta_and_its_participants() -> None:
    assert set(payload_schema()["required"]) == {"session_id", "meta", "participants"}


@pytest.mark.parametrize("name", ["Changes", "ConsumedItem", "GainedItem"])
def test_unknown_rewards_are_refused_by_the_schema(name: str) -> None:
    assert definition(name)["additionalProperties"] is False


@pytest.mark.parametrize("name", ["ParticipantResult", "CombatMeta", "UiReport"])
def test_unknown_keys_elsewhere_are_allowed_by_the_schema(name: str) -> None:
    assert definition(name)["additionalProperties"] is True


def test_a_wear_target_of_no_known_form_is_refused_by_the_schema() -> None:
    wear = definition("Changes")["properties"]["durability_loss"]

    assert wear.get("additionalProperties") is False


def test_player_keys_are_told_from_ai_keys_by_pattern() -> None:
    participants = payload_schema()["properties"]["participants"]
    ((pattern, described),) = participants["patternProperties"].items()

    assert described == {"$ref": "#/$defs/ParticipantResult"}
    assert re.search(pattern, "101")
    for key in ("-101", "goblin_1", "007", "0", "1" * 20):
        assert not re.search(pattern, key)
    assert participants["additionalProperties"] == {"$ref": "#/$defs/AiParticipant"}


def test_the_number_of_participants_is_bounded_by_the_schema() -> None:
    participants = payload_schema()["properties"]["participants"]

    assert participants.get("minProperties") == 1
    assert participants.get("maxProperties") == MAX_PARTICIPANTS


def test_the_form_of_a_fight_log_is_in_the_schema() -> None:
    replay_log = payload_schema()["properties"]["replay_log"]

    types = {option.get("type") for option in replay_log.get("anyOf", [])}
    assert types == {"array", "string", "null"}


def test_bounds_are_published() -> None:
    changes = definition("Changes")["properties"]

    assert (changes["xp_gained"]["minimum"], changes["xp_gained"]["maximum"]) == (
        0,
        1_000_000_000,
    )
    assert changes["gold_gained"]["minimum"] == -1_000_000_000
    assert changes["items_consumed"]["maxItems"] == 500


def test_engines_are_offered_what_they_may_send() -> None:
    reasons = definition("CombatMeta")["properties"]["finish_reason"]["enum"]

    assert reasons == ["victory", "defeat", "flee", "draw"]
    text = json.dumps(payload_schema())
    assert "abandoned" not in text
    assert "forced" not in text


def rarely(usual: st.SearchStrategy[Any], *odd: object) -> st.SearchStrategy[Any]:
    """Nearly always as it should be: a document of many parts has few faults."""
    return st.integers(0, 29).flatmap(
        lambda n: (
            usual if n < 29 else st.sampled_from([None, "", -1, 0.5, [], {}, *odd])
        )
    )


COUNT = rarely(st.integers(1, 9), 0, 10**6 + 1, True)
AMOUNT = rarely(st.integers(0, 2), 10**9 + 1)
TEMPLATE = rarely(st.sampled_from(["fur", "x" * 64]), "x" * 65, "nul\x00", "fur\n")
OBJECT = st.fixed_dictionaries
CONSUMED = st.builds(
    lambda row, others: {**row, **others},
    rarely(
        st.sampled_from([{"inventory_id": 1}, {"inv_id": 2**63 - 1}]),
        {"inventory_id": 1, "inv_id": 1},
        {"inv_id": 2**63},
        {"inventory_id": "1"},
    ).filter(lambda row: isinstance(row, dict)),
    OBJECT({"qty": COUNT}, optional={"item_template_id": TEMPLATE}),
)
LOOT = st.builds(
    lambda named, others: {**named, **others},
    st.sampled_from([{"name": "fur"}, {"name": "wolf\x00"}, {"name": None}, {}]),
    OBJECT({}, optional={"item_template_id": TEMPLATE, "qty": COUNT}),
)
CHANGES = OBJECT(
    {},
    optional={
        "xp_gained": AMOUNT,
        "gold_gained": AMOUNT,
        "items_consumed": st.lists(CONSUMED, max_size=1),
        "items_gained": st.lists(
            OBJECT({"item_template_id": TEMPLATE, "qty": COUNT}), max_size=1
        ),
        "durability_loss": st.dictionaries(
            st.sampled_from(["item:axe", "inventory:7"]), AMOUNT, max_size=1
        ),
    },
)
PLAYERS = OBJECT(
    {"is_winner": rarely(st.booleans(), 1), "changes": rarely(CHANGES, {"xp": 1})},
    optional={
        "ui_report": OBJECT({}, optional={"loot_obtained": st.lists(LOOT, max_size=1)}),
        "state_snapshot": rarely(OBJECT({"hp": AMOUNT, "energy": AMOUNT})),
    },
)
AI = OBJECT(
    {},
    optional={
        "changes": gifts(),
        "ui_report": OBJECT({}, optional={"loot_obtained": gifts()}) | gifts(),
        "note": gifts(),
    },
)
KEYS = rarely(st.sampled_from(["101", "7"]), "1" * 20) | rarely(
    st.just("101"), *SLOPPY_KEYS
)
PARTIES = st.dictionaries(
    KEYS.filter(lambda k: isinstance(k, str)), PLAYERS, max_size=1
)
IDS = ["AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAB", "0" * 32, "0" * 31]
ENDINGS = [
    {"finish_reason": "draw"},
    {"finish_reason": "flee", "forced": False},
]
WRONG_ENDINGS = [
    {"finish_reason": "abandoned"},
    {"finish_reason": "abandoned", "forced": False},
    {"finish_reason": "bored"},
]
DOCUMENTS = OBJECT(
    {
        "session_id": rarely(st.just(sample()["session_id"]), *IDS),
        "meta": st.builds(
            lambda end, others: {"end_timestamp": end, **others},
            rarely(st.just(1_700_000_000), 0, 978_307_199, 1_700_000_000_000),
            st.sampled_from(ENDINGS * 5 + WRONG_ENDINGS),
        ),
        "participants": st.builds(
            lambda players, ai: {**players, **ai},
            PARTIES,
            st.dictionaries(
                st.sampled_from(["-7", "goblin_1"]), rarely(AI), max_size=1
            ),
        ),
    },
    optional={"replay_log": rarely(st.just([]))},
)


def is_valid(document: Document) -> bool:
    try:
        validate(document)
    except PayloadInvalid:
        return False
    return True


SCHEMA = payload_schema()
"""Made once: that takes longer than to look at an example."""


@settings(BOUNDED, max_examples=examples(100))
@given(DOCUMENTS)
def test_the_schema_accepts_what_is_valid_and_nothing_else(document: Document) -> None:
    event(f"valid: {is_valid(document)}")

    assert holds(document, SCHEMA, SCHEMA) == is_valid(document)


@settings(BOUNDED, max_examples=examples(150))
@given(number_like_keys())
def test_the_schema_takes_the_same_keys_for_numbers(key: str) -> None:
    document = {**sample(), "participants": {key: {}}}
    event(f"AI: {is_valid(document)}")

    assert holds(document, SCHEMA, SCHEMA) == is_valid(document)


def with_consumed(**entry: object) -> Document:
    document = sample()
    player = next(iter(document["participants"].values()))
    player["changes"]["items_consumed"] = [entry]
    return document


@pytest.mark.parametrize(
    ("document", "is_accepted"),
    [
        (with_consumed(inventory_id=5, qty=1), True),
        (with_consumed(inv_id=5, qty=1), True),
        (with_consumed(inv_id=5, inventory_id=5, qty=1), False),
        (with_consumed(qty=1), False),
    ],
)
def test_aliases_are_in_the_schema(document: Document, is_accepted: bool) -> None:

    assert is_valid(document) is is_accepted
    assert holds(document, SCHEMA, SCHEMA) is is_accepted
