from __future__ import annotations

import datetime
import random
from pathlib import Path
from typing import Any

import pytest

from slmbench.core import Example
from slmbench.schema import complexity
from slmbench.synth.check import check_example
from slmbench.synth.derive import derive
from slmbench.synth.sections import folded, groups, sections
from slmbench.synth.speech import CLOSE, OPEN, Speaker, on_words, read_phrases
from slmbench.synth.spell import half_day, spell, words
from slmbench.synth.styles import MULTILINE, TRAINED, UNSEEN, render
from slmbench.synth.values import Source
from slmbench.tasks.edge_json import generate, objects, objects_unseen

PHRASES = read_phrases(generate.HERE / "phrases.txt")
ALL = [
    *(("schemas", schema_id, maker) for schema_id, maker in objects.MAKERS.items()),
    *(("schemas_unseen", schema_id, maker) for schema_id, maker in objects_unseen.MAKERS.items()),
]


@pytest.mark.parametrize("style", [*TRAINED, *UNSEEN])
def test_every_style_answers_every_schema(style: str) -> None:
    for folder, schema_id, maker in ALL:
        schema = generate.schemas(folder)[schema_id]
        for i in range(4):
            source = Source(f"{style}{schema_id}{i}", multiline=style in MULTILINE)
            value = maker(source)
            text = render(value, schema, style, PHRASES[schema_id], source.rng)
            tags = {"complexity": complexity(schema), "style": style}
            assert not check_example(Example("x", text, schema_id, schema, value, tags)), text
            assert OPEN not in text and CLOSE not in text


@pytest.mark.parametrize("style", [*TRAINED, *UNSEEN])
def test_a_style_is_a_function_of_its_seed(style: str) -> None:
    schema = generate.schemas("schemas")["sales_order"]
    value = objects.sales_order(Source("v"))
    first, second, third = (
        render(value, schema, style, PHRASES["sales_order"], random.Random(seed)) for seed in ("a", "a", "b")
    )
    assert first == second != third


def test_sentences_are_whole_and_their_values_marked() -> None:
    for folder, schema_id, maker in ALL:
        schema = generate.schemas(folder)[schema_id]
        for i in range(10):
            source = Source(f"say{schema_id}{i}")
            said = Speaker(PHRASES[schema_id], schema, source.rng, 0.2).sentences(maker(source))
            assert all(sentence.strip() for sentence in said)
            assert all(sentence.count(OPEN) == sentence.count(CLOSE) for sentence in said)


VALUES: list[tuple[Any, dict[str, Any]]] = [
    ("2024-03-01", {"type": "string", "format": "date"}),
    ("2024-03-22", {"type": "string", "format": "date"}),
    ("2024-03-11T15:05:00Z", {"type": "string", "format": "date-time"}),
    ("2024-03-05T00:05:09Z", {"type": "string", "format": "date-time"}),
    ("00:15", {"type": "string", "pattern": "."}),
    ("in_progress", {"type": "string", "enum": ["in_progress", "done"]}),
    (24, {"type": "integer", "x-words": True}),
    (6, {"type": "integer", "x-words": True}),
    (1234.5, {"type": "number", "x-money": True, "x-unit": "$"}),
    (-1234567.89, {"type": "number", "x-money": True}),
    (-77, {"type": "integer", "x-unit": "dBm"}),
    (12.5, {"type": "number", "x-unit": "%"}),
    (True, {"type": "boolean", "x-true": ["is up"], "x-false": ["is not up"]}),
    (False, {"type": "boolean", "x-true": ["is up"], "x-false": ["is not up"]}),
]


@pytest.mark.parametrize(("value", "schema"), VALUES)
@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_whatever_is_spelled_can_be_derived(value: Any, schema: dict[str, Any], rate: float) -> None:
    for seed in range(60):
        text = spell(value, schema, random.Random(seed), rate, spoken=seed % 2 == 0)
        assert derive(value, f"It says {text}.", schema), text


def test_numbers_and_clocks_in_words() -> None:
    assert [words(n) for n in (0, 13, 40, 99)] == ["zero", "thirteen", "forty", "ninety-nine"]
    assert half_day(datetime.time(0, 5)) == "12:05 am"
    assert half_day(datetime.time(12, 0)) == "12:00 pm"


def test_sections_keep_items_apart() -> None:
    schema = generate.schemas("schemas")["discharge_summary"]
    value = next(
        v
        for v in (objects.discharge_summary(Source(f"d{i}")) for i in range(50))
        if len(v["diagnoses"]) > 1 and len(v["medications"]) > 1 and "follow_up" in v
    )
    parts = sections(value, schema, random.Random(1), 0.0)
    fields, items = folded(parts)
    assert [len(group) for group in groups(items)] == [len(value["diagnoses"]), len(value["medications"])]
    assert len({f.label.lower() for f in fields}) == len(fields)
    assert "Patient" in {section.noun for section in parts}


def test_changes_of_wording_leave_values_alone() -> None:
    assert on_words(f"Call {OPEN}Ann LEE{CLOSE} Now", str.lower) == f"call {OPEN}Ann LEE{CLOSE} now"


def test_a_phrase_file_is_read_as_it_is_described(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("# note\n[a]\nabout: x | y\n{n} is. | It is {n}.\n@l: {m}.\n?l: none.\n", encoding="utf-8")
    phrases = read_phrases(path)["a"]
    assert phrases.about == ["x", "y"]
    assert [(path, kind) for path, kind, _ in phrases.lines] == [("", ""), ("l", "@"), ("l", "?")]
    schema = {"properties": {"n": {"type": "string"}, "l": {"type": "array", "items": {}}}}
    assert Speaker(phrases, schema, random.Random(0), 0.0).sentences({"n": "Bo", "l": []})[-1] == "None."
    assert phrases.lines[0][2] == ["{n} is.", "It is {n}."]
