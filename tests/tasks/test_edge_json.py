from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from slmbench.core import BadInput
from slmbench.schema import canonical, complexity, leaves, same
from slmbench.synth.check import check_file
from slmbench.synth.derive import derive
from slmbench.synth.structure import field_schema
from slmbench.synth.styles import TRAINED, UNSEEN
from slmbench.tasks.edge_json import TASK, baseline, generate, objects, objects_unseen

SPLITS = list(generate.SIZES)


def _walk(schema: dict[str, object]) -> list[dict[str, object]]:
    inner = [s for s in schema.get("properties", {}).values()]  # type: ignore[attr-defined]
    inner += [schema["items"]] if "items" in schema else []
    return [schema, *(found for sub in inner for found in _walk(sub))]


def test_the_schemas_are_of_the_promised_shapes() -> None:
    trained, unseen = generate.schemas("schemas"), generate.schemas("schemas_unseen")
    assert Counter(map(complexity, trained.values())) == {"simple": 10, "medium": 10, "complex": 5}
    assert Counter(map(complexity, unseen.values())) == {"simple": 3, "medium": 3, "complex": 2}
    assert set(trained) == set(objects.MAKERS) and set(unseen) == set(objects_unseen.MAKERS)
    for schema in [*trained.values(), *unseen.values()]:
        for node in _walk(schema):
            assert node["title"] and node["description"]
            if node["type"] == "object":
                assert node["additionalProperties"] is False and node["required"]
            if node["type"] == "boolean":
                assert node["x-true"] and node["x-false"]


def test_no_two_fields_of_an_object_share_a_label() -> None:
    for schema in [*generate.schemas("schemas").values(), *generate.schemas("schemas_unseen").values()]:
        for node in _walk(schema):
            if node["type"] == "object":
                labels = [
                    label.lower()
                    for sub in node["properties"].values()  # type: ignore[attr-defined]
                    for label in {sub["title"].lower(), *map(str.lower, sub.get("x-labels", []))}
                ]
                assert len(labels) == len(set(labels)), (schema["title"], Counter(labels).most_common(2))


@pytest.mark.parametrize("split", SPLITS)
def test_the_frozen_files_are_made_again_byte_for_byte(split: str, tmp_path: Path) -> None:
    made = generate.write(split, tmp_path).read_bytes()
    assert made == (generate.DATA / f"{split}.jsonl").read_bytes()
    manifest = json.loads((generate.DATA / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["version"] == TASK.version == generate.VERSION
    entry = {"sha256": hashlib.sha256(made).hexdigest(), "rows": generate.SIZES[split]}
    assert manifest["files"][f"{split}.jsonl"] == entry


@pytest.mark.parametrize("split", SPLITS)
def test_the_frozen_files_pass_the_gate(split: str) -> None:
    folder = "schemas_unseen" if split == "test_schemas" else "schemas"
    others = [generate.DATA / f"{other}.jsonl" for other in SPLITS if other != split]
    report = check_file(generate.DATA / f"{split}.jsonl", against=others, schemas=generate.HERE / folder)
    assert report.lines() == []


@pytest.mark.parametrize("split", SPLITS)
def test_styles_and_complexities_are_even(split: str) -> None:
    examples = TASK.load(split)
    styles = Counter(example.tags["style"] for example in examples)
    assert set(styles) == set(UNSEEN if split == "test_styles" else TRAINED)
    assert max(styles.values()) <= len(examples) / 5
    levels = Counter(example.tags["complexity"] for example in examples)
    assert levels["simple"] / len(examples) == pytest.approx(0.4, abs=0.05)
    assert levels["complex"] / len(examples) == pytest.approx(0.2, abs=0.06)
    assert all(example.tags["split"] == split for example in examples)


def test_values_show_what_real_ones_show() -> None:
    targets = [canonical(example.target, example.schema) for example in TASK.load("train")]
    for sign in ('\\"', "\\\\", "\\n", ":-", "[]", "ö", "true", "false"):
        assert any(sign in target for target in targets), sign
    numbers = [leaf for e in TASK.load("train") for _, leaf in leaves(e.target) if isinstance(leaf, int | float)]
    assert max(numbers) > 100_000 and min(numbers) < -100


def test_every_rule_is_used_and_most_leaves_stand_verbatim() -> None:
    rules: Counter[str | None] = Counter()
    for example in TASK.load("train"):
        for path, leaf in leaves(example.target):
            rules[derive(leaf, example.text, field_schema(example.schema, path))] += 1
    assert set(rules) >= {"number_format", "number_words", "date", "datetime", "time", "boolean_words", "empty_list"}
    assert None not in rules
    assert rules["verbatim"] / rules.total() > 0.8


def test_another_version_gives_other_rows() -> None:
    one, two = (generate.build("test", 5, version=version) for version in ("1.0", "2.0"))
    assert [row["text"] for row in one] != [row["text"] for row in two]


@pytest.mark.parametrize(("split", "n"), [("tset", None), ("test", 0)])
def test_what_cannot_be_built_is_said_in_a_sentence(split: str, n: int | None) -> None:
    with pytest.raises(BadInput, match="edge_json"):
        generate.build(split, n)


def test_an_unknown_split_cannot_be_loaded() -> None:
    with pytest.raises(BadInput, match="no split 'dev'"):
        TASK.load("dev")


def test_the_baseline_reads_labels_and_nothing_else() -> None:
    schema = generate.schemas("schemas")["invoice_summary"]
    text = "Invoice no.: INV-1\nSupplier: Ott AG\nTotal: $1,234.50\nDue date: 2024-03-05\nPaid: yes"
    want = {"invoice_no": "INV-1", "vendor": "Ott AG", "total": 1234.5, "due_on": "2024-03-05", "paid": True}
    assert same(baseline.predict(text, schema), want)
    assert baseline.predict("Nothing of the kind.", schema) == {}


def test_the_baseline_reads_tables() -> None:
    schema = generate.schemas("schemas")["weather_station"]
    text = (
        "| Station | Site | Taken at |\n|---|---|---|\n| WS-1 | Pier | 2024-03-05T10:00:00Z |\n\n**Readings**\n"
        "| Quantity | Value | Unit |\n|---|---|---|\n| temperature | -3.5 | °C |\n| humidity | 80 | % |"
    )
    readings = [
        {"quantity": "temperature", "value": -3.5, "unit": "°C"},
        {"quantity": "humidity", "value": 80, "unit": "%"},
    ]
    want = {"station_id": "WS-1", "site": "Pier", "taken_at": "2024-03-05T10:00:00Z", "readings": readings}
    assert same(baseline.predict(text, schema), want)


def test_the_baseline_is_far_from_solving_running_text() -> None:
    right: Counter[str] = Counter()
    for example in TASK.load("test"):
        right[example.tags["style"]] += same(baseline.predict(example.text, example.schema), example.target)
    assert sum(right[style] for style in ("prose", "email", "chat", "dictation")) <= 5
    assert right["markdown_table"] > 0 and right["field_list"] > 0
