"""A project for one's own schema: from a schema, an example or a class; labels checked, halved, kept apart."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slmbench.config import load_recipe
from slmbench.core import BadInput
from slmbench.new import OTHER, Rows, name_of, schema_from
from slmbench.new import new as with_rows

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"rooms": {"type": "integer"}, "city": {"type": "string"}},
    "required": ["rooms"],
    "additionalProperties": False,
}

ROWS = Rows(1800, 1200)
new = functools.partial(with_rows, rows=ROWS)


def labelled(path: Path, count: int = 8) -> Path:
    rows = [{"text": f"{n} rooms", "target": {"rooms": n}} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_schema_an_example_and_a_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("RentalListing.schema.json").write_text(json.dumps(SCHEMA))
    assert schema_from("RentalListing.schema.json") == ("rental_listing", SCHEMA, False)
    Path("schema.json").write_text(json.dumps(SCHEMA | {"title": "Rental listing"}))
    assert schema_from("schema.json")[0] == "rental_listing"
    Path("one.json").write_text('{"title": "A flat", "rooms": 2, "tags": ["a"], "open": true}')
    name, schema, inferred = schema_from("one.json")
    assert (name, inferred) == ("one", True) and schema["properties"]["tags"]["items"] == {"type": "string"}
    Path("our_types.py").write_text(
        "import pydantic\nclass BugReport(pydantic.BaseModel):\n    title: str\n    severity: int\n"
    )
    name, schema, inferred = schema_from("our_types:BugReport")
    assert (name, inferred) == ("bug_report", False) and list(schema["properties"]) == ["title", "severity"]


@pytest.mark.parametrize(
    ("source", "content", "said"),
    [
        ("none.json", None, "cannot be read"), ("a.json", "{", "not JSON"), ("a.json", "[1]", "a JSON list"),
        ("a.json", "{}", "nothing to extract"), ("a.json", '{"type": "object"}', "nothing to extract"),
        ("a.json", '{"properties": {"a": {"type": "text"}}}', "not a JSON Schema"),
        ("nowhere:Thing", None, "cannot be imported"), ("json:Thing", None, "no Pydantic class"),
        ("json:JSONDecoder", None, "no Pydantic class"),
    ],
)  # fmt: skip
def test_what_is_no_schema(
    source: str, content: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(source).write_text(content)
    with pytest.raises(BadInput, match=said):
        schema_from(source)


def test_a_project_has_all_that_the_verbs_read(tmp_path: Path) -> None:
    folder = tmp_path / "rental"
    files = new("rental", SCHEMA, folder)
    assert {str(path.relative_to(folder)) for path in files} == {"README.md", "recipe.yaml", "schemas/rental.json"}
    recipe = load_recipe(folder / "recipe.yaml")
    assert (recipe.name, recipe.base) == ("rental", "smollm2-135m") and recipe.data.train == (
        "data/rental.made.jsonl",
        f"{OTHER}:1200",
    )
    assert [test.split for test in recipe.data.tests] == ["data/rental.test.jsonl"]
    assert json.loads((folder / "schemas" / "rental.json").read_text()) == SCHEMA
    assert "--seed 7 --out data/rental.test.jsonl" in (folder / "README.md").read_text()
    with pytest.raises(BadInput, match="something there already"):
        new("rental", SCHEMA, folder)


def test_own_documents_are_halved_and_kept_apart(tmp_path: Path) -> None:
    folder = tmp_path / "rental"
    new("rental", SCHEMA, folder, labelled(tmp_path / "own.jsonl", 9))
    recipe = load_recipe(folder / "recipe.yaml")
    assert recipe.data.train == ("data/rental.made.jsonl", f"{OTHER}:1200", "data/labelled.train.jsonl*10")
    parts = [
        {json.loads(line)["text"] for line in (folder / "data" / f"labelled.{half}.jsonl").read_text().splitlines()}
        for half in ("train", "test")
    ]
    assert not parts[0] & parts[1] and len(parts[0] | parts[1]) == 9 and {len(part) for part in parts} == {4, 5}


def test_documents_to_test_on_are_all_of_a_file_and_none_is_trained_on(tmp_path: Path) -> None:
    own, test = labelled(tmp_path / "own.jsonl", 40), tmp_path / "held.jsonl"
    test.write_text("".join(json.dumps({"text": f"{n} beds", "target": {"rooms": n}}) + "\n" for n in range(5)))
    new("rental", SCHEMA, tmp_path / "both", own, test)
    recipe = load_recipe(tmp_path / "both" / "recipe.yaml")
    assert recipe.data.train[-1] == "data/labelled.jsonl*5"
    assert [part.split for part in recipe.data.tests] == ["data/test.jsonl"]
    assert len((tmp_path / "both" / "data" / "labelled.jsonl").read_text().splitlines()) == 40
    new("rental", SCHEMA, tmp_path / "alone", test=test)
    recipe = load_recipe(tmp_path / "alone" / "recipe.yaml")
    assert recipe.data.train == ("data/rental.made.jsonl", f"{OTHER}:1200")
    assert [part.split for part in recipe.data.tests] == ["data/test.jsonl"]
    test.write_text(test.read_text() + '{"id": "x", "text": "7  Rooms.", "target": {"rooms": 7}}\n')
    with pytest.raises(BadInput, match=r"held\.jsonl: x is also in .*own\.jsonl \(labelled-0008\)"):
        new("rental", SCHEMA, tmp_path / "mixed", own, test)
    assert not (tmp_path / "mixed").exists()


def test_own_documents_as_a_table(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("text,label\n" + "".join(f'"{n} rooms, in all","{{""rooms"": {n}}}"\n' for n in range(6)))
    new("rental", SCHEMA, tmp_path / "rental", path)
    rows = (tmp_path / "rental" / "data" / "labelled.jsonl").read_text().splitlines()
    assert json.loads(rows[2]) == {
        "id": "labelled-0003", "schema_id": "rental", "complexity": "simple", "style": "labelled",
        "text": "2 rooms, in all", "target": '{"rooms":2}',
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": "x", "target": {"rooms": "two"}}', "own.jsonl:5: `target` contradicts the schema"),
        ('{"text": "x", "target": "{"}', "own.jsonl:5: `target` is not JSON"),
        ('{"text": "x"}', "own.jsonl:5: a row needs `text` and one of target, json, label"),
        ('{"text": " ", "json": {"rooms": 1}}', "own.jsonl:5: a row needs"),
        ("nonsense", "own.jsonl:5"),
        ('{"id": "labelled-0002", "text": "x", "json": {"rooms": 1}}', "'labelled-0002' is also that of .*own.jsonl:2"),
    ],
)
def test_a_wrong_label_ends_it_before_anything_is_written(line: str, said: str, tmp_path: Path) -> None:
    path = labelled(tmp_path / "own.jsonl", 4)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(BadInput, match=said):
        new("rental", SCHEMA, tmp_path / "rental", path)
    assert not (tmp_path / "rental").exists()


def test_a_broken_table_is_told(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text('text,target\n"a"b,{}\n')
    with pytest.raises(BadInput, match=r"own\.csv:2: this is not CSV"):
        new("rental", SCHEMA, tmp_path / "rental", path)


@pytest.mark.parametrize("name", ["2024", "on", "rental"])
def test_a_name_is_a_text_whatever_it_looks_like(name: str, tmp_path: Path) -> None:
    new(name, SCHEMA, tmp_path / "made")
    assert load_recipe(tmp_path / "made" / "recipe.yaml").name == name


def test_names() -> None:
    assert [name_of(text) for text in ("LabSample2", "bug-report", "..")] == ["lab_sample_2", "bug_report", "document"]


def test_an_inferred_schema_is_shown_and_asked_for(
    tmp_path: Path, slmbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("slmbench.pace.rows_within", lambda *given: ROWS)  # tests/test_pace.py
    (tmp_path / "one.json").write_text('{"rooms": 2}')
    for answer, code in (("n\n", 1), ("", 1), ("y\n", 0)):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        ended = slmbench("new", "one.json")
        assert ended.code == code and '"rooms"' in ended.err
        assert (tmp_path / "one").exists() == (code == 0)


def test_another_base_is_found_from_the_projects_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models/mine").mkdir(parents=True)
    for base, found in (("models/mine", str(tmp_path / "models/mine")), ("smollm2-360m", "smollm2-360m")):
        new("rental", SCHEMA, tmp_path / Path(base).name, base=base)
        assert load_recipe(tmp_path / Path(base).name / "recipe.yaml").base == found
