"""From pydantic's errors to one sentence: which field, what it must be, and what came instead.

    grid.x.points must be a whole number from 1 to 501, but "abc" came.

What a field must be is read from the JSON schema of the model, so that the sentence and the check cannot differ.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from landscape_core.errors import InvalidRequest

SHA256_PATTERN = "^[0-9a-f]{64}$"
LONGEST_SHOWN = 80
Schema = Mapping[str, Any]


def explain(errors: Sequence[Any], model: Any, body: Any) -> tuple[str, str]:
    """One sentence about the first thing that is wrong, and the dotted path of the field at fault.

    Args:
        errors: As `ValidationError.errors()` or FastAPI's `RequestValidationError.errors()` gives them; at least one.
        model: The type that the body was read as; None if no body was expected.
        body: What came.
    """
    found = [(_real_path(error, body), error) for error in errors]
    first = found[0][0]
    same = [(path, error) for path, error in found if path[: len(first)] == first]
    path, error = max(same, key=lambda item: (len(item[0]), item[1]["type"] == "value_error"))
    root: Schema = {} if model is None else TypeAdapter(model).json_schema()
    schema = _schema_at(root, path, body)
    if error["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        path = (*path, str(error["ctx"]["discriminator"]).strip("'"))
        return _about_tag(".".join(map(str, path)), error, schema), ".".join(map(str, path))
    name = ".".join(map(str, path))
    return _sentence(name, error, schema), name


def refuse(error: Any, model: Any, body: Any) -> InvalidRequest:
    """The error to raise in place of pydantic's `ValidationError`."""
    message, path = explain(error.errors(include_url=False), model, body)
    return InvalidRequest(message, field=path or None)


def _real_path(error: Any, body: Any) -> tuple[Any, ...]:
    """The path of an error without what pydantic adds: "body", and the names of the branches of a union."""
    location = list(error["loc"])
    place = location.pop(0) if location and location[0] in {"body", "query", "path", "header"} else "body"
    if place != "body" or error["type"] == "json_invalid":
        return tuple(part for part in location if isinstance(part, str))
    path: list[Any] = []
    current = body
    for index, part in enumerate(location):
        known = part in current if isinstance(current, dict) else isinstance(current, list) and part in range(len(current))
        if known:
            current = current[part]
        elif index < len(location) - 1 or error["type"] != "missing":
            continue
        path.append(part)
    return tuple(path)


def _schema_at(root: Schema, path: Sequence[Any], body: Any) -> Schema:
    """What the schema says of the field at a path; {} if it says nothing.

    Where the body says of which kind an object is, only that kind counts.
    """
    nodes, value = [root], body
    for part in path:
        branches = [branch for node in nodes for branch in _branches(root, node, value)]
        nodes = [child for branch in branches if (child := _child(branch, part)) is not None]
        there = part in value if isinstance(value, dict) else isinstance(value, list) and part in range(len(value))
        value = value[part] if there else None
    known = [branch for node in nodes for branch in _branches(root, node) if branch.get("type") != "null"]
    return known[0] if len(known) == 1 else {"anyOf": known} if known else {}


def _branches(root: Schema, node: Schema, value: Any = None) -> list[Schema]:
    """What a node may be; of a union of kinds, the one that `value` says it is."""
    if "$ref" in node:
        return _branches(root, root["$defs"][node["$ref"].rpartition("/")[2]], value)
    options = node.get("anyOf") or node.get("oneOf")
    if told := node.get("discriminator"):
        tag = value.get(told["propertyName"]) if isinstance(value, dict) else None
        chosen = told.get("mapping", {}).get(tag) if isinstance(tag, str) else None
        options = [{"$ref": chosen}] if chosen else options
    return [branch for option in options for branch in _branches(root, option, value)] if options else [node]


def _child(node: Schema, part: Any) -> Schema | None:
    if isinstance(part, int):
        items = node.get("items")
        return items if isinstance(items, Mapping) else None
    properties = node.get("properties", {})
    if part in properties:
        found: Schema = properties[part]
        return found
    more = node.get("additionalProperties")
    return more if isinstance(more, Mapping) else None


