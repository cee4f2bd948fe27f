"""The part of JSON Schema that the published schema speaks, as a program checks it."""

from __future__ import annotations

import re
from typing import Any

Schema = dict[str, Any]

TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "null": type(None),
    "number": (int, float),
}
ABOUT = frozenset(
    {"$defs", "$schema", "default", "description", "title", "then", "else"}
)
"""What says nothing by itself."""


def holds(value: Any, schema: Schema | bool, root: Schema) -> bool:
    """Whether `value` is valid. Fails for a keyword it does not know."""
    if isinstance(schema, bool):
        return schema
    return all(
        _holds(keyword, wanted, value, schema, root)
        for keyword, wanted in schema.items()
        if keyword not in ABOUT
    )


def _holds(keyword: str, wanted: Any, value: Any, schema: Schema, root: Schema) -> bool:
    match keyword:
        case "$ref":
            return holds(value, root["$defs"][wanted.rpartition("/")[2]], root)
        case "type":
            is_bool = isinstance(value, bool)
            return isinstance(value, TYPES[wanted]) and is_bool == (wanted == "boolean")
        case "const":
            return type(value) is type(wanted) and value == wanted
        case "enum":
            return value in wanted
        case "not":
            return not holds(value, wanted, root)
        case "anyOf":
            return any(holds(value, option, root) for option in wanted)
        case "oneOf":
            return sum(holds(value, option, root) for option in wanted) == 1
        case "if":
            branch = "then" if holds(value, wanted, root) else "else"
            return holds(value, schema.get(branch, True), root)
    if isinstance(value, dict):
        return _holds_of_object(keyword, wanted, value, schema, root)
    return _holds_of_leaf(keyword, wanted, value, root)


def _holds_of_object(
    keyword: str, wanted: Any, value: dict[str, Any], schema: Schema, root: Schema
) -> bool:
    patterns = schema.get("patternProperties", {})
    match keyword:
        case "required":
            return set(wanted) <= value.keys()
        case "properties":
            return all(
                holds(value[k], s, root) for k, s in wanted.items() if k in value
            )
        case "patternProperties":
            return all(
                holds(entry, described, root)
                for key, entry in value.items()
                for pattern, described in wanted.items()
                if _matches(pattern, key)
            )
        case "additionalProperties":
            return all(
                holds(entry, wanted, root)
                for key, entry in value.items()
                if key not in schema.get("properties", {})
                and not any(_matches(pattern, key) for pattern in patterns)
            )
        case "propertyNames":
            return all(holds(key, wanted, root) for key in value)
        case "minProperties":
            return len(value) >= int(wanted)
        case "maxProperties":
            return len(value) <= int(wanted)
    return _holds_of_leaf(keyword, wanted, value, root)


def _holds_of_leaf(keyword: str, wanted: Any, value: Any, root: Schema) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match keyword:
        case "minimum":
            return not is_number or value >= wanted
        case "maximum":
            return not is_number or value <= wanted
        case "minLength":
            return not isinstance(value, str) or len(value) >= wanted
        case "maxLength":
            return not isinstance(value, str) or len(value) <= wanted
        case "pattern":
            return not isinstance(value, str) or _matches(wanted, value)
        case "items":
            return not isinstance(value, list) or all(
                holds(entry, wanted, root) for entry in value
            )
        case "maxItems":
            return not isinstance(value, list) or len(value) <= wanted
        case "required" | "properties" | "patternProperties" | "propertyNames":
            return True
        case "additionalProperties" | "minProperties" | "maxProperties":
            return True
    raise AssertionError(f"unknown keyword {keyword}")


def _matches(pattern: str, text: str) -> bool:
    # Python's $ would let a line feed follow.
    return re.search(pattern.replace("$", r"\Z"), text) is not None
