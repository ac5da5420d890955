"""Values that follow from other fields: ends after starts, sums that add up by their names or by a rule."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, DivisionByZero, InvalidOperation
from typing import Any

from slmbench.schema import grounding
from slmbench.synth.fields import hints, words_in
from slmbench.synth.rules import evaluate
from slmbench.synth.structure import (
    ADDED,
    LINE_TOTAL,
    SUBTOTAL,
    TAKEN,
    TOTAL,
    first_of,
    line_sum_of,
    number_of,
    product_of,
    total_of,
)  # fmt: skip
from slmbench.synth.tree import Impossible, Node, as_object
from slmbench.synth.values import Source, cents, number

_ENDS = {"start": "end", "min": "max", "minimum": "maximum", "from": "to", "low": "high", "begin": "end", "in": "out"}
_NETS = (*SUBTOTAL, "net_amount", "net_total", "total_net", "net")
_GROSS = (*TOTAL, "gross_total", "gross_amount", "total_gross", "invoice_total")
_TAXES = ADDED[:5]
_RATES = ("tax_rate", "vat_rate", "tax_percent", "vat_percent")


def settle(nodes: Sequence[Node], top: Sequence[Node], source: Source) -> None:
    """Work out what follows from other fields, from the inside out; `top` holds the fields of the whole document.

    Raises Impossible for a rule that cannot be worked out.
    """
    for node in nodes:
        for inner in node.below:
            settle(inner, top, source)
    _in_order(nodes)
    _add_up(nodes)
    for _ in range(3):  # A rule may name a field that has a rule.
        for node in nodes:
            rule = hints(node.schema).get("derive")
            if isinstance(rule, str):
                node.value = _worked_out(node, rule, nodes, top)
                node.hidden = grounding(node.schema) is False and not source.chance(0.3)


def _in_order(nodes: Sequence[Node]) -> None:
    """Put a start before its end and a minimum before its maximum: the two values change places where need be."""
    by = {tuple(words_in(node.key)): node for node in nodes}
    for name, first in by.items():
        for word in name:
            last = by.get(tuple(_ENDS.get(word, word) if part == word else part for part in name))
            if last is None or last is first or type(first.value) is not type(last.value):
                continue
            if isinstance(first.value, int | float | str) and first.value > last.value:
                first.value, last.value = last.value, first.value


class _Sheet:
    """The numbers of one object by plain names, as the gate reads them; those that a rule gives are not in it."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = {_plain(node.key): node for node in nodes if "derive" not in hints(node.schema)}
        self.values = {name: _renamed(node.json()) for name, node in self.nodes.items()}

    def get(self, names: Sequence[str]) -> Decimal | None:
        """The first number that is there under one of the names."""
        found = first_of(self.values, names)
        return found[1] if found else None

    def put(self, names: Sequence[str], value: Decimal) -> None:
        """Set the first number that is there under one of the names."""
        if found := first_of(self.values, names):
            node = self.nodes[found[0]]
            node.value = self.values[found[0]] = _as_json(node, value)

    def total(self, names: Sequence[str]) -> Decimal:
        """The sum of all numbers that are there under the names."""
        return total_of(self.values, [name for name in names if number_of(self.values.get(name)) is not None])


def _add_up(nodes: Sequence[Node]) -> None:
    """Make the sums of one object true that the gate knows by name: lines, subtotal, tax by its rate, total."""
    sheet = _Sheet(nodes)
    lines, product = line_sum_of(sheet.values), product_of(sheet.values)
    if product is not None and not lines and sheet.get(LINE_TOTAL) is not None:
        sheet.put(LINE_TOTAL, product)
        return
    base = lines[0] if lines else product
    if base is not None:
        sheet.put(_NETS, base)
    net = sheet.get(_NETS)
    base = base if net is None else net
    if base is None:
        return
    rate = sheet.get(_RATES)
    share = Decimal("0.2") if rate is None else rate / 100 if rate > 1 else rate
    if sheet.get(_TAXES) is not None:
        sheet.put(_TAXES, base * share)
    elif rate is not None:
        base = cents(base + base * share)
    sheet.put(_GROSS, base + sheet.total(ADDED) - sheet.total(TAKEN))


def _plain(key: str) -> str:
    return "_".join(words_in(key))


def _renamed(value: Any) -> Any:
    """The value with plain names for keys, at every level."""
    if isinstance(value, dict):
        return {_plain(key): _renamed(inner) for key, inner in value.items()}
    return [_renamed(inner) for inner in value] if isinstance(value, list) else value


def _as_json(node: Node, value: Decimal) -> int | float:
    return int(value) if node.schema.get("type") == "integer" else number(cents(value))


def _worked_out(node: Node, rule: str, nodes: Sequence[Node], top: Sequence[Node]) -> Any:
    """The value of a `derive` rule over the fields beside it, else those at the top."""
    names = {**as_object(top), **as_object(nodes)}
    try:
        value = evaluate(rule, names)
    except (ValueError, KeyError, TypeError, SyntaxError, DivisionByZero, InvalidOperation) as error:
        raise Impossible(f"the rule {rule!r} of field {node.key!r} cannot be worked out ({error})") from None
    if isinstance(value, list):
        raise Impossible(f"the rule {rule!r} of field {node.key!r} gives a list; put sum(...) or count(...) around it")
    return _as_json(node, value) if isinstance(value, Decimal) else value
