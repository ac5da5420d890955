"""Files of the Berkeley Function-Calling Leaderboard (BFCL, https://gorilla.cs.berkeley.edu) as our rows.

A question comes with the documents of functions, `{"name", "description", "parameters"}`, the parameters in a JSON
Schema of BFCL's own ("dict", "float", "tuple", "any", Java's and JavaScript's names). Its answers are a list of calls,
`{NAME: {ARGUMENT: [accepted, ...]}}`, where an accepted `""` says that the argument may be left out. Here an answer is
a list of `{"name", "arguments"}`. For Java and JavaScript, whose answers BFCL reads out of source text, a JSON value
stands for the value that the text means.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from slmbench.calls import calls_schema, tools_of
from slmbench.core import BadInput
from slmbench.data import UNLABELLED, decoded, jsonl_objects, read_bytes
from slmbench.schema import canonical, validate

STYLE = "bfcl"

# The name of a type in BFCL's documents -> its name in JSON Schema, None for any value.
_EVERYWHERE = {
    "string": "string",
    "integer": "integer",
    "number": "number",
    "float": "number",
    "boolean": "boolean",
    "array": "array",
    "dict": "object",
    "object": "object",
    "null": "null",
    "any": None,
}
TYPES: dict[str, dict[str, str | None]] = {
    "python": {**_EVERYWHERE, "bool": "boolean", "list": "array", "tuple": "array"},
    "java": {
        **_EVERYWHERE,
        **dict.fromkeys(("byte", "short", "long"), "integer"),
        "double": "number",
        **dict.fromkeys(("char", "String"), "string"),
        **dict.fromkeys(("Array", "ArrayList", "Set", "Queue", "Stack"), "array"),
        **dict.fromkeys(("HashMap", "Hashtable"), "object"),
        "Any": None,
    },
    "javascript": {**_EVERYWHERE, "String": "string", "Bigint": "integer", "Boolean": "boolean", "Array": "array"},
}
# What a value's own Python type must be. BFCL holds "any" for a string; see `_argument` for what saves other values.
CLASSES: dict[str | None, type] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
    None: str,
}
# Keywords that mean in BFCL's documents what they mean in JSON Schema, and hold no schema.
_KEPT = (
    "title", "description", "enum", "const", "default", "examples", "format", "pattern", "minLength", "maxLength",
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems", "uniqueItems",
    "minProperties", "maxProperties",
)  # fmt: skip
# `optional` repeats what `required` says; where they disagree, BFCL's checker goes by `required`.
_KNOWN = {"type", "properties", "required", "optional", "additionalProperties", "items", *_KEPT}


def json_schema(parameters: Mapping[str, Any], language: str = "python") -> dict[str, Any]:
    """The parameters of a function document as a JSON Schema 2020-12 of an object, properties in their order.

    Objects with listed properties are closed. Raises ValueError with the place and the reason for a type or a keyword
    that JSON Schema cannot express, and for what no value could satisfy.
    """
    import jsonschema

    if language not in TYPES:
        raise ValueError(f"the language {language!r} is none of {', '.join(TYPES)}")
    schema = _converted(parameters, TYPES[language], "parameters")
    if schema.get("type") != "object":
        raise ValueError(f"parameters: the type is {parameters.get('type')!r}, arguments are an object")
    if not schema.get("properties"):
        # A function without parameters takes none, while a nested object without properties is free.
        schema.setdefault("additionalProperties", False)
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        place = "/".join(map(str, ("parameters", *error.absolute_path)))
        raise ValueError(f"{place}: {error.message[:200]}") from None
    return schema


def documented(tools: Sequence[Mapping[str, Any]], language: str = "python") -> dict[str, Any]:
    """The JSON Schema of a list of calls to functions of BFCL's documents. Raises ValueError as `json_schema`.

    Dots in names stay as they are.
    """
    if not tools:
        raise ValueError("there is no function to call")
    known = []
    for tool in tools:
        name, parameters = tool.get("name"), tool.get("parameters")
        if not isinstance(name, str):
            raise ValueError("a function has no name")
        try:
            arguments = json_schema(parameters if isinstance(parameters, Mapping) else {}, language)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        known.append({**tool, "parameters": arguments})
    return calls_schema(known)


def _converted(doc: Any, types: Mapping[str, str | None], where: str) -> dict[str, Any]:
    if not isinstance(doc, Mapping):
        raise ValueError(f"{where}: {doc!r:.40} is not an object that describes a value")
    unknown = [key for key in doc if key not in _KNOWN]
    if unknown:
        raise ValueError(f"{where}: the keyword {unknown[0]!r} is none that BFCL's documents use")
    kinds = kinds_of(doc, types, where)
    schema: dict[str, Any] = {}
    if kinds:
        schema["type"] = kinds[0] if isinstance(doc.get("type", ""), str) else kinds
    schema.update({key: doc[key] for key in _KEPT if key in doc})
    for key, owner in (("properties", "object"), ("items", "array"), ("additionalProperties", "object")):
        if key in doc and kinds and owner not in kinds:
            raise ValueError(f"{where}: {key!r} stands beside the type {doc['type']!r}")
    if "properties" in doc:
        properties = doc["properties"]
        if not isinstance(properties, Mapping):
            raise ValueError(f"{where}: 'properties' is not an object")
        schema["properties"] = {
            key: _converted(sub, types, f"{where}/properties/{key}") for key, sub in properties.items()
        }
        if properties:
            schema["additionalProperties"] = False
    if "additionalProperties" in doc:
        rest = doc["additionalProperties"]
        place = f"{where}/additionalProperties"
        schema["additionalProperties"] = rest if isinstance(rest, bool) else _converted(rest, types, place)
    if "required" in doc:
        schema["required"] = _required(doc, schema, where)
    if "items" in doc:
        if isinstance(doc["items"], list):
            schema["prefixItems"] = [_converted(sub, types, f"{where}/items/{i}") for i, sub in enumerate(doc["items"])]
        else:
            schema["items"] = _converted(doc["items"], types, f"{where}/items")
    return _with_enum(schema, where)


def kinds_of(doc: Mapping[str, Any], types: Mapping[str, str | None], where: str) -> list[str]:
    """The JSON Schema types of a document, none where any value will do."""
    if "type" not in doc:
        return ["object"] if "properties" in doc else ["array"] if "items" in doc else []
    names = doc["type"] if isinstance(doc["type"], list) else [doc["type"]]
    for name in names:
        if not isinstance(name, str) or name not in types:
            raise ValueError(f"{where}: the type {name!r} is none of {', '.join(types)}")
    kinds = [types[name] for name in names]
    return [] if None in kinds else list(dict.fromkeys(kind for kind in kinds if kind))


def _required(doc: Mapping[str, Any], schema: Mapping[str, Any], where: str) -> list[str]:
    required = doc["required"]
    if not isinstance(required, list):
        raise ValueError(f"{where}: 'required' is {required!r:.40}, not a list of names")
    lost = [name for name in required if name not in schema.get("properties", {})]
    if lost and schema.get("additionalProperties") is False:
        raise ValueError(f"{where}: {lost[0]!r} is required and no property")
    return list(dict.fromkeys(required))


def _with_enum(schema: dict[str, Any], where: str) -> dict[str, Any]:
    """`schema` with the enum of an array's items put where it belongs; ValueError where no value of an enum fits."""
    values = schema.get("enum")
    if not isinstance(values, list) or "type" not in schema:
        return schema
    if schema["type"] == "array" and not any(isinstance(value, list) for value in values):
        items = schema.get("items", {})
        if "enum" not in items:
            del schema["enum"]
            schema["items"] = _with_enum({**items, "enum": values}, f"{where}/items")
            return schema
    if not any(not validate(value, {"type": schema["type"]}) for value in values):
        raise ValueError(f"{where}: no value of the enum is of the type {schema['type']!r}")
    return schema


