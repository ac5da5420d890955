"""A text that a regular expression matches."""

from __future__ import annotations

import importlib
import re
import string
from collections.abc import Sequence
from typing import Any

from slmbench.synth.values import Source

_CATEGORIES = {
    "CATEGORY_DIGIT": string.digits, "CATEGORY_WORD": string.ascii_lowercase + string.digits, "CATEGORY_SPACE": " ",
    "CATEGORY_NOT_DIGIT": string.ascii_uppercase, "CATEGORY_NOT_WORD": "-",
    "CATEGORY_NOT_SPACE": string.ascii_lowercase,
}  # fmt: skip
_ANY = string.ascii_lowercase + string.ascii_uppercase + string.digits + " -./"


def matching(pattern: str, source: Source) -> str:
    """A text drawn from the parts of a pattern, but for what it only looks at: the text may not match for that.

    Raises ValueError for a pattern that is none or has a part that is not supported.
    """
    parser = importlib.import_module("re._parser")
    try:
        return _all(parser.parse(pattern), source, {})
    except (re.error, KeyError, OverflowError) as error:
        raise ValueError(str(error)) from None


def _part(op: Any, arg: Any, source: Source, groups: dict[int, str]) -> str:
    name = str(op)
    if name == "LITERAL":
        return chr(arg)
    if name == "NOT_LITERAL":
        return source.pick([char for char in _ANY if char != chr(arg)])
    if name == "ANY":
        return source.pick(string.ascii_lowercase)
    if name == "IN":
        return source.pick(_charset(arg))
    if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        low, high, inner = arg
        count = source.integer(low, min(int(high), max(low, low + 4)))
        return "".join(_all(inner, source, groups) for _ in range(count))
    if name == "SUBPATTERN":
        groups[arg[0]] = _all(arg[3], source, groups)
        return groups[arg[0]]
    if name == "BRANCH":
        return _all(source.pick(arg[1]), source, groups)
    if name == "GROUPREF":
        return groups[arg]
    if name in ("AT", "ASSERT", "ASSERT_NOT"):
        return ""
    raise ValueError(f"{name.lower()} is not supported")


def _all(parts: Any, source: Source, groups: dict[int, str]) -> str:
    return "".join(_part(op, arg, source, groups) for op, arg in parts)


def _charset(parts: Sequence[tuple[Any, Any]]) -> str:
    """The characters of a class such as [A-Z0-9_], or plain ones that a negated class leaves."""
    negated, chars = False, ""
    for op, arg in parts:
        name = str(op)
        if name == "NEGATE":
            negated = True
        elif name == "LITERAL":
            chars += chr(arg)
        elif name == "RANGE":
            chars += "".join(map(chr, range(arg[0], min(arg[1], arg[0] + 200) + 1)))
        else:
            chars += _CATEGORIES[str(arg)]
    found = "".join(char for char in _ANY if char not in chars) if negated else chars
    if not found:
        raise ValueError("a class without characters")
    return found
