"""docs/reference/payload.md, from the published JSON Schema."""

from __future__ import annotations

from typing import Any

from docs.generate.markdown import code, prose, table, whole_page
from persistence.contract.payload_schema import payload_schema

Schema = dict[str, Any]

ABOUT = """
What an engine sends when a fight ends: one JSON object. `manage.py payload_schema`
prints this contract as JSON Schema, `manage.py validate_payload FILE` judges a document
by it, and `examples/sample_payload.json` is a whole one.

Unknown keys are kept in the stored document, except inside `changes`, where they are
refused. A key may not stand twice in one object. A participant key in plain digits is a
character; any other key is a monster or a shadow, to whom nothing may be given.

A key of `durability_loss` is `item:<template>`, the equipped piece of that template, or
`inventory:<id>`, a row. `inv_id` is another name of `inventory_id`; one of the two is
needed. `properties` of what is gained are any JSON object, as JSON at most 2048 bytes.
Where `items_gained` is absent, loot is what `ui_report.loot_obtained` shows.
"""
BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} entries",
    "maxItems": "at most {} entries",
    "minProperties": "at least {} keys",
    "maxProperties": "at most {} keys",
}


def page() -> str:
    schema = payload_schema()
    models = {"CombatResultPayload": schema, **schema["$defs"]}
    parts = [_model(name, model) for name, model in models.items()]
    return whole_page("The result payload", prose(ABOUT), *parts)


def _model(name: str, schema: Schema) -> str:
    described = prose(schema.get("description"))
    if "enum" in schema:
        allowed = ", ".join(map(code, schema["enum"]))
        return "\n\n".join([f"## {name}", described, f"One of {allowed}."])
    table_of = fields(schema) if "properties" in schema else ""
    return "\n\n".join(filter(None, [f"## {name}", described, table_of]))


def fields(schema: Schema) -> str:
    """A table of an object's fields."""
    needed = schema.get("required", [])
    rows = [
        (
            code(name),
            kind(field),
            "yes" if name in needed else "",
            ", ".join(filter(None, [*_bounds(field), field.get("description", "")])),
        )
        for name, field in schema["properties"].items()
    ]
    return table(("field", "type", "required", "bounds"), rows)


def kind(schema: Schema) -> str:
    """The type of a field, with a link where it is a model of the page."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return code(schema["const"])
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return " or ".join(kind(one) for one in schema[choice])
    if "items" in schema:
        return f"list of {kind(schema['items'])}"
    if "patternProperties" in schema:
        values = [*schema["patternProperties"].values()]
        others = schema.get("additionalProperties") or {}
        return "object of " + " or ".join(kind(one) for one in [*values, others] if one)
    if isinstance(schema.get("additionalProperties"), dict):
        return f"object of {kind(schema['additionalProperties'])}"
    if "enum" in schema:
        return ", ".join(map(code, schema["enum"]))
    return str(schema.get("type", "anything"))


def _bounds(schema: Schema) -> list[str]:
    inner = [schema, *schema.get("anyOf", ()), schema.get("items", {})]
    inner += schema.get("patternProperties", {}).values()
    said = [
        text.format(one[key])
        for one in inner
        for key, text in BOUNDS.items()
        if key in one
    ]
    default = f"default {code(schema['default'])}" if "default" in schema else ""
    return [*said, default] if schema.get("default") is not None else said