def read_bfcl(questions: Path, answers: Path) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """BFCL's questions and accepted answers as rows of our JSONL, and the (id, reason) of those that cannot be turned.

    A row is {id, schema_id, complexity, style, text, schema, target, answers}: its target holds the first accepted
    value of each argument, and no argument whose first accepted value is "". A target that breaks the schema is not
    turned. Raises BadInput with file:line for a file that is missing, broken or does not fit the other.
    """
    truths: dict[str, Any] = {}
    for where, fields in _objects(answers, ("id", "ground_truth")):
        if fields["id"] in truths:
            raise BadInput(f"{where}: the id {fields['id']!r} has answers already: keep one of the two lines")
        truths[fields["id"]] = fields["ground_truth"]
    rows: list[dict[str, Any]] = []
    lost: list[tuple[str, str]] = []
    seen: set[str] = set()
    for where, fields in _objects(questions, ("id", "question", "function")):
        name = fields["id"]
        if name in seen:
            raise BadInput(f"{where}: the id {name!r} stands on an earlier line: give every question an id of its own")
        if name not in truths:
            raise BadInput(f"{where}: {answers} has no answers for {name!r}: give the answers of these questions")
        seen.add(name)
        try:
            rows.append(_row(name, fields, truths[name]))
        except ValueError as error:
            lost.append((name, str(error)))
    return rows, lost


