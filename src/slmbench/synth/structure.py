"""Two properties of a target that its leaves alone do not show: sums that add up, and arrays that read only one way."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

from slmbench.schema import leaves, properties_of, resolve

Path = tuple[str | int, ...]
Span = tuple[int, int]

_QUANTITY = ("quantity", "qty")
_PRICE = ("unit_price", "price", "price_each", "unit_cost")
LINE_TOTAL = ("line_total", "total", "amount", "total_price")
SUBTOTAL = ("subtotal", "sub_total", "items_total")
TOTAL = ("total", "total_amount", "grand_total", "amount_due", "total_due", "order_total")
ADDED = (
    *("tax", "tax_amount", "sales_tax", "vat", "vat_amount"),
    *("shipping", "shipping_cost", "shipping_fee", "delivery_fee"),
    *("tip", "fee", "service_fee", "service_charge", "handling_fee"),
)
TAKEN = ("discount", "discount_amount")
_TAKEN_PERCENT = ("discount_percentage", "discount_percent", "discount_pct")
_CENT = Decimal("0.01")

_LABEL_END = r"[ \t]*[:=][ \t]*[\"'*_`]*$"
_ANY_LABEL = re.compile(r"[^\W\d_][^\n:=|,;.\d]{0,40}" + _LABEL_END)
_BARE_LINE = re.compile(r"(?<=\n)[ \t]*$")
_LONGEST_LABEL = 64


def field_schema(schema: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """The schema of what stands at `path` in a value under `schema`; {} where the schema does not say."""
    node: Any = schema
    for step in path:
        branches = list(_branches(node, schema))
        if isinstance(step, int):
            node = next((branch["items"] for branch in branches if isinstance(branch.get("items"), dict)), {})
        else:
            free = branches[0].get("additionalProperties")
            node = properties_of(node, schema).get(step, free)
        node = node if isinstance(node, dict) else {}
    return resolve(node, schema)


def last_key(path: Path) -> str:
    """The name of the field that a path leads to, "" where it names none."""
    return next((step for step in reversed(path) if isinstance(step, str)), "")


def _branches(node: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    node = resolve(node, root)
    yield node
    for keyword in ("allOf", "anyOf", "oneOf"):
        for branch in node.get(keyword, []):
            yield from _branches(branch, root)


def arithmetic(target: Any, schema: Mapping[str, Any], *, absent_is_zero: bool = True) -> list[str]:
    """What in `target` does not add up, by field names, to the cent; an empty list where nothing does.

    quantity x unit price = line total; the line totals' sum = subtotal; subtotal (or that sum) + tax + shipping + fees
    - discount = total. A tax or discount that the schema knows and the object lacks counts as zero, or, where fields
    may have been dropped from the target alone (`absent_is_zero` False), leaves the total unchecked. A difference that
    another number of the object explains, as an amount or as a rate, is no violation.
    """
    found = []
    for path, node in _objects(target, ()):
        known = properties_of(field_schema(schema, path), schema)
        unsaid = any(name in known and name not in node for name in (*ADDED, *TAKEN))
        for what in _sums(_with_totals(node), check_total=absent_is_zero or not unsaid):
            found.append(f"{_name(path)}: {what}")
    return found


def _sums(node: Mapping[str, Any], check_total: bool) -> Iterator[str]:
    """What does not add up in one object: its lines or its product, its subtotal, its total."""
    lines = line_sum_of(node)
    product = product_of(node)
    base, what, tolerance = product, "quantity x price", _CENT
    if lines:
        (base, tolerance), what = lines, "the lines' sum"
    subtotal = first_of(node, SUBTOTAL)
    if subtotal and base is not None and abs(subtotal[1] - base) > tolerance:
        yield f"{subtotal[0]} is {subtotal[1]}, {what} is {base}"
    if subtotal:
        base, what, tolerance = subtotal[1], subtotal[0], _CENT
    total = first_of(node, (*LINE_TOTAL, *TOTAL) if product is not None and not lines else TOTAL)
    if base is None or total is None or not check_total:
        return
    added = [name for name in ADDED if name in node and number_of(node[name]) is not None]
    taken = [name for name in TAKEN if name in node and number_of(node[name]) is not None]
    expected = base + total_of(node, added) - total_of(node, taken)
    rest = {name for name in node if name not in (*added, total[0], *_QUANTITY, *_PRICE, *SUBTOTAL)}
    if abs(total[1] - expected) > tolerance and not _explained(node, rest, base, total[1] - expected, tolerance):
        terms = " ".join([what, *(f"+ {name}" for name in added), *(f"- {name}" for name in taken)])
        yield f"{total[0]} is {total[1]}, {terms} is {expected}"


def _explained(
    node: Mapping[str, Any], names: Iterable[str], base: Decimal, difference: Decimal, tolerance: Decimal
) -> bool:
    """Whether another number of the object is the difference, or the rate that leads to it."""
    for name in names:
        number = number_of(node[name])
        if number is not None and number != 0:
            effects = (number, base * number, base * number / 100)
            if any(abs(abs(difference) - abs(effect)) <= tolerance for effect in effects):
                return True
    return False


def _with_totals(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object, and beside its lines the totals that it keeps in one object below ("totals": {"subtotal": ...})."""
    if line_sum_of(node) is None or first_of(node, (*SUBTOTAL, *TOTAL)):
        return node
    below = [child for child in node.values() if isinstance(child, dict) and first_of(child, (*SUBTOTAL, *TOTAL))]
    return {**below[0], **node} if len(below) == 1 else node


