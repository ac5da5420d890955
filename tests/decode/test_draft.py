"""Drafts: what stands behind a label, what a copy goes on with, what comes next; nothing where nothing is known."""

from __future__ import annotations

from typing import Any

import pytest

from slmbench.decode.draft import Drafter, names_of
from slmbench.schema import words_of

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "invoice_no": {"type": "string"}, "paidOn": {"type": "string", "format": "date"},
        "total": {"type": "number"}, "count": {"type": "integer"}, "paid": {"type": "boolean"},
        "level": {"enum": ["low", "very_high"]}, "tags": {"type": "array", "items": {"type": "string"}},
        "seller": {"type": "object", "properties": {"name": {"type": "string", "x-labels": ["sold by"]}}},
        "lines": {
            "type": "array",
            "items": {"type": "object", "properties": {"item": {"type": "string"}, "unit": {"type": "string"}}},
        },
        "note": {"type": "string"},
    },
    "required": ["invoice_no", "total"],
}  # fmt: skip
DOCUMENT = (
    "Invoice no: INV-7/a, of March 5, 2024\nPaid on 2024-03-09; total: $1,234.50 (count 3)\n"
    "Paid: yes. Level = very high\n"
    "Tags: red, dark green and blue\nSold by Müller & Sohn | Item: a box\nItem: a tin\n"
)


def draft(written: str, document: str = DOCUMENT) -> str:
    """The first guess alone: without a grammar nothing is forced in between."""
    drafter = Drafter(SCHEMA, document, lambda text: list(text.encode()))
    drafter.accept(written)
    return drafter.draft(None, 1)[0]


@pytest.mark.parametrize(
    ("written", "guess"),
    [
        ('{"invoice_no":', '"INV-7/a"'),
        ('{"invoice_no":"INV', '-7/a"'),
        ('{"invoice_no":"IN', 'V-7/a"'),
        ('{"paidOn":', '"2024-03-09"'),
        ('{"total":', "1234.5"),
        ('{"total":12', "34.5"),
        ('{"count":', "3"),
        ('{"paid":', "true"),
        ('{"level":', '"very_high"'),
        ('{"level":"v', 'ery_high"'),
        ('{"seller":{"name":', '"Müller & Sohn"'),
        ('{"tags":["red"', ","),
        ('{"tags":["red",', '"dark green and blue"'),
        ('{"invoice_no":"INV-7/a"', ',"paidOn":'),
        ("{", '"invoice_no":'),
        ('{"inv', 'oice_no":'),
        ('{"lines":[{"item":"a box"}', ',{"'),
        ('{"lines":[{"item":"a tin"}', "]"),
        ('{"seller":{"name":"Müller & Sohn"}', ',"lines":'),
        ('{"lines":[{"item":"a box","unit":"k,\\"}g"},{"item":"a tin"', ',"unit":'),
        ('{"lines":[{"item":"a box","unit":"k,\\"}g"},{"item":"a tin","unit":', '"k,\\"}g"'),
        ('{"lines":[{"item":"a box","unit":"kg"},{"item":"a tin","unit":"l"', "}"),
    ],
)
def test_a_first_guess(written: str, guess: str) -> None:
    if written.endswith('"seller":{"name":"Müller & Sohn"}'):
        guess = "}"  # the document names neither lines nor a note
    assert draft(written) == guess


@pytest.mark.parametrize("written", ['{"note":', '{"note":"zzz', ""])
def test_nothing_is_guessed_where_nothing_is_known(written: str) -> None:
    assert draft(written) in ("", ",")


@pytest.mark.parametrize(
    "document",
    ["", "\x00\n", "‮مرحبا", '"' * 50, "a" * 5000, "\\u0000 \\", f"total: {'1' * 330}.5", f"count {'1' * 5000}"],
)
@pytest.mark.parametrize(
    "written",
    ["", "{", '{"invoice_no":"', '{"total":', '{"total":1', '{"count":1', '{"tags":["a"', '{"lines":[{"item":"\\'],
)
def test_any_document_is_bounded(document: str, written: str) -> None:
    drafter = Drafter(SCHEMA, document, lambda text: list(text.encode()))
    drafter.accept(written)
    text, marks = drafter.draft(None, 40)
    assert len(text) < 2000 and (not marks or marks[-1][0] == len(text))


def test_a_property_may_be_of_any_kind_or_be_referred_to() -> None:
    schema = {
        "type": "object", "properties": {"any": True, "last": {"$ref": "#/$defs/word"}},
        "$defs": {"word": {"type": "string", "title": "place"}},
    }  # fmt: skip
    for document, key in (("any: 1", "any"), ("the place: Ulm", "last")):
        drafter = Drafter(schema, document, lambda text: list(text.encode()))
        drafter.accept("{")
        assert drafter.draft(None, 1)[0] == f'"{key}":'


def test_names_of_a_field() -> None:
    assert words_of("invoiceNo_2-größe") == ["invoice", "no", "2", "größe"]
    assert names_of("a", {"title": "A b", "x-labels": ["c", 3, "a"]}) == ("a", "A b", "c")
    assert names_of("a", {"title": 3, "x-labels": "c"}) == ("a",)
