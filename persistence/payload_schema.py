"""The payload contract as JSON Schema, for engines in any language.

It refuses what `payload.validate` refuses, but for three rules that a schema has no
words for: a time in the future, an id beyond bigint, a whole number with a point.
"""

from __future__ import annotations

from typing import Any

from persistence.payload import (
    PLAYER_KEY,
    SLOPPY_NUMBER,
    CombatResultPayload,
    FinishReason,
)

Schema = dict[str, Any]

SESSION_ID = (
    "^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32}"
    # 22 characters hold four bits more than an id has.
    "|[A-Za-z0-9_-]{21}[AQgw])$"
)
PLAYER = f"^{PLAYER_KEY.pattern}$"

_FORCED: Schema = {"properties": {"forced": {"const": True}}, "required": ["forced"]}
_ABANDONED: Schema = {"const": str(FinishReason.ABANDONED)}


def payload_schema() -> Schema:
    """What the models say, and what they keep in their validators."""
    schema = CombatResultPayload.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["properties"]["session_id"] |= {
        "pattern": SESSION_ID,
        "description": "UUID (canonical), 32 hex digits or 22 base64url",
    }
    _tell_players_from_ai(schema["properties"]["participants"])
    definitions = schema["$defs"]
    _name_the_row_once(definitions["ConsumedItem"])
    definitions["LootEntry"]["anyOf"] = [
        {"required": [name], "properties": {name: {"type": "string"}}}
        for name in ("item_template_id", "name")
    ]
    definitions["CombatMeta"] |= {
        "if": _FORCED,
        "then": {"properties": {"finish_reason": _ABANDONED}},
        "else": {"properties": {"finish_reason": {"not": _ABANDONED}}},
    }
    schema["if"] = {"properties": {"meta": _FORCED}}
    schema["then"] = _without_rewards()
    return schema


def _tell_players_from_ai(participants: Schema) -> None:
    participants["patternProperties"] = {
        PLAYER: {"$ref": "#/$defs/ParticipantResult"},
    }
    participants["additionalProperties"] = {"type": "object"}
    # A number that is no canonical id is nobody, and no monster either.
    sloppy = rf"^(?!{SLOPPY_NUMBER.pattern}$)"
    participants["propertyNames"] = {"pattern": f"{PLAYER}|{sloppy}"}
    # A validator in front hides from pydantic that the bounds are of an object.
    participants["minProperties"] = participants.pop("minLength")
    participants["maxProperties"] = participants.pop("maxLength")


def _name_the_row_once(consumed: Schema) -> None:
    """By either name, and not by both."""
    row_id = consumed["properties"]["inventory_id"]
    consumed["properties"]["inv_id"] = {**row_id, "title": "Inv Id"}
    consumed["required"].remove("inventory_id")
    consumed["oneOf"] = [{"required": [name]} for name in ("inventory_id", "inv_id")]


def _without_rewards() -> Schema:
    """What a forced save has to be, besides what every document has to be."""
    empty = {"maxItems": 0}
    player = {
        "changes": {
            "properties": {
                "xp_gained": {"const": 0},
                "gold_gained": {"const": 0},
                "items_gained": empty,
            }
        },
        "ui_report": {"properties": {"loot_obtained": empty}},
    }
    of_players = {PLAYER: {"properties": player}}
    return {"properties": {"participants": {"patternProperties": of_players}}}