def _objects(path: Path, keys: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file:line, object) for each line of a JSONL file; BadInput where one lacks a key or its id is no string."""
    for number, _, fields in jsonl_objects(path, decoded(path, read_bytes(path))):
        where = f"{path}:{number}"
        for key in keys:
            if key not in fields:
                raise BadInput(f"{where}: the field {key!r} is missing: give a file of BFCL")
        if not isinstance(fields["id"], str):
            raise BadInput(f"{where}: 'id' is {fields['id']!r:.40}, not a string: write it as text in quotes")
        yield where, fields


def _row(name: str, fields: Mapping[str, Any], truth: Any) -> dict[str, Any]:
    tools = fields["function"]
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise ValueError("'function' is not a list of function documents")
    language = _language(name)
    text = _text(fields["question"])
    schema = documented(tools, language)
    calls = [first_call(answer, tools, language) for answer in accepted_answers(truth)]
    violations = _violations(calls, schema)
    if violations:
        raise ValueError(f"the first accepted answer breaks the schema: {'; '.join(violations)}")
    return {
        "id": name,
        "schema_id": name,
        "complexity": UNLABELLED,
        "style": STYLE,
        "text": text,
        "schema": schema,
        "target": canonical(calls, schema),
        "answers": truth,
    }


def _language(name: str) -> str:
    """The language of a question, which BFCL puts into its id: simple_java_7, live_simple_3-1-0 (Python)."""
    return next((language for language in ("javascript", "java") if language in name), "python")


def _text(question: Any) -> str:
    """A single user turn as it stands, several turns as lines that start with the speaker."""
    turns = question if isinstance(question, list) else []
    messages = [message for turn in turns for message in (turn if isinstance(turn, list) else [turn])]
    if not messages or not all(
        isinstance(message, dict) and isinstance(message.get("role"), str) and isinstance(message.get("content"), str)
        for message in messages
    ):
        raise ValueError("'question' is not a list of turns with role and content")
    if len(messages) == 1 and messages[0]["role"] == "user":
        return str(messages[0]["content"])
    return "\n".join(f"{message['role'].capitalize()}: {message['content']}" for message in messages)


def accepted_answers(truth: Any) -> list[tuple[str, dict[str, list[Any]]]]:
    """(name, argument -> accepted values) of each call; ValueError where BFCL's answers have another form."""
    calls = truth if isinstance(truth, list) else [None]
    found: list[tuple[str, dict[str, list[Any]]]] = []
    for call in calls:
        if not isinstance(call, dict) or len(call) != 1:
            raise ValueError("the answers are not a list of calls, {name: {argument: [accepted, ...]}}")
        ((name, arguments),) = call.items()
        if not isinstance(arguments, dict) or not all(isinstance(values, list) for values in arguments.values()):
            raise ValueError(f"the answers give no list of accepted values for each argument of {name!r}")
        found.append((name, arguments))
    return found


def first_call(
    answer: tuple[str, Mapping[str, list[Any]]], tools: Sequence[Mapping[str, Any]], language: str
) -> dict[str, Any]:
    """The call of the first accepted values, arguments in the order of the function document."""
    name, accepted = answer
    docs = documents_of(find_tool(tools, name))
    order = [key for key in docs if key in accepted] + [key for key in accepted if key not in docs]
    chosen = {key: first_value(accepted[key], docs.get(key, {}), language) for key in order if _given(accepted[key])}
    return {"name": name, "arguments": chosen}


def _given(accepted: Any) -> bool:
    return bool(accepted) and not (isinstance(accepted[0], str) and accepted[0] == "")


def first_value(accepted: Sequence[Any], doc: Mapping[str, Any], language: str) -> Any:
    """The first accepted value; in an object and in a list of objects each key has accepted values of its own."""
    outer, inner = classes_of(doc, language)
    value = accepted[0]
    if outer is dict and isinstance(value, dict):
        return _first_object(value)
    if outer is list and inner is dict and isinstance(value, list):
        return [_first_object(item) if isinstance(item, dict) else item for item in value]
    return value


def _first_object(accepted: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: values[0] if isinstance(values, list) else values
        for key, values in accepted.items()
        if not isinstance(values, list) or _given(values)
    }


def _violations(calls: Sequence[Mapping[str, Any]], schema: Mapping[str, Any]) -> list[str]:
    """What in `calls` violates a schema of `calls_schema`: said of the function that is called, not of all of them."""
    violations = validate(calls, schema)
    if not violations:
        return []
    parameters = {tool["name"]: tool["parameters"] for tool in tools_of(schema)}
    unknown = [f"there is no function {call['name']!r}" for call in calls if call["name"] not in parameters]
    broken = [
        f"{call['name']}: {violation}"
        for call in calls
        if call["name"] in parameters
        for violation in validate(call["arguments"], parameters[call["name"]])
    ]
    return unknown + broken or violations


def find_tool(tools: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    return next((tool for tool in tools if tool.get("name") == name), {})


def documents_of(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (tool.get("parameters") or {}).get("properties") or {}
    return found


def classes_of(doc: Mapping[str, Any], language: str) -> tuple[type, type | None]:
    """The Python type of a documented value, and that of its items where it is a list that says so."""
    if language not in TYPES:
        raise ValueError(f"the language {language!r} is none of {', '.join(TYPES)}")
    kinds = kinds_of(doc, TYPES[language], "a function document")
    outer = CLASSES[kinds[0]] if len(kinds) == 1 else str
    items = doc.get("items")
    if outer is not list or not isinstance(items, Mapping):
        return outer, None
    return outer, classes_of(items, language)[0]
