"""What the names of fields mean."""

from __future__ import annotations

from typing import Any

import pytest
from synth.schemas import NUMBER, TEXT, WHOLE

from slmbench.synth.fields import meaning, singular, table, theme_of, words_in


@pytest.mark.parametrize(
    "key, words",
    [
        ("monthlyRent_EUR", ["monthly", "rent", "eur"]),
        ("available-from", ["available", "from"]),
        ("VATNumber", ["vat", "number"]),
        ("pH", ["p", "h"]),
        ("Größe", ["größe"]),
    ],
)
def test_keys_fall_into_words(key: str, words: list[str]) -> None:
    assert words_in(key) == words


@pytest.mark.parametrize(
    "many, one", [("parties", "party"), ("lines", "line"), ("address", "address"), ("status", "status")]
)
def test_one_of_many(many: str, one: str) -> None:
    assert singular(many) == one


@pytest.mark.parametrize(
    "key, schema, parent, kind",
    [
        ("monthly_rent", NUMBER, "", "money"),
        ("patientName", TEXT, "", "person"),
        ("name", TEXT, "customer", "person"),
        ("name", TEXT, "supplier", "company"),
        ("name", TEXT, "items", "pick"),
        ("sample_id", TEXT, "", "code"),
        ("ph", NUMBER, "", "dec"),
        ("steps_to_reproduce", TEXT, "", "prose"),
        ("bedrooms", WHOLE, "", "int"),
        ("available_from", {"type": "string", "format": "date"}, "", "date"),
        ("created", {"type": "string", "format": "date-time"}, "", "moment"),
        ("whatever", {"type": "string", "format": "email"}, "", "email"),
        ("date_of_birth", {"type": "string", "format": "date"}, "", "born"),
        ("has_balcony", {"type": "boolean"}, "", "bool"),
        ("year", TEXT, "", "year"),
        ("frobnication", WHOLE, "", "int"),
        ("approved_by", TEXT, "", "person"),
        ("frobbed_by", TEXT, "", "person"),
        ("signatory_name", TEXT, "", "person"),
        ("laboratory_name", TEXT, "", "company"),
        ("frob_name", TEXT, "", "pick"),
        ("frobbed_at", TEXT, "", "moment"),
        ("name", TEXT, "companies", "company"),
        ("", TEXT, "", "pick"),
    ],
)
def test_names_and_formats_say_the_kind(key: str, schema: dict[str, Any], parent: str, kind: str) -> None:
    assert meaning(key, schema, parent).kind == kind


@pytest.mark.parametrize(
    "key, schema, unit",
    [
        ("area_m2", NUMBER, "m²"),
        ("rent", {"type": "number", "description": "Rent in euros."}, "EUR"),
        ("salary_min", WHOLE, ""),
        ("duration_min", WHOLE, "min"),
        ("temp_c", NUMBER, "°C"),
        ("vitamin_c", NUMBER, ""),
        ("humidity", NUMBER, "%"),
    ],
)
def test_units_come_from_names_and_descriptions(key: str, schema: dict[str, Any], unit: str) -> None:
    assert meaning(key, schema).unit == unit


def test_labels_are_the_names_words_titles_and_synonyms() -> None:
    labels = meaning("total", {"type": "number", "title": "Grand total", "description": "The final sum"}).labels
    assert {"total", "grand total", "final sum", "amount due"} <= set(labels)
    assert set(meaning("total", {"type": "number", "x-slmbench": {"labels": ["Total due"]}}).labels) == {"Total due"}
    assert "furnished" in meaning("is_furnished", {"type": "boolean"}).labels
    assert "customer e-mail" in meaning("customer_email", TEXT).labels


def test_a_theme_is_seen_in_keys_and_titles() -> None:
    def schema(*keys: str) -> dict[str, Any]:
        return {"type": "object", "properties": dict.fromkeys(keys, TEXT)}

    assert theme_of(schema("bedrooms", "rent")) == "property"
    assert theme_of(schema("a", "b"), "bug_report") == "bug"
    assert theme_of(schema("a", "b")) == ""


def test_the_table_is_whole() -> None:
    known = table()
    for _, kind, *_ in known["fields"]:
        name, *args = kind.split()
        assert name != "pick" or args[0] in known["choices"], kind
        assert name != "prose" or args[0] in known["prose"], kind
    assert set(known["nouns"]) == {*known["themes"], ""}
