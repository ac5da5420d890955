"""Both row formats and CSV in, every bad input refused with its place, splits that are exact and repeatable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slmbench.core import BadInput, Example
from slmbench.data import data_hash, normalised, read_examples, read_rows, split_rows, train_validation

V3 = Path(__file__).parents[2] / "shared" / "external" / "cyclecore_edgejson_train_v3.jsonl"
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name"],
    "additionalProperties": False,
}


def ours(number: int, **changes: Any) -> dict[str, Any]:
    row = {
        "id": f"row-{number}",
        "schema_id": "person",
        "complexity": "simple",
        "style": "email",
        "text": f"Ada number {number} is here.",
        "target": f'{{"name":"Ada number {number}"}}',
    }
    return {key: value for key, value in {**row, **changes}.items() if value is not ...}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def examples(count: int, schemas: int = 3) -> list[Example]:
    return [Example(f"e{i}", f"text {i}", f"s{i % schemas}", {}, {"n": i}) for i in range(count)]


def test_our_format(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [ours(1), ours(2, target='{"age":2,"name":"Ada number 2"}')])
    first, second = read_examples(path, schemas={"person": SCHEMA}, split="test")
    assert (first.id, first.text, first.schema_id, first.schema) == ("row-1", "Ada number 1 is here.", "person", SCHEMA)
    assert first.target == {"name": "Ada number 1"}
    assert first.tags == {"complexity": "simple", "style": "email", "split": "test"}
    assert second.target == {"name": "Ada number 2", "age": 2}


def test_the_earlier_format_keeps_the_prompt_and_accepts_rows_with_little(tmp_path: Path) -> None:
    prompt = "Name: Ada\n\nPlease extract the person as JSON."
    row = {"id": "a", "schema_id": "p", "complexity": None, "teacher": "t", "source": "s", "prompt": prompt}
    path = write(
        tmp_path / "a.jsonl",
        [
            {**row, "expected_output": {"name": "Ada"}},
            {"id": "b", "schema_id": "p", "schema_name": "P", "prompt": "x", "expected_output": '{"name":"x","age":1}'},
        ],
    )
    first, second = read_examples(path)
    assert first.text == prompt
    assert first.tags["complexity"] == "unlabelled"
    assert second.target == {"name": "x", "age": 1}
    assert list(first.schema["properties"]) == ["name", "age"]
    assert first.schema == second.schema


def test_a_rows_own_schema_serves_when_none_is_given(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [ours(1, schema=SCHEMA), ours(2)])
    first, second = read_examples(path)
    assert first.schema == SCHEMA
    assert list(second.schema["properties"]) == ["name"]


def test_schemas_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "person.json").write_text(json.dumps(SCHEMA))
    path = write(tmp_path / "a.jsonl", [ours(1)])
    assert read_examples(path, schemas=tmp_path / "schemas")[0].schema == SCHEMA


def test_csv_with_quotes_and_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text(
        '\ufefftext,target\n"Ada, ""the first""\nis 5","{""name"": ""Ada"", ""age"": 5}"\nBob,"{""name"": ""Bob""}"\n'
    )
    first, second = read_examples(path)
    assert first.text == 'Ada, "the first"\nis 5'
    assert first.target == {"name": "Ada", "age": 5}
    assert (first.schema_id, first.id, second.id) == ("people", "people-000002", "people-000004")


def test_csv_with_ids_and_schema_ids(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("id,schema_id,text,target\na,person,Ada,{}\n\nb,place,Rome,{}\n")
    assert [(e.id, e.schema_id) for e in read_examples(path)] == [("a", "person"), ("b", "place")]


def test_blank_lines_line_ends_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(ours(1)).encode() + b"\r\n\r\n" + json.dumps(ours(2)).encode())
    assert [(row.line, row.id) for row in read_rows(path)] == [(1, "row-1"), (3, "row-2")]


def test_a_line_separator_inside_a_text_is_no_line_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [ours(1, text="a\u2028b\x85c")])
    assert read_examples(path)[0].text == "a\u2028b\x85c"


LINES_17 = [json.dumps(ours(i)) for i in range(1, 17)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "x", "text": ', "this line is not JSON"),
        ('{"id": "x", "id": "y"}', "this line is not JSON.*duplicate key"),
        ("[1, 2]", "not a JSON object"),
        (json.dumps(ours(17, id=...)), "the field 'id' is missing: add it"),
        (json.dumps(ours(17, schema_id=...)), "the field 'schema_id' is missing"),
        (json.dumps(ours(17, text=...)), r"the field 'text' \(or 'prompt'\) is missing"),
        (json.dumps(ours(17, target=...)), r"the field 'target' \(or 'expected_output'\) is missing"),
        (json.dumps(ours(17, id=17)), "'id' is 17, not a string"),
        (json.dumps(ours(17, text=None)), "'text' is null, not a string"),
        (json.dumps(ours(17, complexity=3)), "'complexity' is 3, not a string"),
        (json.dumps(ours(17, target='{"name": ')), "'target' is not JSON"),
        (json.dumps(ours(17, target="")), "'target' is not JSON"),
        (json.dumps(ours(17, target='{"a": NaN}')), "'target' is not JSON.*NaN"),
        (json.dumps(ours(17, id="row-3")), "the id 'row-3' stands on line 3 already"),
        (json.dumps(ours(17, schema=[])), "'schema' is not an object"),
        (json.dumps(ours(17, schema={"type": "nonsense"})), "not a JSON Schema"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([*LINES_17, line]) + "\n", encoding="utf-8")
    with pytest.raises(BadInput, match=rf"a\.jsonl:17: .*{message}") as caught:
        read_examples(path)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_a_byte_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": "a"}\n{"id": "M\xfcller"}\n')
    with pytest.raises(BadInput, match=r"a\.jsonl:2: byte 9 of the line \(0xfc, byte 21 of the file\) is not UTF-8"):
        read_examples(path)


def test_what_is_no_file_of_rows_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no such file"):
        read_examples(tmp_path / "none.jsonl")
    with pytest.raises(BadInput, match="this is a directory"):
        read_examples(tmp_path)
    (tmp_path / "empty.jsonl").write_text("\n \n")
    with pytest.raises(BadInput, match="the file is empty"):
        read_examples(tmp_path / "empty.jsonl")
    (tmp_path / "header.csv").write_text("text,target\n")
    with pytest.raises(BadInput, match="no rows"):
        read_examples(tmp_path / "header.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,category\nhello,greeting\n", r"people\.csv:2: the field 'target'"),
        ("text,target\nhello,{},more\n", r"people\.csv:2: 3 cells under 2 columns"),
        ('text,target\nhello,{}\n"open,{}\n', r"people\.csv:3: this is not CSV"),
        ("text,target\nhello,greeting\n", r"people\.csv:2: 'target' is not JSON"),
    ],
)
def test_bad_csv_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "people.csv").write_text(content)
    with pytest.raises(BadInput, match=message):
        read_examples(tmp_path / "people.csv")


def test_an_unknown_schema_is_named_with_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [ours(1), ours(2, schema_id="persom")])
    with pytest.raises(BadInput, match=r"a\.jsonl:2: no schema 'persom' .*did you mean 'person'\?"):
        read_examples(path, schemas={"person": SCHEMA})


def test_hashes_see_what_matters(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [ours(1), ours(2)])
    base = read_examples(path, schemas={"person": SCHEMA})
    assert data_hash(base) == data_hash(read_examples(path, schemas={"person": SCHEMA}, split="other"))
    assert data_hash(base) != data_hash(base[::-1])
    changed = Example("row-1", "another text", "person", SCHEMA, base[0].target)
    assert data_hash(base) != data_hash([changed, base[1]])


def test_normalised_text_forgets_case_spaces_and_punctuation() -> None:
    assert normalised("  Ｈello,\nWORLD_7! ") == "hello world 7"
    assert normalised("1.5") != normalised("15")


@pytest.mark.parametrize("validation", [126, 0.2])
def test_train_validation_has_the_size_asked(validation: int | float) -> None:
    train, held = train_validation(examples(629, 25), validation, 42)
    assert (len(train), len(held)) == (503, 126)
    assert {e.id for e in train}.isdisjoint(e.id for e in held)
    assert [e.id for e in held] == sorted((e.id for e in held), key=lambda name: int(name[1:]))
    counts = {f"s{i}": sum(e.schema_id == f"s{i}" for e in held) for i in range(25)}
    assert set(counts.values()) <= {5, 6}


def test_train_validation_follows_its_seed_alone() -> None:
    data = examples(100)
    assert train_validation(data, 20, 1) == train_validation(data, 20, 1)
    assert train_validation(data, 20, 1) != train_validation(data, 20, 2)


@pytest.mark.parametrize("validation", [0, 10, 11, 0.0, 0.01, -1])
def test_an_empty_side_is_bad_input(validation: int | float) -> None:
    with pytest.raises(BadInput, match=f"validation: {validation} of 10 rows"):
        train_validation(examples(10), validation, 42)


def test_split_keeps_lines_byte_for_byte_and_in_order(tmp_path: Path) -> None:
    rows = [ours(i, schema_id=f"s{i % 4}", text=f"ü  row {i}") for i in range(100)]
    path = tmp_path / "mine.jsonl"
    lines = [json.dumps(row, ensure_ascii=i % 2 == 0, indent=None) + " " * (i % 3) for i, row in enumerate(rows)]
    path.write_text("\n".join(lines), encoding="utf-8")
    train, test = split_rows(path, test=0.2, seed=42, out=tmp_path / "out")
    assert (train.name, test.name) == ("mine.train.jsonl", "mine.test.jsonl")
    parts = [part.read_text(encoding="utf-8").splitlines() for part in (train, test)]
    assert [len(part) for part in parts] == [80, 20]
    assert sorted(parts[0] + parts[1]) == sorted(lines)
    assert all([lines.index(line) for line in part] == sorted(lines.index(line) for line in part) for part in parts)
    assert all(sum(f'"s{i}"' in line for line in parts[1]) == 5 for i in range(4))


def test_split_is_repeatable_and_follows_its_seed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [ours(i) for i in range(50)])
    halves = [split_rows(path, seed=seed, out=tmp_path / str(n)) for n, seed in enumerate((42, 42, 43))]
    contents = [test.read_bytes() for _, test in halves]
    assert contents[0] == contents[1] != contents[2]


def test_split_keeps_copies_on_one_side(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [ours(i, text=f"Text {i // 2}" + "!" * (i % 2)) for i in range(60)])
    train, test = split_rows(path, test=0.3, out=tmp_path)
    sides = [{normalised(row.text) for row in read_rows(side)} for side in (train, test)]
    assert sides[0].isdisjoint(sides[1])
    assert len(read_rows(test)) == 18


def test_split_halves_share_the_inferred_schemas(tmp_path: Path) -> None:
    rows = [ours(i, target=json.dumps({"name": "Ada", **({"age": i} if i == 7 else {})})) for i in range(20)]
    train, test = split_rows(write(tmp_path / "a.jsonl", rows), out=tmp_path / "out")
    schemas = tmp_path / "out" / "a.schemas"
    both = [read_examples(side, schemas=schemas)[0].schema for side in (train, test)]
    assert both[0] == both[1]
    assert list(both[0]["properties"]) == ["name", "age"]


def test_split_puts_the_schemas_given_beside_the_halves(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "person.json").write_text(json.dumps(SCHEMA))
    path = write(tmp_path / "a.jsonl", [ours(i) for i in range(10)])
    split_rows(path, out=tmp_path / "out", schemas=tmp_path / "schemas")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.schemas", "a.test.jsonl", "a.train.jsonl"]
    assert json.loads((tmp_path / "out" / "a.schemas" / "person.json").read_text()) == SCHEMA


def test_split_of_csv_repeats_the_header(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,target\n" + "".join(f'"row\n{i}",{{}}\n' for i in range(10)))
    halves = split_rows(path, out=tmp_path / "out")
    assert [len(read_rows(half)) for half in halves] == [8, 2]
    assert all(half.read_text().startswith("text,target\n") for half in halves)


def test_split_of_csv_finds_the_header_behind_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\ntext,target\n" + "".join(f"row {i},{{}}\n" for i in range(10)))
    assert [len(read_rows(half)) for half in split_rows(path, out=tmp_path / "out")] == [8, 2]


def test_rows_that_cannot_be_parted_are_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [ours(i, text="The same!") for i in range(8)])
    with pytest.raises(BadInput, match=r"too alike to be parted, one half would be empty; give another share"):
        split_rows(path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not V3.exists(), reason="the earlier data set is not here")
def test_the_earlier_file_is_read_and_split(tmp_path: Path) -> None:
    found = read_examples(V3)
    assert len(found) == 629
    assert sum(e.tags["complexity"] == "unlabelled" for e in found) == 72
    halves = split_rows(V3, out=tmp_path)
    parts = [read_examples(half, schemas=tmp_path / f"{V3.stem}.schemas") for half in halves]
    assert [len(part) for part in parts] == [503, 126]
    assert halves[0].read_bytes().count(b"\n") == 503
