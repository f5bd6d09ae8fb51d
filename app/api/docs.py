"""/api/docs: the interface as one plain page, made from its OpenAPI description. No script, nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

METHODS = ("get", "put", "post", "patch", "delete")
STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 15px/1.55 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin: 2.5rem 0 .5rem; text-transform: capitalize; }
details { border: 1px solid var(--line); border-radius: 8px; margin: .5rem 0; }
summary { cursor: pointer; padding: .55rem .8rem; display: flex; gap: .8rem; flex-wrap: wrap; align-items: baseline; }
details > div { padding: 0 .8rem .8rem; border-top: 1px solid var(--line); }
code, pre { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 13px; }
pre { background: var(--soft); padding: .7rem; border-radius: 6px; overflow: auto; max-height: 24rem; }
.method { font-weight: 700; min-width: 4.2rem; } .note { opacity: .75; flex: 1 1 18rem; }
td, th { text-align: left; padding: .2rem 1rem .2rem 0; vertical-align: top; }
"""
Schema = Mapping[str, Any]


def page(description: Schema) -> str:
    """The HTML page.

    Args:
        description: The OpenAPI description.
    """
    info = description["info"]
    tags: dict[str, list[str]] = {}
    for path, operations in description["paths"].items():
        for method in METHODS:
            if method in operations:
                for tag in operations[method].get("tags", ["other"])[-1:]:
                    tags.setdefault(tag, []).append(_operation(path, method, operations[method], description))
    parts = "".join(f"<h2>{escape(tag)}</h2>{''.join(items)}" for tag, items in tags.items())
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])}: REST interface</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>'
        f"<h1>{escape(info['title'])}: REST interface</h1><p>{escape(info.get('description', ''))}</p>"
        f'<p>For programs: <a href="/api/openapi.json">openapi.json</a>. <a href="/">To the atlas</a>.</p>{parts}</body></html>'
    )


def _operation(path: str, method: str, operation: Schema, description: Schema) -> str:
    body = "".join(_parts(operation, description))
    return (
        f'<details><summary><code class="method">{method.upper()}</code><code>{escape(path)}</code>'
        f'<span class="note">{escape(operation.get("description", operation.get("summary", "")))}</span></summary>'
        f"<div>{body}</div></details>"
    )


def _parts(operation: Schema, description: Schema) -> Iterator[str]:
    rows = "".join(
        f"<tr><td><code>{escape(item['name'])}</code></td><td>{escape(item['in'])}</td>"
        f"<td>{escape(item.get('description', ''))}</td></tr>"
        for item in operation.get("parameters", [])
    )
    if rows:
        yield f"<h4>Parameters</h4><table>{rows}</table>"
    if "requestBody" in operation:
        yield f"<h4>Body</h4>{_contents(operation['requestBody'], description)}"
    for status, answer in operation.get("responses", {}).items():
        yield f"<h4>{escape(status)} {escape(answer.get('description', ''))}</h4>{_contents(answer, description)}"


def _contents(holder: Schema, description: Schema) -> str:
    parts = []
    for kind, content in holder.get("content", {}).items():
        example = json.dumps(_example(content.get("schema", {}), description), indent=1)
        parts.append(f"<p><code>{escape(kind)}</code></p><pre>{escape(example)}</pre>")
    return "".join(parts)


def _example(schema: Schema, description: Schema, depth: int = 0) -> Any:
    """A schema in short: names with their types, references followed."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return name if depth > 6 else _example(description["components"]["schemas"][name], description, depth + 1)
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        shown = [_example(option, description, depth + 1) for option in options]
        texts = all(isinstance(option, str) for option in shown)
        return " | ".join(shown) if texts else shown[0] if len(shown) == 2 and shown[1] == "null" else shown
    if "properties" in schema:
        return {name: _example(part, description, depth + 1) for name, part in schema["properties"].items()}
    if schema.get("type") == "array" and "items" in schema:
        return [_example(schema["items"], description, depth + 1)]
    values = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    return " | ".join(json.dumps(value) for value in values) if values else _type(schema)


def _type(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    bounds = f" {low} … {high}" if low is not None and high is not None else ""
    return f"{schema.get('format') or schema.get('type', 'any')}{bounds}"
