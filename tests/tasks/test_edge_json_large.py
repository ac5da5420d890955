"""`train_large`: rows under trained and under invented schemas."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from slmbench.core import BadInput, Example
from slmbench.data import read_examples
from slmbench.schema import canonical, check_schema, complexity, validate
from slmbench.synth.check import check_example, check_file
from slmbench.synth.styles import MULTILINE, TRAINED, render
from slmbench.synth.values import Source
from slmbench.tasks.edge_json import TASK, generate, invent, kinds, saying
from slmbench.tasks.edge_json.domains import GENERIC, Field, domains

ROWS = 400
CASES = [(name, field) for name, domain in domains().items() for field in domain.fields]


@pytest.fixture(scope="module")
def rows() -> list[generate.Row]:
    return generate.build("train_large", ROWS)


@pytest.fixture(scope="module")
def invented(rows: list[generate.Row]) -> list[generate.Row]:
    return [row for row in rows if row["schema_id"] not in generate.schemas("schemas")]


def test_the_same_rows_are_made_again(rows: list[generate.Row]) -> None:
    assert rows == generate.build("train_large", ROWS)
    assert rows != generate.build("train_large", ROWS, version="2.0")
    assert len({row["id"] for row in rows}) == len({row["text"] for row in rows}) == ROWS


def test_half_of_the_rows_have_invented_schemas_in_all_trained_styles(
    rows: list[generate.Row], invented: list[generate.Row]
) -> None:
    assert len(invented) == len(rows) // 2
    assert len({row["schema_id"] for row in invented}) == len(invented) / generate.ROWS_A_SCHEMA
    assert set(Counter(row["style"] for row in invented)) == set(TRAINED)
    assert {complexity(row["schema"]) for row in invented} == {"simple", "medium", "complex"}


def test_a_written_file_brings_its_schemas_and_passes_the_gate(tmp_path: Path) -> None:
    path = generate.write("train_large", tmp_path, ROWS)
    tests = [generate.DATA / f"{split}.jsonl" for split in ("test", "test_styles", "test_schemas")]
    assert check_file(path, against=tests).lines() == []
    assert read_examples(path, split="train_large") == TASK.load(f"train_large:{ROWS}")


def test_invented_schemas_are_none_of_those_tested_on(invented: list[generate.Row]) -> None:
    tested = generate.schemas("schemas_unseen")
    for row in invented:
        check_schema(row["schema"], row["schema_id"])
        assert row["schema_id"] not in tested
        keys = set(row["schema"]["properties"])
        assert all(len(keys & set(schema["properties"])) < len(keys) / 2 for schema in tested.values())
        assert validate(json.loads(row["target"]), row["schema"]) == []
        assert row["target"] == canonical(json.loads(row["target"]), row["schema"])


def test_no_domain_is_one_of_those_tested_on() -> None:
    titles = {title.lower() for domain in domains().values() for title in domain.titles}
    assert not titles & {schema["title"].lower() for schema in generate.schemas("schemas_unseen").values()}
    assert len(titles) > 120


def test_labels_are_not_shared_within_an_object(invented: list[generate.Row]) -> None:
    for row in invented:
        labels = Counter(
            label.lower()
            for sub in row["schema"]["properties"].values()
            for label in {sub["title"].lower(), *map(str.lower, sub["x-labels"])}
        )
        assert max(labels.values()) == 1, (row["schema_id"], labels.most_common(2))


def _with_operands(field: Field, name: str) -> list[Field]:
    known = {other.names[0]: other for other in (*domains()[GENERIC].fields, *domains()[name].fields)}
    return [*(known[operand] for operand in sorted(kinds.operands(field))), field]


@pytest.mark.parametrize("style", ["field_list", "prose", "csv_table"])
def test_every_field_can_be_written_and_read_back(style: str) -> None:
    for name, field in CASES:
        rng = random.Random(field.names[0])
        made = invent.built("one", domains()[name], _with_operands(field, name), frozenset(field.names), rng)
        source = Source(f"{name}:{field.names[0]}", multiline=style in MULTILINE)
        value = made.make(source)
        assert field.names[0] in value, (name, field.names)
        text = render(value, made.plain, style, made.phrases, source.rng)
        found = check_example(Example("one", text, "one", made.schema, made.named(value)))
        assert found == [], (name, field.names, text)


def test_every_sentence_names_fields_that_are_there() -> None:
    for name, domain in domains().items():
        names = {field.names[0] for field in domain.fields}
        for way in domain.openings:
            assert set(saying.slots(way)) <= names, (name, way)


def test_the_split_needs_no_file() -> None:
    examples = TASK.load("train_large:60")
    assert len(examples) == 60 and "train_large" in TASK.splits()
    assert all(example.tags["split"] == "train_large" for example in examples)
    assert [check_example(example) for example in examples] == [[]] * 60


@pytest.mark.parametrize("split", ["train_large:", "train_large:0", "train_large:many", "train_large:-5"])
def test_a_size_that_is_no_number_is_said(split: str) -> None:
    with pytest.raises(BadInput, match="number of rows after the colon"):
        TASK.load(split)
