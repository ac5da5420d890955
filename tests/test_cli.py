"""The command line as a user meets it: help that teaches, and one sentence for whatever is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from slmbench.cli import main

ROW = {"id": "a", "schema_id": "s", "text": "Size 1", "target": '{"n":1}'}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
VERBS = (
    *("models", "data", "preflight", "train", "evaluate", "run", "compare", "card", "report", "show", "publish"),
    *("runs", "status", "watch", "logs", "stop", "plan", "verify", "leaderboard", "push"),
)


def lines(*rows: dict[str, Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def rows(count: int) -> bytes:
    return lines(*({**ROW, "id": str(i), "text": f"Size {i} it is", "target": f'{{"n":{i}}}'} for i in range(count)))


# ---- help


@pytest.mark.parametrize("verb", ["", *VERBS, "data build", "data check", "data split"])
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*verb.split(), "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: slmbench{' ' + verb if verb else ''}")
    if not verb:
        assert all(f"    {name}" in text for name in VERBS)


@pytest.mark.parametrize("arguments", [[], ["trian"], ["run"], ["data"], ["data", "check"], ["run", "x", "--smok"]])
def test_a_wrong_command_is_exit_2_with_usage(arguments: list[str], slmbench: Callable[..., Any]) -> None:
    said = slmbench(*arguments)
    assert said.code == 2
    assert "usage: slmbench" in said.err


# ---- bad files, through every verb that reads rows


def bad_files() -> list[tuple[str, bytes, str]]:
    good = rows(20).splitlines(keepends=True)
    return [
        ("broken JSON on line 17", b"".join([*good[:16], b'{"id": "x",\n', *good[17:]]), ":17: this line is not JSON"),
        ("a field missing", rows(3) + lines({"id": "x", "text": "t", "target": "{}"}), ":4: the field 'schema_id'"),
        ("no target", lines({"id": "x", "text": "t", "schema_id": "s"}), ":1: the field 'target' (or"),
        ("an empty file", b"", ": the file is empty"),
        ("blank lines only", b"\n\n", ": the file is empty"),
        ("a byte that is not UTF-8", rows(4) + b'{"id": "\xff"}\n', ":5: byte 8 of the line (0xff"),
        ("an id twice", rows(2) + lines({**ROW, "id": "1"}), ":3: the id '1' stands on line 2 already"),
        ("a target that is not JSON", lines({**ROW, "target": "{n:1}"}), ":1: 'target' is not JSON"),
        ("a schema that is none", lines({**ROW, "schema": {"type": "objekt"}}), ":1: not a JSON Schema, at type"),
        (
            "a reference that loops",
            lines({**ROW, "schema": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}}),
            ":1: $ref '#/$defs/a' leads back to itself",
        ),
        ("a deep value", lines(ROW)[:-2] + b',"x":' + b"[" * 100_000 + b"}\n", ":1: this line is not JSON (more than"),
    ]  # fmt: skip


@pytest.mark.parametrize(("content", "sentence"), [b[1:] for b in bad_files()], ids=[b[0] for b in bad_files()])
def test_a_bad_file_is_one_sentence(
    content: bytes, sentence: str, tmp_path: Path, tiny_folder: Path, slmbench: Callable[..., Any]
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    recipe = tmp_path / "r.yaml"
    recipe.write_text(yaml.safe_dump({"name": "r", "base": str(tiny_folder), "data": {"train": str(path)}}))
    for command in (["data", "check", path], ["data", "split", path], ["run", recipe, "--runs", tmp_path / "runs"]):
        said = slmbench(*command)
        assert said.code == 2
        assert f"{path}{sentence}" in said.sentence
    assert {p.name for p in tmp_path.iterdir()} == {"rows.jsonl", "r.yaml"}


def test_a_folder_where_a_file_should_be(tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    for command in (["data", "check", tmp_path], ["data", "split", tmp_path], ["run", tmp_path]):
        said = slmbench(*command)
        assert said.code == 2
        assert f"{tmp_path}: " in said.sentence and "directory" in said.sentence


def test_a_file_where_a_folder_should_be(tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(rows(3))
    said = slmbench("data", "check", path, "--schemas", path)
    assert (said.code, "no such folder of schemas" in said.sentence) == (2, True)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"{", "not JSON"),
        (b"[]", "a JSON Schema must be an object"),
        (b'{"type": 5}', "not a JSON Schema, at type"),
        (b'{"$ref": "other.json"}', "points outside the file"),
        (b'{"properties": {"a": {"$ref": "#/$defs/b"}}}', "leads nowhere; define it under $defs"),
        (b'{"type": "string"}', "slmbench extracts objects"),
    ],
)
def test_a_bad_schema_file_is_one_sentence(
    content: bytes, sentence: str, tmp_path: Path, slmbench: Callable[..., Any]
) -> None:
    (tmp_path / "rows.jsonl").write_bytes(rows(3))
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "s.json").write_bytes(content)
    said = slmbench("data", "check", tmp_path / "rows.jsonl", "--schemas", tmp_path / "schemas")
    assert said.code == 2
    assert f"{tmp_path / 'schemas' / 's.json'}: " in said.sentence and sentence in said.sentence


def test_a_row_over_the_limit_is_named(settings: dict[str, Any], tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(yaml.safe_dump({**settings, "data": {**settings["data"], "max_tokens": 100}}))
    said = slmbench("run", recipe, "--runs", tmp_path / "runs")
    assert said.code == 2
    assert "over data.max_tokens = 100" in said.sentence and "set data.over_long: skip" in said.sentence


def test_a_base_with_pickled_weights(
    tiny_folder: Path, recipe_file: Path, tmp_path: Path, slmbench: Callable[..., Any]
) -> None:
    folder = tmp_path / "pickled"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((tiny_folder / name).read_bytes())
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    said = slmbench("run", recipe_file, "--runs", tmp_path / "runs", "--set", f"base={folder}")
    assert said.code == 2
    assert "pickled weights (pytorch_model.bin) can run code and are never loaded" in said.sentence


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--set", "train.epoch=1"], "unknown key train.epoch; did you mean epochs?"),
        (["--set", "task=edge_jsn"], "task edge_jsn: there is no such task; take one of edge_func_call"),
        (["--set", "base=smollm2-135"], "smollm2-135: no such base model: did you mean smollm2-135m?"),
        (["--set", "data.train=tran"], "tran: neither a split of edge_json (train, test,"),
        (["--set", "data.validation=24"], "validation: 24 of 24 rows leaves one side empty"),
        (["--name", "../up"], "name is out of bounds"),
        (["--track", "wanb"], "--track wanb: there is no such tracker; take one of wandb, mlflow, trackio"),
    ],
)
def test_a_wrong_setting_is_one_sentence(
    arguments: list[str], sentence: str, recipe_file: Path, tmp_path: Path, slmbench: Callable[..., Any]
) -> None:
    said = slmbench("run", recipe_file, "--runs", tmp_path, *arguments)
    assert said.code == 2
    assert sentence in said.sentence


@pytest.mark.parametrize("verb", ["show", "card", "report", "compare", "publish"])
def test_a_folder_that_is_no_finished_run(verb: str, tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    said = slmbench(verb, tmp_path)
    assert said.code == 2
    assert "there is no such file: give the folder of a run that has ended" in said.sentence


def test_an_unknown_test_set_is_named(recipe_file: Path, tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    said = slmbench("evaluate", recipe_file, "--runs", tmp_path, "--split", "exm")
    assert (said.code, "--split exm: the recipe has exam" in said.sentence) == (2, True)


@pytest.mark.parametrize("size", ["0", "-1", "20", "many", "nan"])
def test_a_split_that_leaves_a_side_empty(size: str, tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    (tmp_path / "rows.jsonl").write_bytes(rows(20))
    said = slmbench("data", "split", tmp_path / "rows.jsonl", "--test", size)
    assert said.code == 2
    assert {p.name for p in tmp_path.iterdir()} == {"rows.jsonl"}


# ---- data


def test_check_lists_violations_and_fails(tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(rows(3) + lines({**ROW, "id": "x", "text": "nothing here", "target": '{"n":77}'}))
    said = slmbench("data", "check", path)
    assert said.code == 2
    assert said.out.startswith(f"{path}:4: unanswerable: x: n: 77: the text does not lead to this value")
    report = json.loads(slmbench("data", "check", path, "--json").out)
    assert (report["ok"], report["rows"], report["counts"]) == (False, 4, {"unanswerable": 1})
    path.write_bytes(rows(3))
    assert slmbench("data", "check", path).code == 0


def test_split_says_where_everything_is(tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(rows(20))
    places = json.loads(slmbench("data", "split", path, "--seed", "42", "--out", tmp_path / "out", "--json").out)
    halves = [Path(places[side]).read_bytes().splitlines() for side in ("train", "test")]
    assert [len(half) for half in halves] == [16, 4]
    assert sorted(halves[0] + halves[1]) == sorted(rows(20).splitlines())
    assert (Path(places["schemas"]) / "s.json").is_file()


def test_build_writes_the_frozen_files_byte_for_byte(tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    from slmbench.tasks.edge_json import generate

    said = slmbench("data", "build", "edge_json", "--out", tmp_path)
    assert said.code == 0
    for name in (*(f"{split}.jsonl" for split in generate.SIZES), "manifest.json"):
        assert (tmp_path / name).read_bytes() == (generate.DATA / name).read_bytes(), name
    assert "no split 'tset'" in slmbench("data", "build", "edge_json", "--split", "tset").sentence


@pytest.mark.parametrize("verb", ["show", "card", "report", "compare", "publish", "verify"])
@pytest.mark.parametrize("content", ['{"a": 1}', "[]", "{", '{"name": "x", "tests": {}}'])
def test_a_record_that_is_none_is_one_sentence(
    verb: str, content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slmbench: Callable[..., Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "record.json").write_text(content)
    said = slmbench(verb, tmp_path)
    assert said.code == 2
    assert ".json: not " in said.sentence
    assert not (tmp_path / "results").exists()


def test_publish_without_a_readme_is_one_sentence(finished: Path, tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    said = slmbench("publish", finished, "--results", tmp_path / "results", "--readme", tmp_path / "none.md")
    assert said.code == 2
    assert "none.md: cannot be read (No such file or directory); give the README" in said.sentence
