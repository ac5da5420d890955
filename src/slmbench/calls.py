"""Function calls as JSON: the schema of a list of them, and the list that an answer holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from slmbench.schema import first_json

Call = Mapping[str, Any]
"""{"name", "arguments"}"""


def calls_schema(tools: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The schema of a list of calls of `tools`, each {"name", "description"?, "parameters"}, that one a JSON Schema."""
    branches = [
        {
            "type": "object",
            **({"description": tool["description"]} if isinstance(tool.get("description"), str) else {}),
            "properties": {"name": {"const": tool["name"]}, "arguments": tool["parameters"]},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    return {"type": "array", "items": {"anyOf": branches}}


def tools_of(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The {"name", "parameters"} that `calls_schema` made `schema` of."""
    branches = [branch["properties"] for branch in schema["items"]["anyOf"]]
    return [{"name": branch["name"]["const"], "parameters": branch["arguments"]} for branch in branches]


def calls_of(output: str) -> list[Call] | None:
    """The calls that an answer holds; None where it is no list of them."""
    try:
        value = first_json(output)
    except ValueError:
        return None
    return value if isinstance(value, list) and all(map(_is_call, value)) else None


def _is_call(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("name"), str) and isinstance(item.get("arguments"), dict)
