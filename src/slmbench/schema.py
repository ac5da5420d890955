"""JSON and JSON Schema as this project uses them: strict parsing, one canonical spelling, validation, complexity.

Formats are asserted, with the checks below and no others, so that a result never depends on which optional packages
happen to be installed: `date`, `date-time` and `time` (RFC 3339: date-time and time carry an offset), `email` (one @
between two non-empty parts without spaces, a dot in the second), `uuid`, `uri`, `ipv4`, `ipv6`.
"""

from __future__ import annotations

import datetime
import functools
import ipaddress
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from slmbench.core import BadInput

MAX_DEPTH = 200
Path_ = tuple[str | int, ...]


def strict_loads(text: str) -> Any:
    """Parse one JSON document by RFC 8259, refusing what Python's parser lets through.

    Raises ValueError with a sentence for duplicate keys, NaN and Infinity, numbers that overflow, lone surrogates,
    more than 200 levels, and anything after the value.
    """
    value, end = _decode(text, len(text) - len(text.lstrip(" \t\n\r")))
    if text[end:].strip(" \t\n\r"):
        raise ValueError(f"text after the JSON value at character {end}")
    return value


def first_json(text: str) -> Any:
    """The first top-level JSON value in `text`: what starts at its first `{` or `[`, never something inside it.

    Raises ValueError where there is none, or where that value is broken.
    """
    start = re.search(r"[{\[]", text)
    if start is None:
        return strict_loads(text)
    return _decode(text, start.start())[0]


def _decode(text: str, start: int) -> tuple[Any, int]:
    _check_depth(text, start)
    try:
        value, end = _DECODER.raw_decode(text, start)
    except RecursionError:  # pragma: no cover - the depth check comes first
        raise ValueError(f"more than {MAX_DEPTH} levels") from None
    if re.search(r"\\u[dD][89a-fA-F]", text) and any(_has_surrogate(s) for s in _strings(value)):
        raise ValueError("a lone surrogate in a string")
    return value, end


def _check_depth(text: str, start: int) -> None:
    """Refuse deep nesting before the recursive parser sees it: 100,000 open brackets would exhaust its stack."""
    depth = 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', text[start:], re.DOTALL):
        char = token.group()[0]
        if char in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"more than {MAX_DEPTH} levels")
        elif char in "]}":
            depth -= 1
            if depth <= 0:
                return


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"duplicate key {twice!r}")
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"number {digits[:20]} overflows")
    return value


def _countable(digits: str) -> int:
    if len(digits) > 300:
        raise ValueError(f"integer {digits[:20]} has {len(digits)} digits")
    return int(digits)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_finite, parse_int=_countable
)


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def same(a: Any, b: Any) -> bool:
    """JSON equality: keys unordered, arrays ordered, 1 equals 1.0, a bool is never a number, strings by code point."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a == b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and bool(a == b)


def leaves(value: Any, path: Path_ = ()) -> list[tuple[Path_, Any]]:
    """Every leaf with its path (keys and array positions); an empty object or list is a leaf itself."""
    if isinstance(value, dict) and value:
        return [leaf for key, item in value.items() for leaf in leaves(item, (*path, key))]
    if isinstance(value, list) and value:
        return [leaf for i, item in enumerate(value) for leaf in leaves(item, (*path, i))]
    return [(path, value)]


def words_of(key: str) -> list[str]:
    """The words of a key in snake, kebab or camel case, in small letters."""
    return re.findall(r"[^\W\d_]+|\d+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", key).lower())


def canonical(value: Any, schema: Mapping[str, Any]) -> str:
    """The one spelling of `value`: compact, no ASCII escapes, keys in the order of the schema's `properties`.

    Keys that the schema does not know follow in their own order.
    """
    ordered = _ordered(value, schema, schema)
    return json.dumps(ordered, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _ordered(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    schema = branch_of(resolve(schema, root), value, root)
    if isinstance(value, dict):
        properties = properties_of(schema, root)
        known = [key for key in properties if key in value]
        rest = [key for key in value if key not in properties]
        return {key: _ordered(value[key], properties.get(key, {}), root) for key in (*known, *rest)}
    if isinstance(value, list):
        items = schema.get("items", {})
        return [_ordered(item, items if isinstance(items, dict) else {}, root) for item in value]
    return value


def properties_of(schema: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    """All properties that an object under `schema` may have, those of `allOf`, `anyOf` and `oneOf` included."""
    schema = resolve(schema, root)
    found = dict(schema.get("properties", {}))
    for keyword in ("allOf", "anyOf", "oneOf"):
        for branch in schema.get(keyword, []):
            for key, sub in properties_of(branch, root).items():
                found.setdefault(key, sub)
    return found


def branch_of(schema: Mapping[str, Any], value: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The alternative of `anyOf` or `oneOf` that the constants of an object name, such as a call's `name`; `schema`
    itself where there are no alternatives or none is named."""
    for keyword in ("anyOf", "oneOf"):
        for branch in schema.get(keyword, []):
            found = resolve(branch, root)
            parts = {key: resolve(sub, root) for key, sub in properties_of(found, root).items()}
            fixed = {key: part["const"] for key, part in parts.items() if "const" in part}
            if fixed and isinstance(value, dict) and all(same(value.get(key), const) for key, const in fixed.items()):
                return branch_of(found, value, root)
    return schema


