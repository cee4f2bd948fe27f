"""The published JSON Schema says what `validate` enforces."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from persistence.payload import MAX_PARTICIPANTS, payload_schema
from tests.unit.builders import sample

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
        ("ConsumedItem", {"inventory_id", "qty"}),
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
    assert participants["additionalProperties"] == {"type": "object"}


def test_the_number_of_participants_is_bounded_by_the_schema() -> None:
    participants = payload_schema()["properties"]["participants"]

    assert participants.get("minProperties") == 1
    assert participants.get("maxProperties") == MAX_PARTICIPANTS


def test_the_form_of_a_replay_log_is_in_the_schema() -> None:
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
    assert {"victory", "defeat", "flee", "draw"} <= set(
        definition("FinishReason")["enum"]
    )