def line_sum_of(node: Mapping[str, Any]) -> tuple[Decimal, Decimal] | None:
    """The sum of the only list of lines that can be summed, and the rounding it allows; None without such a list."""
    sums = []
    for value in node.values():
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            lines = [_line(item) for item in value]
            if None not in lines:
                allowed = _CENT * max(1, len(lines) // 2)
                sums.append((sum((line for line in lines if line is not None), Decimal(0)), allowed))
    return sums[0] if len(sums) == 1 else None


def _line(item: Mapping[str, Any]) -> Decimal | None:
    """A line's amount: its own total, else quantity x price less the line's discount; None for what is no line."""
    product = product_of(item)
    if product is None:
        return None
    total = first_of(item, LINE_TOTAL)
    if total:
        return total[1]
    percent, amount = first_of(item, _TAKEN_PERCENT), first_of(item, TAKEN)
    return product * (1 - (percent[1] if percent else 0) / Decimal(100)) - (amount[1] if amount else 0)


def product_of(node: Mapping[str, Any]) -> Decimal | None:
    """Quantity times price of an item; None without both."""
    quantity, price = first_of(node, _QUANTITY), first_of(node, _PRICE)
    return quantity[1] * price[1] if quantity and price else None


def first_of(node: Mapping[str, Any], names: Sequence[str]) -> tuple[str, Decimal] | None:
    """The first of some fields that is a number, and its value."""
    for name in names:
        number = number_of(node.get(name))
        if number is not None:
            return name, number
    return None


def total_of(node: Mapping[str, Any], names: Iterable[str]) -> Decimal:
    """The sum of fields."""
    return sum((Decimal(str(node[name])) for name in names), Decimal(0))


def number_of(value: Any) -> Decimal | None:
    """A number as a decimal; None for what is none."""
    return Decimal(str(value)) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _objects(value: Any, path: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    if isinstance(value, dict):
        yield path, value
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _objects(child, (*path, key))


def _name(path: Path) -> str:
    return "/".join(map(str, path)) or "the top"


def array_boundaries(target: Any, text: str) -> list[str]:
    """Where the text shows the fields of two neighbouring array items and not where one item ends.

    An item boundary is seen where a label comes again, or where something stands between two items that never stands
    between two fields of one item: a bullet, a number, a blank line, a row's end. Where the next item begins with a
    field that the item before lacks, and nothing parts them, the field may belong to either: two readings. Only
    labelled fields ("Label: value") are judged; sentences and tables part their items by themselves.
    """
    return list(_boundaries(target, text, (), 0, len(text)))


def _boundaries(value: Any, text: str, path: Path, low: int, high: int) -> Iterator[str]:
    """Judge every array of objects in `value`, whose part of the text lies between `low` and `high`."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _boundaries(child, text, (*path, key), low, high)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return
    places = _places(value, text, low, high)
    usual = {gap for item, spans in zip(value, places, strict=True) for gap in _gaps(item, spans, text)}
    # Items of one field each show no gap of their own: take the usual ones between fields.
    usual = usual or {"\n", ",", ""}
    for index, (item, spans) in enumerate(zip(value, places, strict=True)):
        if not spans:
            continue
        following = next((later[0][1][0] for later in places[index + 1 :] if later), high)
        yield from _boundaries(dict(item), text, (*path, index), spans[0][1][0], following)
        if index + 1 == len(value) or not places[index + 1]:
            continue
        first, (start, _) = places[index + 1][0]
        end = max(span[1] for _, span in spans)
        if first not in item and _cleaned(text[end:start], (item, value[index + 1])) in usual:
            here, there = _name((*path, index)), _name((*path, index + 1))
            yield f"{first!r} of {there} may as well belong to {here}: nothing in the text parts the two items"


def _places(items: list[Any], text: str, low: int, high: int) -> list[list[tuple[str, Span]]]:
    """For each item its labelled leaves, as (top-level key, span from label to value's end), in the text's order."""
    places = []
    for item in items:
        spans = []
        for path, leaf in leaves(item):
            span = _labelled(path, leaf, text, low, high) if path else None
            if span:
                spans.append((str(path[0]), span))
        spans.sort(key=lambda place: place[1])
        places.append(spans)
        low = max((span[1] for _, span in spans), default=low)
    return places


def _labelled(path: Path, leaf: Any, text: str, low: int, high: int) -> Span | None:
    """The first place from `low` on where `leaf` stands after a label, or, in a list, on a line of its own."""
    if isinstance(leaf, dict | list):
        return None
    own_label = re.compile(_label(last_key(path)) + _LABEL_END, re.IGNORECASE)
    form = leaf if isinstance(leaf, str) else json.dumps(leaf)
    forms = [form, form.capitalize()] if isinstance(leaf, bool) else [form]
    found = [span for form in forms if (span := _first_labelled(form, own_label, path, text, low, high))]
    return min(found, default=None)


def _first_labelled(form: str, own_label: re.Pattern[str], path: Path, text: str, low: int, high: int) -> Span | None:
    at = text.find(form, low, high) if form else -1
    while at >= 0:
        end = at + len(form)
        before = max(low, at - _LONGEST_LABEL)
        if not (form[-1].isalnum() and text[end : end + 1].isalnum()):
            left = text[before:at]
            label = own_label.search(left) or _ANY_LABEL.search(left)
            if label is None and isinstance(path[-1], int):
                label = _BARE_LINE.search(left)
            if label:
                return before + label.start(), end
        at = text.find(form, at + 1, high)
    return None


def _gaps(item: Mapping[str, Any], spans: Sequence[tuple[str, Span]], text: str) -> Iterator[str]:
    for (_, (_, end)), (_, (start, _)) in pairwise(spans):
        yield _cleaned(text[end:start], (item,))


def _cleaned(gap: str, items: Iterable[Any]) -> str:
    """What stands between two fields, without spaces and without the headings of nested objects and lists."""
    for key in _containers(items):
        gap = re.sub(rf"(?im)^[ \t]*{_label(key)}[ \t]*:[ \t]*$\n?", "", gap)
    return re.sub(r"[ \t\r]+", "", gap)


def _containers(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {str(key) for key, child in value.items() if isinstance(child, dict | list)}
        return own.union(*(_containers(child) for child in value.values()))
    return set().union(*map(_containers, value)) if isinstance(value, list | tuple) else set()


def _label(key: str) -> str:
    return r"[ \t_-]*".join(re.escape(word) for word in re.split(r"[^a-zA-Z0-9]+", key) if word) or "(?!)"
