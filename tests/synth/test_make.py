"""Rows of documents for schemas of strangers."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from synth.schemas import DATE, DESCRIBED, MAIL, MOMENT, NUMBER, TEXT, WHOLE, YES_NO, items, obj, one_of, texts, told

from slmbench.core import BadInput
from slmbench.data import normalised
from slmbench.schema import complexity
from slmbench.synth.check import check_file
from slmbench.synth.make import make_rows, write
from slmbench.synth.more_styles import STYLES

S, N, W, B = TEXT, NUMBER, WHOLE, YES_NO
CLOCK = {"type": "string", "pattern": "^([01]\\d|2[0-3]):[0-5]\\d$"}
RENT = {"type": "number", "description": "Monthly rent in EUR", "minimum": 0}
SCHEMAS: dict[str, dict[str, Any]] = {
    "rental_listing": obj(
        ["title", "monthly_rent"], title=S, monthly_rent=RENT, deposit=N, bedrooms=W, living_area_m2=N, furnished=B,
        pets_allowed=B, available_from=DATE, address=S, amenities=items(S), contact_email=MAIL, description=S,
    ),
    "lab_sample": obj(
        ["sample_id", "ph"], sample_id={"type": "string", "pattern": "^S-\\d{4}-\\d{4}$"},
        matrix=one_of("drinking_water", "soil", "serum"), ph={"type": "number", "minimum": 0, "maximum": 14},
        temperature_c=N, collected_at=MOMENT, analyst=S, results=items(obj(["analyte", "value"], analyte=S, value=N,
        unit=S, method=S)), passed=B, remarks={"type": ["string", "null"]},
    ),
    "bug_report": obj(
        ["title", "severity", "steps_to_reproduce"], title=S, severity=one_of("low", "medium", "high", "critical"),
        component=S, version=S, browser=S, steps_to_reproduce=items(S, minItems=1), expectedBehavior=S,
        actualBehavior=S, reported_by=S, reported_on=DATE, is_regression=B,
    ),
    "invoice": obj(
        ["invoice_number", "lines", "total"], invoice_number=S, invoice_date=DATE, due_date=DATE,
        vendor=obj(["name"], name=S, vat_id=S, address=S), lines=items(obj(None, description=S, quantity={
        "type": "integer", "minimum": 1}, unit_price=N, line_total=N), minItems=1), subtotal=N, tax_rate=N, tax=N,
        total=N, currency=one_of("EUR", "USD", "GBP"), paid=B,
    ),
    "cv": obj(
        ["full_name"], full_name=S, email=MAIL, phone=S, summary=S, skills=items(S), languages=items(one_of("en", "de",
        "fr")), experience=items(obj(["company", "position"], company=S, position=S, start_year=W, end_year=W)),
        education=items(obj(None, school=S, degree=S, year=W)),
    ),
    "delivery_note": obj(
        None, note_number=S, carrier=S, delivery_date=DATE, recipient=obj(None, name=S, street=S, city=S,
        postal_code=S), items=items(obj(None, sku=S, name=S, quantity=W), minItems=1), pallets=W, gross_weight_kg=N,
        received_by=S, damaged=B,
    ),
    "appointment": obj(
        ["patient_name", "date", "time"], patient_name=S, date_of_birth=DATE, doctor=S, department=S, date=DATE,
        time=CLOCK, reason=S, symptoms=items(S), allergies=items(S), is_new_patient=B, insurance_number=S, notes=S,
    ),
    "estate_offer": obj(None, **{
        "property-type": S, "asking-price": W, "year-built": W, "living-area": N, "energy-class": one_of("A", "B", "C"),
        "has-garage": B, "agent": obj(None, name=S, phone=S, email=MAIL),
    }),
    "sensor_alarm": obj(
        None, device_id=S, sensor_type=one_of("temperature", "humidity"), level=one_of("info", "critical"), value=N,
        threshold=N, unit=S, triggered_at=MOMENT, location=obj(None, building=S, room=S), acknowledged=B,
    ),
    "job_ad": obj(
        ["jobTitle"], jobTitle=S, company=S, location=S, employmentType=one_of("FULL_TIME", "PART_TIME"), salaryMin=W,
        salaryMax=W, remote=B, skills=items(S), yearsOfExperience=W, applicationDeadline=DATE, contactEmail=MAIL,
    ),
    "strange": {**obj(
        ["zork", "parts", "way"], zork={"type": "string", "description": "Colour of the lid"}, a=W, b=W,
        deep=obj(None, er=obj(None, list=items(obj(None, x=N, y={"type": "array", "items": {"type": "integer"}})))),
        parts=items({"$ref": "#/$defs/part"}, minItems=1), grid=items(items(N, minItems=2, maxItems=2)),
        way={"oneOf": [obj(None, kind={"const": "road"}, km=N), obj(None, kind={"const": "rail"}, train_number=S)]},
        maybe={"anyOf": [S, {"type": "null"}]}, until={"type": "string", "format": "time"},
    ), "$defs": {"part": obj(None, Ünit=S, size={"type": "object", "properties": {"w": W, "h": W}})}},
}  # fmt: skip


ALL = {**SCHEMAS, **DESCRIBED}


@pytest.mark.parametrize("name", ALL)
def test_rows_pass_the_gate_in_all_styles_and_are_unlike(name: str, tmp_path: Path) -> None:
    schema, path = ALL[name], tmp_path / "rows.jsonl"
    assert write(schema, 90, path, schema_id=name) == 90
    assert check_file(path, schemas={name: schema}).lines() == []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert list(rows[0]) == ["id", "schema_id", "complexity", "style", "text", "target"]
    assert {row["complexity"] for row in rows} == {complexity(schema)}
    assert len({normalised(row["text"]) for row in rows}) == len({row["id"] for row in rows}) == 90
    assert len(Counter(row["style"] for row in rows)) >= 12
    for row in rows:
        assert not {"{", "}", "\ue000"} & set(row["text"]), row["text"]
        assert not re.search(r"\bNone\b", row["text"].replace("? None.", "").replace("Skills? None", "")), row["text"]


def test_the_same_arguments_give_the_same_rows() -> None:
    schema = SCHEMAS["invoice"]
    assert make_rows(schema, 30) == make_rows(json.loads(json.dumps(schema)), 30)
    assert make_rows(schema, 30)[:10] != make_rows(schema, 30, seed=7)[:10]
    assert [row["text"] for row in make_rows(schema, 30)][:10] == [row["text"] for row in make_rows(schema, 10)]


def test_hints_label_choose_and_hide() -> None:
    schema = obj(
        None,
        amount={"type": "number", "x-slmbench": {"labels": ["Total due"]}},
        mood={"type": "string", "x-slmbench": {"values": ["happy", "sad"]}},
        lines=items(obj(None, sku=S, pieces=W), minItems=1),
        count={"type": "integer", "x-slmbench": {"derive": "count(lines)", "grounded": False}},
    )
    rows = make_rows(schema, 60)
    assert all("total due" in row["text"].lower().replace("_", " ") for row in rows if row["style"] != "ocr")
    for row in rows:
        target = json.loads(row["target"])
        assert target["mood"] in ("happy", "sad") and target["count"] == len(target["lines"])
    assert 0 < sum("count" in row["text"].lower() for row in rows) < 40


def test_wording_varies() -> None:
    rows = make_rows(SCHEMAS["rental_listing"], 200)
    told = [row["text"] for row in rows if row["style"] in ("prose", "email", "thread", "chat")]
    starts = Counter(" ".join(line.split()[:4]) for text in told for line in text.splitlines() if line.strip())
    assert len(starts) > 120
    assert len(set(STYLES)) >= 15


def share(rows: list[dict[str, Any]], says: Callable[[dict[str, Any], str], bool]) -> float:
    """The share of rows of which a test of target and text is true."""
    return sum(says(json.loads(row["target"]), " ".join(row["text"].lower().split())) for row in rows) / len(rows)


def test_values_are_said_in_the_words_of_descriptions() -> None:
    rows = [row for row in make_rows(DESCRIBED["delivery_complaint"], 300) if '"damaged"' in row["target"]]
    assert (
        0.25 < share(rows, lambda _, text: "broken" in text.replace("missing or broken", "") or "dented" in text) < 0.6
    )
    fines = [row for row in make_rows(DESCRIBED["parking_fine"], 300) if '"expired"' in row["target"]]
    assert 0.2 < share(fines, lambda _, text: "time paid for had run out" in text) < 0.7
    reminded = [row for row in make_rows(DESCRIBED["parking_fine"], 300) if '"reminders":0' in row["target"]]
    assert 0.2 < share(reminded, lambda _, text: "never" in text) < 0.7


def test_a_yes_and_a_no_are_sentences() -> None:
    rows = [row for row in make_rows(DESCRIBED["recipe"], 300) if row["style"] in ("prose", "chat", "email", "thread")]
    frozen = [row for row in rows if '"freezable":true' in row["target"]]
    fresh = [row for row in rows if '"freezable":false' in row["target"]]
    assert share(frozen, lambda _, text: "leftovers can be frozen" in text) > 0.4
    assert share(fresh, lambda _, text: "leftovers can be frozen" in text) == 0
    assert share(fresh, lambda _, text: "leftovers cannot be frozen" in text) > 0.4


def test_what_a_description_sets_apart_stands_in_documents() -> None:
    rows = make_rows(DESCRIBED["insurance_claim"], 200)
    assert share(rows, lambda _, text: "repaired" in text or "reported" in text.replace("reported number", "")) > 0.3
    assert share(make_rows(DESCRIBED["delivery_complaint"], 200), lambda _, text: "parcel number" in text) > 0.15
    assert share(make_rows(DESCRIBED["parking_fine"], 200), lambda _, text: "officer " in text) > 0.05


def test_texts_of_unknown_meaning_hardly_come_twice() -> None:
    schema = obj(None, zorks=texts("Zorks of the day", minItems=3), blip=TEXT)
    values = [one for row in make_rows(schema, 400) for one in json.loads(row["target"])["zorks"]]
    assert len(values) > 1200 and len(set(values)) > 0.9 * len(values)
    assert {len(value.split()) for value in values} >= {1, 2, 3, 4}
    assert sum("zork" in value.lower() for value in values) > 0.15 * len(values)
    assert sum(any(map(str.isdigit, value)) for value in values) > 0.1 * len(values)


def test_a_unit_or_a_currency_shows_only_where_a_field_has_it() -> None:
    line = obj(["value"], value=NUMBER, unit=TEXT)
    for row in make_rows(obj(None, lines=items(line, minItems=1)), 60):
        for item in json.loads(row["target"])["lines"]:
            assert "unit" in item or not re.search(rf"(?<![\d.]){item['value']} ?[a-zµ%°]+/", row["text"])
    rows = make_rows(obj(["price"], price=NUMBER, currency=one_of("EUR", "USD")), 80)
    for row in rows:
        if "currency" not in row["target"]:
            assert not re.search(r"EUR|USD|GBP|[€$£]", row["text"]), row["text"]


def test_numbers_that_a_description_ties_to_an_option_go_with_it() -> None:
    schema = obj(None, kind=one_of("flat", "studio"), beds=told("integer", "Number of beds; 0 for a studio", minimum=0))
    for row in make_rows(schema, 80):
        target = json.loads(row["target"])
        assert (target["beds"] == 0) == (target["kind"] == "studio")


def test_a_thousand_rows_take_seconds() -> None:
    started = time.process_time()
    make_rows(SCHEMAS["rental_listing"], 1000)
    assert time.process_time() - started < 20


def test_more_rows_than_there_are_texts_end_in_a_sentence() -> None:
    with pytest.raises(BadInput, match=r"tiny: .*ask for at least 1"):
        make_rows(SCHEMAS["cv"], 0, schema_id="tiny")
    never = obj(None, a={"type": "string", "minLength": 3, "not": {"type": "string"}})
    with pytest.raises(BadInput, match=r"tiny: .*'a'"):
        make_rows(never, 3, schema_id="tiny")


@pytest.mark.parametrize(
    "fields",
    [
        {"a": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}},
        {"lines": {"type": "array", "items": {"type": "object", "properties": {"item": {"type": "string"}}}}},
        {"text": {"type": "string", "description": "Full text of the message"}},
    ],
)
def test_a_schema_may_have_no_field_that_a_line_can_begin_with(fields: dict[str, Any]) -> None:
    schema = {"type": "object", "properties": fields, "required": list(fields)}
    assert len(make_rows(schema, 60)) == 60


def test_no_other_version_stands_behind_a_product() -> None:
    fields = {
        "product": {"type": "string", "description": "Name of the app, as written, without its version"},
        "version": {"type": "string", "description": "Version of the product"},
    }
    schema = {"type": "object", "properties": fields, "required": list(fields)}
    for row in make_rows(schema, 150, seed=3):
        target = json.loads(row["target"])
        behind = re.findall(re.escape(target["product"]) + r" (\d+\.\d[\d.]*)", row["text"])
        assert all(target["version"].startswith(found.rstrip(".")) for found in behind), row["text"]


def test_an_enum_of_a_thousand_options_takes_no_time() -> None:
    fields = {"kind": {"enum": [f"option number {n}" for n in range(1000)], "description": "option number 1 (also x)"}}
    started = time.process_time()
    assert len(make_rows({"type": "object", "properties": fields, "required": ["kind"]}, 20)) == 20
    assert time.process_time() - started < 10