def _sentence(name: str, error: Any, schema: Schema) -> str:
    kind, bounds = error["type"], error.get("ctx", {})
    fixed = {
        "json_invalid": f"The body is not JSON ({bounds.get('error', 'damaged')}); send one JSON object.",
        "missing": f"{name} is missing; it must be {_expected(schema)}.",
        "extra_forbidden": f"There is no field {name}; remove it, or correct its name.",
    }
    if kind == "missing" and not name:
        return "The body is missing; send JSON, with content-type: application/json."
    if kind in fixed:
        return fixed[kind]
    if kind == "value_error":
        text = error["msg"].removeprefix("Value error, ")
        return f"{name}: {text}." if name else f"{text}."
    if not schema:
        return f"{name or 'The body'}: {error['msg'][:1].lower()}{error['msg'][1:]}."
    return f"{name or 'The body'} must be {_expected(schema)}, but {_shown(error.get('input'))} came."


def _about_tag(name: str, error: Any, schema: Schema) -> str:
    """The sentence for an object whose kind is unknown; lists the kinds there are."""
    part = name.rpartition(".")[2]
    allowed = [branch["properties"][part]["const"] for branch in schema.get("anyOf", [schema]) if "properties" in branch]
    came = f"but {_shown(error['ctx']['tag'])} came" if "tag" in error["ctx"] else "but it is missing"
    return f"{name} must be {_one_of(allowed)}, {came}."


def _expected(schema: Schema) -> str:
    """What a value of this schema is, in words."""
    if options := schema.get("anyOf"):
        return " or ".join(dict.fromkeys(_expected(option) for option in options))
    if "enum" in schema or "const" in schema:
        return _one_of(schema.get("enum") or [schema["const"]])
    kind = str(schema.get("type"))
    known = {"integer": _bounded, "number": _bounded, "string": _text, "array": _list, "object": _object}
    return known[kind](schema) if kind in known else "true or false" if kind == "boolean" else "of another form"


def _object(schema: Schema) -> str:
    names = list(schema.get("properties", {}))
    return f"an object with {', '.join(names)}" if names else "an object"


def _list(schema: Schema) -> str:
    return "a list" + (f" of {schema.get('minItems', 0)} to {schema['maxItems']} values" if "maxItems" in schema else "")


def _bounded(schema: Schema) -> str:
    return ("a whole number" if schema["type"] == "integer" else "a number") + _bounds(schema)


def _bounds(schema: Schema) -> str:
    low, high, above = schema.get("minimum"), schema.get("maximum"), schema.get("exclusiveMinimum")
    if low is not None and high is not None:
        return f" from {_number(low)} to {_number(high)}"
    parts = [f"above {_number(above)}"] if above is not None else [f"of at least {_number(low)}"] if low is not None else []
    parts += [f"of at most {_number(high)}"] if high is not None else []
    return f" {' and '.join(parts)}" if parts else ""


def _text(schema: Schema) -> str:
    if schema.get("pattern") == SHA256_PATTERN:
        return "an id of 64 hexadecimal digits"
    if "pattern" in schema:
        return f"text like {schema['pattern']}"
    longest = schema.get("maxLength")
    return "text" + (f" of {schema.get('minLength', 0)} to {longest} characters" if longest is not None else "")


def _one_of(values: Sequence[Any]) -> str:
    shown = [_shown(value) for value in values]
    return shown[0] if len(shown) == 1 else f"one of {', '.join(shown)}"


def _number(value: float) -> str:
    return f"{int(value)}" if float(value).is_integer() else f"{value:g}"


def _shown(value: Any) -> str:
    """A value as JSON, shortened; never a line of its own."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict | list | tuple):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    if isinstance(value, bytes):
        return "a body that is not JSON"
    text = json.dumps(value, default=str)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
