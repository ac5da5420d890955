"""Values that follow from others."""

from __future__ import annotations

from typing import Any

import pytest
from synth.schemas import NUMBER, TEXT, WHOLE, items, obj

from slmbench.synth.fill import Filler
from slmbench.synth.structure import arithmetic
from slmbench.synth.tree import as_object
from slmbench.synth.values import Source


def values(schema: dict[str, Any], n: int = 40) -> list[dict[str, Any]]:
    filler = Filler(schema, "test")
    return [as_object(filler.fill(Source(f"test:{i}"))) for i in range(n)]


COUNT = {"type": "integer", "minimum": 1}
LINE = obj(description=TEXT, quantity=COUNT, unit_price=NUMBER, line_total=NUMBER)


@pytest.mark.parametrize(
    "schema",
    [
        obj(
            ["lines", "total"], lines=items(LINE, minItems=1), subtotal=NUMBER, tax_rate=NUMBER, tax=NUMBER,
            shipping=NUMBER, total=NUMBER,
        ),
        obj(["lines"], lines=items(obj(qty=COUNT, price=NUMBER, discount=NUMBER), minItems=1), total=NUMBER),
        obj(lines=items(LINE, minItems=1), discount=NUMBER, vat_rate=NUMBER, total=NUMBER),
        obj(item=TEXT, quantity=COUNT, unit_price=NUMBER, total=NUMBER),
    ],
)  # fmt: skip
def test_sums_add_up_by_name(schema: dict[str, Any]) -> None:
    for value in values(schema):
        assert arithmetic(value, schema) == []


def test_names_in_camel_case_are_the_same_names() -> None:
    for value in values(obj(itemName=TEXT, quantity=COUNT, unitPrice=NUMBER, totalPrice=NUMBER)):
        assert value["totalPrice"] == pytest.approx(value["quantity"] * value["unitPrice"], abs=0.005)


def test_hints_list_values_and_derive_others() -> None:
    def hinted(**hint: Any) -> dict[str, Any]:
        return {"type": "number", "x-slmbench": hint}

    line = obj(hours=WHOLE, rate=WHOLE)
    schema = obj(
        kind={"type": "string", "x-slmbench": {"values": ["red", "blue"]}},
        lines=items(line, minItems=1),
        n=hinted(derive="count(lines)"), cost=hinted(derive="sum(lines.hours * lines.rate)"),
        twice=hinted(derive="cost * 2"),
    )  # fmt: skip
    for value in values(schema):
        assert value["kind"] in ("red", "blue")
        assert value["n"] == len(value["lines"])
        assert value["cost"] == sum(item["hours"] * item["rate"] for item in value["lines"])
        assert value["twice"] == 2 * value["cost"]
