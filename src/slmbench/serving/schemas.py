"""Schemas of strangers: bounded before anything works with them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from slmbench.core import BadInput
from slmbench.schema import check_extractable, check_schema, patterns_of, resolve
from slmbench.serving.limits import Limits, Refused

_PATTERNS = frozenset({"pattern", "patternProperties"})
_NAMED = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
_Known = dict[str, tuple[int, int] | None]
_VALUES = frozenset({"enum", "const", "default", "examples"})
LONG_TEXT = 100
"""Characters of a text that count as a part more."""


def checked(schema: Any, where: str, limits: Limits, *, empty: bool = False) -> dict[str, Any]:
    """The schema, once it is known to be small enough and one that can be extracted under.

    `empty` lets it have no properties, as the parameters of a function may. Raises Refused.
    """
    parts_of(schema, where, limits)
    try:
        # Its regular expressions are compiled by the grammar alone, which is bounded; Python's compiler is not.
        (check_schema if empty else check_extractable)(schema, where, patterns=False)
    except BadInput as error:
        raise Refused(400, _sentence(error), "bad_schema") from None
    for part in _schemas(schema):
        _check_part(part, where, limits)
    whole: dict[str, Any] = schema
    return whole


def parts_of(schema: Any, where: str, limits: Limits) -> int:
    """How many parts a schema has, its references followed. Raises Refused where it is none, or too large."""
    if not isinstance(schema, dict):
        raise Refused(400, f"{where}: a JSON Schema must be an object; give an object.", "bad_schema")
    size = len(json.dumps(schema, ensure_ascii=False).encode("utf-8", "replace"))
    if size > limits.schema_bytes:
        raise too_large(where, f"{size:,} bytes are over {limits.schema_bytes:,}")
    parts, depth = _measure(schema, schema, where, limits, {}, 0)
    if parts > limits.schema_parts:
        raise too_large(where, f"with its references followed it has {parts:,} parts, over {limits.schema_parts:,}")
    if depth > limits.schema_depth:
        raise too_large(where, f"it is nested over {limits.schema_depth} levels")
    return parts


def _check_part(part: Mapping[str, Any], where: str, limits: Limits) -> None:
    """Raise Refused for long patterns, and for references by which Python would come to use a pattern after all: into
    values, which `without_patterns` leaves as they are, and to what is only known when an answer is there."""
    longest = max(map(len, patterns_of(part)), default=0)
    if longest > limits.pattern_chars:
        raise too_large(where, f"a pattern has {longest:,} characters, over {limits.pattern_chars:,}")
    ref = part.get("$ref")
    if "$dynamicRef" in part:
        raise Refused(400, f"{where}: $dynamicRef is not followed; write it out, or use $ref.", "bad_schema")
    if isinstance(ref, str) and _leads_into_values(ref):
        raise Refused(400, f"{where}: $ref {ref[:80]!r} leads into values; define it under $defs.", "bad_schema")


def _leads_into_values(ref: str) -> bool:
    named = False
    for step in unquote(ref).removeprefix("#").strip("/").split("/"):
        if not named and step in _VALUES:
            return True
        named = not named and step in _NAMED
    return False


def _schemas(schema: Any) -> Iterator[dict[str, Any]]:
    """A schema and all that it holds, under whatever keyword."""
    if isinstance(schema, list):
        for item in schema:
            yield from _schemas(item)
    elif isinstance(schema, dict):
        yield schema
        for key, value in schema.items():
            if key in _NAMED and isinstance(value, dict):
                yield from _schemas(list(value.values()))
            elif key not in _VALUES:
                yield from _schemas(value)


def inlined(schema: Any, root: Mapping[str, Any]) -> Any:
    """A checked schema with its references replaced by what they point at, so that it can stand within another."""
    if isinstance(schema, list):
        return [inlined(item, root) for item in schema]
    if not isinstance(schema, dict):
        return schema
    whole = resolve(schema, root)
    new: dict[str, Any] = {}
    for key, value in whole.items():
        if key in ("$defs", "definitions", "$schema", "$id"):
            continue
        if key in _NAMED and isinstance(value, dict):
            new[key] = {name: inlined(sub, root) for name, sub in value.items()}
        else:
            new[key] = value if key in _VALUES else inlined(value, root)
    return new


def without_patterns(schema: Any) -> Any:
    """A schema without regular expressions: Python's may take for ever over a stranger's, holding up everything."""
    if isinstance(schema, list):
        return [without_patterns(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    new: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _VALUES:
            new[key] = value
        elif key in _NAMED - _PATTERNS and isinstance(value, dict):
            new[key] = {name: without_patterns(sub) for name, sub in value.items()}
        elif key == "patternProperties":
            new["additionalProperties"] = True
        elif key in _PATTERNS or (key == "additionalProperties" and "patternProperties" in schema):
            continue
        elif key != "$schema":  # by another one's rules other keywords hold schemas
            new[key] = without_patterns(value)
    return new


def _measure(
    value: Any, root: Mapping[str, Any], where: str, limits: Limits, known: _Known, level: int
) -> tuple[int, int]:  # fmt: skip
    """(parts, levels) of a value of a schema. `known` holds those of references; None while one is being followed.

    Each reference is followed once, so the time is that of the schema as it is written. Raises Refused for loops.
    """
    if level > limits.schema_depth:
        raise too_large(where, f"it is nested over {limits.schema_depth} levels")
    children = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    parts, depth = 1 + (len(value) // LONG_TEXT if isinstance(value, str) else 0), 0
    for child in children:
        more, below = _measure(child, root, where, limits, known, level + 1)
        parts, depth = parts + more, max(depth, below)
    ref = value.get("$ref") if isinstance(value, dict) else None
    if isinstance(ref, str) and ref.startswith("#"):
        if ref in known and known[ref] is None:
            raise Refused(400, f"{where}: $ref {ref[:80]!r} leads back to itself; write it out.", "bad_schema")
        if ref not in known:
            known[ref] = None
            known[ref] = _measure(_pointed_at(ref, root), root, where, limits, known, level + 1)
        more, below = known[ref] or (0, 0)
        parts, depth = parts + more, max(depth, below)
    return parts, depth + 1


def _pointed_at(ref: str, root: Mapping[str, Any]) -> Any:
    """What a reference names; None where it leads nowhere, which `check_schema` says."""
    target: Any = root
    for part in ref.removeprefix("#").strip("/").split("/"):
        step = part.replace("~1", "/").replace("~0", "~")
        if step:
            target = target.get(step) if isinstance(target, dict) else None
    return target


def too_large(where: str, what: str) -> Refused:
    """The refusal of a schema for its size."""
    return Refused(400, f"{where}: {what}; give a smaller schema.", "schema_too_large")


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:500]
