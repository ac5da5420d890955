"""The rules of `x-slmbench: {"derive": ...}`: values worked out from other fields."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from slmbench.synth.fields import hints
from slmbench.synth.structure import number_of

_CALLS: dict[str, Callable[[list[Any]], Any]] = {
    "sum": lambda values: sum(values, Decimal(0)),
    "count": lambda values: Decimal(len(values)),
    "min": min,
    "max": max,
}
_SIGNS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip


def evaluate(rule: str, names: Mapping[str, Any]) -> Any:
    """The value of "sum(lines.amount)", "count(lines)", "a * b - c" and the like; numbers are Decimals.

    Raises ValueError for anything but names, paths, numbers, + - * / and sum, count, min, max, and KeyError for a name
    that is not there.
    """
    return _evaluated(ast.parse(rule, mode="eval").body, names)


def operands(properties: Mapping[str, Any]) -> set[str]:
    """The first names of what the derived fields of an object follow from."""
    rules = [hints(sub).get("derive") for sub in properties.values() if isinstance(sub, Mapping)]
    return {name for rule in rules if isinstance(rule, str) for name in re.findall(r"[A-Za-z_][\w-]*", rule)}


def _evaluated(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=int() | float() as value):
            return Decimal(str(value))
        case ast.Name(id=name):
            return _exact(names[name])
        case ast.Attribute(value=owner, attr=name):
            held = _evaluated(owner, names)
            return [_exact(item[name]) for item in held] if isinstance(held, list) else _exact(held[name])
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_evaluated(inner, names)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _SIGNS:
            return _combined(_SIGNS[type(sign)], _evaluated(left, names), _evaluated(right, names))
        case ast.Call(func=ast.Name(id=name), args=[only], keywords=[]) if name in _CALLS:
            values = _evaluated(only, names)
            return _CALLS[name](values if isinstance(values, list) else [values])
    raise ValueError(f"{ast.unparse(node)!r} is not a name, a number, + - * / or sum, count, min, max")


def _exact(value: Any) -> Any:
    """A number as a Decimal, anything else as it is."""
    found = number_of(value)
    return value if found is None else found


def _combined(sign: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    if isinstance(left, list) and isinstance(right, list):
        return [_combined(sign, a, b) for a, b in zip(left, right, strict=True)]
    if isinstance(left, list):
        return [_combined(sign, a, right) for a in left]
    return sign(left, right)
