"""A number for a field: within what its schema allows, and where possible one that its meaning makes likely."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from slmbench.synth.fields import Meaning
from slmbench.synth.tree import Impossible
from slmbench.synth.values import Source, number

UNUSUAL = 0.35
"""How often what is measured has any size, not the one usual for its name: in one to three digits, 0.001 to 9,990."""


def amount(key: str, schema: Mapping[str, Any], told: Meaning, source: Source) -> int | float:
    """A number for the field `key`. Raises Impossible where its bounds leave none."""
    step = Decimal(str(schema.get("multipleOf", 0)))
    low, high, places = _bounds(schema, told)
    if low > high:
        raise Impossible(f"field {key!r} has no number between its minimum {low} and maximum {high}")
    if told.kind == "pickint" and not step:
        usual = [int(arg) for arg in told.args if low <= int(arg) <= high]
        if usual:
            return source.pick(usual)
    if step:
        first, last = (low / step).to_integral_value(ROUND_CEILING), (high / step).to_integral_value(ROUND_FLOOR)
        if first > last:
            raise Impossible(f"field {key!r} has no multiple of {step} between {low} and {high}")
        return number(step * source.integer(int(first), int(last)))
    if schema["type"] == "integer" and not told.known and low < 10 < high and source.chance(0.8):
        # What is counted is mostly little.
        return source.integer(int(low.to_integral_value(ROUND_CEILING)), source.pick([3, 5, 10]))
    if schema["type"] == "integer":
        return _rounded(source.integer(int(low.to_integral_value(ROUND_CEILING)), int(high)), low, source)
    if told.kind == "money" and high - low > 3:
        price = source.price(int(low) + 1, int(high) - 1)
        # Rents and deposits are round, prices of goods are not.
        return number(price.to_integral_value() if low >= 300 and source.chance(0.7) else price)
    # A coordinate has its places, a pH its few sizes.
    free = schema["type"] == "number" and told.kind == "dec" and places <= 2 and high - low > 5
    if free and source.chance(UNUSUAL if told.known else 1):
        digits, size = source.integer(1, source.pick([9, 99, 99, 999, 999])), source.pick([-3, -2, -1, -1, 0, 0, 1])
        if _within(value := digits * Decimal(10) ** size, schema):
            return number(value)
    scale = Decimal(10) ** -max(places, 0 if high - low > 5 else 2)
    return number(low + scale * source.integer(0, int((high - low) / scale)))


def _within(value: Decimal, schema: Mapping[str, Any]) -> bool:
    """Whether a number keeps to the bounds of its schema."""
    low, high = (Decimal(str(schema.get(key, value))) for key in ("minimum", "maximum"))
    above, below = (
        Decimal(str(schema[key])) if key in schema else None for key in ("exclusiveMinimum", "exclusiveMaximum")
    )
    return low <= value <= high and (above is None or value > above) and (below is None or value < below)


def _rounded(value: int, low: Decimal, source: Source) -> int:
    """Large amounts are mostly round: a salary of 52,000, not of 51,937."""
    for size, unit, share in ((20000, 1000, 0.9), (900, 50, 0.3)):
        if value >= size and source.chance(share):
            return value // unit * unit if value // unit * unit >= low else value
    return value


def _bounds(schema: Mapping[str, Any], told: Meaning) -> tuple[Decimal, Decimal, int]:
    """Lowest, highest and decimal places: those that are usual, within what the schema allows."""
    places = int(told.args[2]) if told.kind == "dec" and len(told.args) > 2 else 2 if told.kind == "money" else 0
    places = 0 if schema["type"] == "integer" else places
    usual = [Decimal(arg) for arg in told.args[:2]] if told.kind != "pickint" else [Decimal(5), Decimal(120)]
    tiny = Decimal(1) if schema["type"] == "integer" else Decimal(10) ** -max(places, 1)
    lows = [Decimal(str(schema[k])) + d for k, d in (("minimum", 0), ("exclusiveMinimum", tiny)) if k in schema]
    highs = [Decimal(str(schema[k])) - d for k, d in (("maximum", 0), ("exclusiveMaximum", tiny)) if k in schema]
    low, high = max(lows, default=None), min(highs, default=None)
    if low is not None and high is not None and low > high:
        return low, high, places
    inside = max([usual[0], *lows]), min([usual[1], *highs])
    if inside[0] <= inside[1] and (told.known or low is None or high is None or high > 1000):
        return *inside, places
    if low is None:
        low = min(usual[0], (high or Decimal(0)) - 100)
    return low, high if high is not None else low + 100, places
