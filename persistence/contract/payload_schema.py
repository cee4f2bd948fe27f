"""The payload contract as JSON Schema, for engines in any language.

It refuses what `payload.validate` refuses, but for four rules that a schema has no
words for: properties of too many bytes, an id beyond bigint, a whole number with a
point, and a mark of the sweep's own saves, which are not offered to engines.
"""

from __future__ import annotations

import sys
from functools import cache
from itertools import groupby
from typing import Any

from persistence.contract.participants import SEPARATORS, SHADOW_KEY, SIGNS
from persistence.contract.payload import PLAYER_KEY, CombatResultPayload

Schema = dict[str, Any]

SESSION_ID = (
    "^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32}"
    # 22 characters hold four bits more than an id has.
    "|[A-Za-z0-9_-]{21}[AQgw])$"
)
PLAYER = f"^{PLAYER_KEY.pattern}$"


def payload_schema() -> Schema:
    """The schema of the models, with the rules that their validators hold."""
    schema = CombatResultPayload.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["properties"]["session_id"] |= {
        "pattern": SESSION_ID,
        "description": "UUID (canonical), 32 hex digits or 22 base64url",
    }
    _tell_players_from_ai(schema["properties"]["participants"])
    definitions = schema["$defs"]
    definitions["Nothing"] = _nothing()
    definitions["AiParticipant"] = _ai()
    _name_the_row_once(definitions["ConsumedItem"])
    definitions["LootEntry"]["anyOf"] = [
        {"required": [name], "properties": {name: {"type": "string"}}}
        for name in ("item_template_id", "name")
    ]
    return schema


def outcome_schema() -> Schema:
    """Of what `finish_combat` takes: the payload without what Redis knows."""
    schema = payload_schema()
    schema["title"] = "CombatOutcome"
    schema["required"] = ["meta"]
    del schema["properties"]["session_id"]
    definitions = schema["$defs"]
    definitions["CombatMeta"]["required"].remove("end_timestamp")
    del definitions["ParticipantResult"]["required"]
    del definitions["Changes"]["properties"]["items_consumed"]
    del definitions["ConsumedItem"]
    schema["properties"]["participants"]["minProperties"] = 0
    for name in ("CombatMeta", "ParticipantResult", "Changes"):
        own = "Outcome" + name.removeprefix("Combat").removesuffix("Result")
        definitions[own] = definitions.pop(name) | {"title": own}
        _rename(schema, f"#/$defs/{name}", f"#/$defs/{own}")
    return schema


def _rename(node: object, reference: str, other: str) -> None:
    if isinstance(node, dict):
        if node.get("$ref") == reference:
            node["$ref"] = other
        for inner in node.values():
            _rename(inner, reference, other)
    elif isinstance(node, list):
        for inner in node:
            _rename(inner, reference, other)


def _tell_players_from_ai(participants: Schema) -> None:
    participants["patternProperties"] = {
        PLAYER: {"$ref": "#/$defs/ParticipantResult"},
    }
    participants["additionalProperties"] = {"$ref": "#/$defs/AiParticipant"}
    # A number that is no canonical id is nobody, and no monster either.
    no_number = f"^(?!{_number()}$)"
    shadow = f"^{SHADOW_KEY.pattern}$"
    participants["propertyNames"] = {"pattern": f"{PLAYER}|{shadow}|{no_number}"}
    # A validator in front hides from pydantic that the bounds are of an object.
    participants["minProperties"] = participants.pop("minLength")
    participants["maxProperties"] = participants.pop("maxLength")


def _number() -> str:
    """The numbers of `participants.reads_as_number`, as a regular expression."""
    digits = _digits()
    between = f"[{SEPARATORS}]*"
    sign = f"(?:[{SIGNS}]{between})?"
    digit, hexadecimal = f"[{digits}]{between}", f"[{digits}a-fA-F]{between}"
    whole = f"(?:{digit})+(?:[eE]{between}{sign}(?:{digit})+)?"
    prefixed = f"0{between}[xXoObB]{between}(?:{hexadecimal})+"
    return f"{between}{sign}(?:{prefixed}|{whole})"


@cache
def _digits() -> str:
    """Every character that stands for a number, in any script, as ranges."""
    codes = (code for code in range(sys.maxunicode + 1) if chr(code).isnumeric())
    runs = groupby(enumerate(codes), lambda found: found[1] - found[0])
    bounds = ([code for _, code in run] for _, run in runs)
    return "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in bounds)


def _nothing() -> Schema:
    return {
        "description": "nothing, zero or empty",
        "anyOf": [
            {"type": "null"},
            {"const": False},
            {"type": "number", "minimum": 0, "maximum": 0},
            {"type": "string", "maxLength": 0},
            {"type": "array", "maxItems": 0},
            {"type": "object", "maxProperties": 0},
        ],
    }


def _ai() -> Schema:
    """Any object; but what is given to one was meant for a player."""
    nothing: Schema = {"$ref": "#/$defs/Nothing"}
    zeros: Schema = {"type": "object", "additionalProperties": nothing}
    amounts: Schema = {
        "type": "object",
        "additionalProperties": {"anyOf": [nothing, zeros]},
    }
    return {
        "type": "object",
        "properties": {
            "changes": {"anyOf": [nothing, amounts]},
            "ui_report": {"properties": {"loot_obtained": nothing}},
        },
    }


def _name_the_row_once(consumed: Schema) -> None:
    """Let a consumed row be named by either name, and not by both."""
    row_id = consumed["properties"]["inventory_id"]
    consumed["properties"]["inv_id"] = {**row_id, "title": "Inv Id"}
    consumed["required"].remove("inventory_id")
    consumed["oneOf"] = [{"required": [name]} for name in ("inventory_id", "inv_id")]
