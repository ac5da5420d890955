"""BFCL's AST checker: whether calls are among those that it accepts, by its rules and with its accidents.

Made to decide as the package bfcl-eval 2026.3.23 does, of which it holds no code; docs/method.md has the comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slmbench.bfcl.rows import accepted_answers, classes_of, documents_of, find_tool

# What BFCL does not look at in a string, case aside.
_IGNORED = str.maketrans("'", '"', " ,./-_*^")


def check(
    calls: Any, tools: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]], language: str = "python"
) -> list[str]:
    """What makes `calls` wrong by the rules of BFCL's AST checker; an empty list where they are right.

    There must be as many calls as answers; each answer, in order, takes the first call left that is right for it. A
    call is right when its name is the answer's, nothing required is missing, no argument is unknown to the document or
    to the answer, each value is accepted, and what is left out may be (`""` is accepted). `tools` are BFCL's documents
    or those of `tools_of`. Raises ValueError for a type that the language does not have, and for broken answers.
    """
    expected = accepted_answers(list(answers))
    if not isinstance(calls, list):
        return ["the answer is not a list of calls"]
    if len(calls) != len(expected):
        return [f"{_counted(len(calls))} instead of {len(expected)}"]
    left = list(calls)
    reasons: list[str] = []
    for name, accepted in expected:
        tool = find_tool(tools, name)
        found = [_call(call, name, tool, accepted, language) for call in left]
        right = next((i for i, wrong in enumerate(found) if not wrong), None)
        if right is not None:
            del left[right]
            continue
        # Of several calls, those to another function say nothing about what went wrong with this one.
        namesakes = [wrong for call, wrong in zip(left, found, strict=True) if _name(call) == name] or found[:1]
        reasons += [reason for wrong in namesakes for reason in wrong]
    return reasons


def _counted(number: int) -> str:
    return "1 call" if number == 1 else f"{number} calls"


def _name(call: Any) -> Any:
    return call.get("name") if isinstance(call, dict) else None


def _call(call: Any, name: str, tool: Mapping[str, Any], accepted: Mapping[str, list[Any]], language: str) -> list[str]:
    """What is wrong with one call for one answer."""
    if _name(call) != name:
        return [f"the function {_name(call)!r:.80} is called instead of {name!r}"]
    if not tool:
        return [f"{name}: no such function is documented"]
    given = call.get("arguments")
    if not isinstance(given, dict):
        return [f"{name}: the arguments are not an object"]
    docs = documents_of(tool)
    required = (tool.get("parameters") or {}).get("required") or []
    reasons = [f"{name}: {key!r} is required and missing" for key in required if key not in given]
    for key, value in given.items():
        if key not in docs or key not in accepted:
            reasons.append(f"{name}: {key!r} is not an argument that was expected")
        elif wrong := _argument(value, accepted[key], docs[key], language):
            reasons.append(f"{name}: {key!r} {wrong}")
    for key, values in accepted.items():
        if key not in given and key not in required and "" not in values:
            reasons.append(f"{name}: {key!r} is missing and may not be left out")
    return reasons


def _argument(value: Any, accepted: list[Any], doc: Mapping[str, Any], language: str) -> str | None:
    """Why `value` is not accepted for an argument; None where it is.

    Two types may be right: the document's, and that of the first accepted value, which BFCL calls a variable (the name
    of one in the place of a number, say). Only the document's own type is compared leniently.
    """
    outer, inner = classes_of(doc, language)
    # An integer may stand for a float; not within a list, where the items of the accepted list decide.
    actual = float if outer is float and type(value) is int else type(value)
    first = _first_class(accepted)
    variable = first is not None and first is not outer
    if actual is outer:
        if inner is not None and not any(_items_fit(value, inner, answer) for answer in accepted):
            return f"is {value!r:.80}, whose items are not of the type {inner.__name__}"
    elif actual is first:
        variable = True
    else:
        return f"is {value!r:.80}, not of the type {outer.__name__}"
    if variable:
        right = value in accepted
    elif outer is dict:
        right = any(_object_right(value, answer) for answer in accepted)
    elif outer is list and inner is dict:
        right = any(_objects_right(value, answer) for answer in accepted)
    elif outer is str:
        right = _plain(value) in [_plain(answer) for answer in accepted if isinstance(answer, str)]
    elif outer is list:
        # `_options` makes the accepted "" an empty list: so does BFCL, and takes [] for what may be left out.
        right = [_plain(item) for item in value] in [[_plain(item) for item in _options(a)] for a in accepted]
    else:
        right = value in accepted
    return None if right else f"is {value!r:.80}, not one of {accepted!r:.160}"


def _first_class(accepted: Sequence[Any]) -> type | None:
    return next((type(value) for value in accepted if value != ""), None)


def _items_fit(items: Sequence[Any], inner: type, answer: Any) -> bool:
    """Whether each item is of the documented type, or of the type of the first item that `answer` has."""
    return not isinstance(answer, list) or all(type(item) in (inner, _first_class(answer)) for item in items)


def _object_right(value: Any, answer: Any) -> bool:
    """Whether `value` has the keys of `answer`, each with one of the values accepted for it: one level, as BFCL."""
    if not isinstance(value, dict) or not isinstance(answer, dict):
        return False
    return all(
        key in answer and _plain(item) in [_plain(option) for option in _options(answer[key])]
        for key, item in value.items()
    ) and all(key in value or _optional(options) for key, options in answer.items())


def _objects_right(values: Sequence[Any], answer: Any) -> bool:
    options = _options(answer)
    return len(values) == len(options) and all(map(_object_right, values, options))


def _optional(accepted: Any) -> bool:
    """Whether a key may be left out; where a string stands for the list, BFCL finds "" in it."""
    return isinstance(accepted, list | str | dict) and "" in accepted


def _options(accepted: Any) -> list[Any]:
    """What BFCL runs over where a list of accepted values or items belongs; it crashes on a number, we take it."""
    return list(accepted) if isinstance(accepted, list | str | dict) else [accepted]


def _plain(value: Any) -> Any:
    """A string without case, spaces and ,./-_*^, single quotes as double ones; anything else as it stands."""
    return value.translate(_IGNORED).lower() if isinstance(value, str) else value