def grounding(schema: Mapping[str, Any]) -> Any:
    """What `x-slmbench` says under `grounded`: False for a value that is chosen or rewritten, "loose" for one that is
    copied but for case and white space; None where it says nothing."""
    said = schema.get("x-slmbench")
    return said.get("grounded") if isinstance(said, Mapping) else None


def resolve(schema: Mapping[str, Any] | bool, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """`schema` with a local `$ref` at its top followed; `root` is the document that the reference points into."""
    while isinstance(schema, Mapping) and "$ref" in schema:
        target = target_of(schema["$ref"], root)
        schema = _beside(target if isinstance(target, Mapping) else {}, schema)
    return schema if isinstance(schema, Mapping) else {}


def _beside(target: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """What a reference leads to, and what stands beside the reference; both say what an object has."""
    both = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
    if "properties" in target and "properties" in schema:
        both["properties"] = {**target["properties"], **schema["properties"]}
    if "required" in target and "required" in schema:
        both["required"] = list(dict.fromkeys([*target["required"], *schema["required"]]))
    return both


def target_of(ref: str, root: Mapping[str, Any]) -> Any:
    """What a local JSON pointer such as `#/$defs/address` points at."""
    target: Any = root
    for part in ref.removeprefix("#").strip("/").split("/"):
        if part:
            target = target[part.replace("~1", "/").replace("~0", "~")]
    return target


def _children(schema: Mapping[str, Any]) -> Iterator[Any]:
    """Every subschema right below one."""
    for keyword in ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas"):
        yield from (schema.get(keyword) or {}).values()
    for keyword in ("allOf", "anyOf", "oneOf", "prefixItems"):
        yield from schema.get(keyword) or []
    for keyword in (
        "items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames", "unevaluatedItems",
        "unevaluatedProperties",
    ):  # fmt: skip
        if isinstance(schema.get(keyword), dict):
            yield schema[keyword]


def check_schema(schema: Any, where: str, *, patterns: bool = True) -> None:
    """Raise BadInput unless `schema` is a JSON Schema of an object or an array, with local, resolvable, loop-free
    references.

    Without `patterns` its regular expressions are not looked at: Python's compiler may take minutes over a stranger's.
    """
    if not isinstance(schema, dict):
        raise BadInput(f"{where}: a JSON Schema must be an object, this is {type(schema).__name__}; give an object.")
    _check_keywords(schema, where)
    _follow(schema, schema, where, (), patterns)
    if (kind := resolve(schema, schema).get("type", "object")) not in ("object", "array"):
        raise BadInput(f"{where}: the schema's type is {kind!r}; slmbench extracts objects and arrays.")


def _check_keywords(schema: Any, where: str) -> None:
    """Raise BadInput for keywords that hold what they may not."""
    import jsonschema

    try:
        # By itself it would assert formats too, `regex` among them, which compiles: that is for `_check_pattern`.
        jsonschema.Draft202012Validator.check_schema(schema, jsonschema.FormatChecker(formats=()))
    except jsonschema.SchemaError as error:
        place = "/".join(map(str, error.absolute_path)) or "the top"
        raise BadInput(f"{where}: not a JSON Schema, at {place}: {error.message[:200]}; correct it.") from None
    except RecursionError:
        raise BadInput(f"{where}: the schema is nested too deeply; flatten it.") from None


def _follow(schema: Any, root: Mapping[str, Any], where: str, trail: tuple[str, ...], patterns: bool) -> None:
    if not isinstance(schema, dict):
        return
    if patterns:
        for pattern in patterns_of(schema):
            _check_pattern(pattern, where)
    if len(trail) > MAX_DEPTH:
        raise BadInput(f"{where}: the schema is nested over {MAX_DEPTH} levels; flatten it.")
    ref = schema.get("$ref")
    if isinstance(ref, str):
        if not ref.startswith("#"):
            raise BadInput(f"{where}: $ref {ref!r} points outside the file; copy the definition under $defs.")
        if ref in trail:
            raise BadInput(f"{where}: $ref {ref!r} leads back to itself; a recursive schema has no largest document.")
        try:
            target = target_of(ref, root)
        except (KeyError, TypeError, IndexError):
            raise BadInput(f"{where}: $ref {ref!r} leads nowhere; define it under $defs.") from None
        if not re.fullmatch(r"#/(?:\$defs|definitions)/[^/]+", ref):  # those were looked at with the whole
            _check_keywords(target, f"{where}: $ref {ref!r}")
        _follow(target, root, where, (*trail, ref), patterns)
    for child in _children(schema):
        _follow(child, root, where, (*trail, ""), patterns)


def patterns_of(schema: Mapping[str, Any]) -> list[str]:
    """The regular expressions of a schema, those of its subschemas left out."""
    own, named = schema.get("pattern"), schema.get("patternProperties")
    return [*([own] if isinstance(own, str) else []), *(named if isinstance(named, dict) else ())]


def _check_pattern(pattern: str, where: str) -> None:
    """Raise BadInput for what Python, which validates answers, does not compile."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise BadInput(f"{where}: the pattern {pattern[:80]!r} is no regular expression ({why}); correct it.") from None


def load_schemas(folder: Path) -> dict[str, dict[str, Any]]:
    """Every `*.json` of a folder as a checked schema, by file stem. Raises BadInput naming the file."""
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder of schemas; give one holding a .json file for each schema.")
    schemas = {}
    for path in sorted(folder.glob("*.json")):
        schemas[path.stem] = load_schema(path)
    if not schemas:
        raise BadInput(f"{folder}: holds no .json file; put one JSON Schema in it for each schema_id.")
    return schemas


def load_schema(path: Path) -> dict[str, Any]:
    """One schema file, checked. Raises BadInput naming the file."""
    try:
        schema = strict_loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); give a JSON Schema file.") from None
    except ValueError as error:
        raise BadInput(f"{path}: not JSON ({error}); give a JSON Schema file.") from None
    check_schema(schema, str(path))
    checked: dict[str, Any] = schema
    return checked


def check_extractable(schema: Any, where: str, *, patterns: bool = True) -> dict[str, Any]:
    """The schema. Raises BadInput where it is none (`patterns` as for `check_schema`), or nothing can be extracted."""
    check_schema(schema, where, patterns=patterns)
    top = resolve(schema, schema)
    if not (properties_of(top, schema) or top.keys() & {"enum", "items", "anyOf", "oneOf"}):
        raise BadInput(f"{where}: the schema has nothing to extract; give it properties.")
    checked: dict[str, Any] = schema
    return checked


def validate(value: Any, schema: Mapping[str, Any]) -> list[str]:
    """What in `value` violates `schema`, formats included; an empty list where nothing does."""
    validator = _validator(json.dumps(schema))
    return [
        f"{'/'.join(map(str, error.absolute_path)) or 'the top'}: {error.message[:200]}"
        for error in validator.iter_errors(value)
    ]


@functools.lru_cache(maxsize=256)
def _validator(schema_text: str) -> Any:
    import jsonschema
    import referencing

    # An explicit registry: the default one would fetch remote references over the network.
    return jsonschema.Draft202012Validator(
        json.loads(schema_text), registry=referencing.Registry(), format_checker=_format_checker()
    )


@functools.cache
def _format_checker() -> Any:
    import jsonschema

    checker = jsonschema.FormatChecker(formats=())
    for name, check in _FORMATS.items():
        checker.checks(name, raises=ValueError)(lambda v, check=check: not isinstance(v, str) or check(v))
    return checker


_SPACE = r" \t\n\r\f\v"
EMAIL = rf"[^@{_SPACE}]+@[^@{_SPACE}.]+(?:\.[^@{_SPACE}.]+)+"
URI = rf"[A-Za-z][A-Za-z0-9+.-]*:[^{_SPACE}]+"
"""What `format` asserts of an email address and a URI: here, and in the grammar of a schema."""


def _matches(pattern: str) -> Any:
    compiled = re.compile(pattern, re.ASCII)
    return lambda text: compiled.fullmatch(text) is not None


def _is_date(text: str) -> bool:
    return re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) is not None and bool(datetime.date.fromisoformat(text))


def _is_time(text: str) -> bool:
    match = re.fullmatch(r"(\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)", text, re.ASCII)
    return match is not None and bool(datetime.time.fromisoformat(match[1]) or True)


def _is_datetime(text: str) -> bool:
    return text[10:11] == "T" and _is_date(text[:10]) and _is_time(text[11:])


_FORMATS: dict[str, Any] = {
    "date": _is_date,
    "time": _is_time,
    "date-time": _is_datetime,
    "email": _matches(EMAIL),
    "uuid": lambda text: len(text) == 36 and bool(uuid.UUID(text)),
    "uri": _matches(URI),
    "ipv4": lambda text: bool(ipaddress.IPv4Address(text).packed),
    "ipv6": lambda text: bool(ipaddress.IPv6Address(text).packed),
}


def complexity(schema: Mapping[str, Any]) -> str:
    """`simple`: at most 5 leaf fields, all flat. `complex`: at least 12 leaf fields, three levels of objects and an
    array of objects. `medium`: all between."""
    fields, levels, object_arrays = _shape(schema, schema)
    if fields <= 5 and levels == 1:
        return "simple"
    if fields >= 12 and levels >= 3 and object_arrays:
        return "complex"
    return "medium"


def _shape(schema: Mapping[str, Any], root: Mapping[str, Any]) -> tuple[int, int, int]:
    """Leaf fields, levels of objects, arrays of objects."""
    schema = resolve(schema, root)
    properties = properties_of(schema, root)
    if properties:
        shapes = [_shape(sub, root) for sub in properties.values()]
        return sum(s[0] for s in shapes), 1 + max(s[1] for s in shapes), sum(s[2] for s in shapes)
    if isinstance(schema.get("items"), dict):
        fields, levels, arrays = _shape(schema["items"], root)
        return fields, levels, arrays + (levels > 0)
    return 1, 0, 0


def infer_schema(values: Iterable[Any]) -> dict[str, Any]:
    """A JSON Schema that every one of `values` satisfies, and no looser than types and keys require.

    Properties stand in an order that agrees with every value's own where one exists; `required` are the keys that
    all objects have. Strings are never turned into enums: a sample does not show that a list of values is closed.
    """
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_inferred(list(values))}


def _inferred(values: list[Any]) -> dict[str, Any]:
    options: list[dict[str, Any]] = []
    objects = [v for v in values if isinstance(v, dict)]
    if objects:
        keys = _merged_order([list(o) for o in objects])
        options.append(
            {
                "type": "object",
                "properties": {k: _inferred([o[k] for o in objects if k in o]) for k in keys},
                "required": [k for k in keys if all(k in o for o in objects)],
                "additionalProperties": False,
            }
        )
    lists = [v for v in values if isinstance(v, list)]
    if lists:
        items = [item for v in lists for item in v]
        options.append({"type": "array", "items": _inferred(items)} if items else {"type": "array"})
    if any(isinstance(v, str) for v in values):
        options.append({"type": "string"})
    if any(isinstance(v, bool) for v in values):
        options.append({"type": "boolean"})
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if numbers:
        options.append({"type": "integer" if all(isinstance(n, int) for n in numbers) else "number"})
    if any(v is None for v in values):
        options.append({"type": "null"})
    return options[0] if len(options) == 1 else {"anyOf": options} if options else {}


def _merged_order(orders: list[list[str]]) -> list[str]:
    """All keys in an order that keeps every given order where possible; ties and cycles fall to first appearance."""
    seen: dict[str, int] = {}
    before: dict[str, set[str]] = {}
    for order in orders:
        for i, key in enumerate(order):
            seen.setdefault(key, len(seen))
            before.setdefault(key, set()).update(order[i - 1 : i] if i else [])
    result: list[str] = []
    left = sorted(seen, key=seen.__getitem__)
    while left:
        free = next((k for k in left if not before[k] & (set(left) - {k})), left[0])
        left.remove(free)
        result.append(free)
    return result
