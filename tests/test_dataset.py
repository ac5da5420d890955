"""Tasks' data as data sets of the Hub: the rows are the tasks', and the cards say of them what is so."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import re
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from huggingface_hub import DatasetCard

from slmbench.core import BadInput, Example, load_task
from slmbench.data import data_hash
from slmbench.publish.dataset import FIELDS, card_text, dataset_files
from slmbench.publish.lm_eval import example_of
from slmbench.tasks import JsonTask

ROOT = Path(__file__).resolve().parents[1]
TASKS = ("edge_json", "edge_intent", "edge_func_call")


@functools.cache
def made(name: str) -> dict[str, str]:
    return dataset_files(load_task(name))


def rows(name: str, split: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in made(name)[f"data/{split}.jsonl"].splitlines()]


def table(card: str, begins: str) -> list[list[str]]:
    """The cells of the table whose header begins so, without header and rule."""
    lines = card[card.index(f"| {begins} |") :].partition("\n\n")[0].splitlines()
    return [[cell.strip().strip("`") for cell in line.strip("|").split(" | ")] for line in lines[2:]]


@pytest.mark.parametrize("name", TASKS)
def test_the_rows_are_the_tasks_and_strings_alone(name: str) -> None:
    task = load_task(name)
    splits = [split for split in task.splits() if split not in task.made]
    assert list(made(name)) == ["README.md", *(f"data/{split}.jsonl" for split in splits), "manifest.json"]
    card = made(name)["README.md"]
    for split in splits:
        found = rows(name, split)
        assert all(list(row) == list(FIELDS) and set(map(type, row.values())) == {str} for row in found)
        wanted = data_hash(task.load(split))
        assert data_hash([example_of(row) for row in found]) == wanted
        assert f"| `{split}` | `{wanted}` |" in card


@pytest.mark.parametrize("name", TASKS)
def test_a_card_counts_what_is_there(name: str) -> None:
    card = made(name)["README.md"]
    sizes = {}
    for split, count, schemas, characters, _, said in table(card, "split"):
        found = rows(name, split)
        sizes[split] = len(found)
        assert count == f"{len(found):,}" and schemas == f"{len({row['schema'] for row in found}):,}"
        assert characters.endswith(f"({max(len(row['text']) for row in found)})")
        assert said, split
    for begins in ("style", *(("complexity", "schema") if name == "edge_json" else ())):
        counted = table(card, begins)
        own = [line[2:] if begins == "schema" else line[1:] for line in counted]
        for i, split in enumerate(sizes):
            assert sum(int(line[i].replace("–", "0")) for line in own) == sizes[split]
            per = {line[0]: int(cells[i].replace("–", "0")) for line, cells in zip(counted, own, strict=True)}
            key = "schema_id" if begins == "schema" else begins
            assert {k: v for k, v in per.items() if v} == {
                value: sum(row[key] == value for row in rows(name, split))
                for value in {row[key] for row in rows(name, split)}
            }
    limits = {"n<1K": (0, 10**3), "1K<n<10K": (10**3, 10**4), "10K<n<100K": (10**4, 10**5)}
    low, high = limits[DatasetCard(card).data.size_categories]
    assert low <= sum(sizes.values()) < high


@pytest.mark.parametrize("name", TASKS)
def test_a_card_has_the_hubs_metadata_and_all_its_parts(name: str) -> None:
    card = made(name)["README.md"]
    data = DatasetCard(card).data
    assert str(DatasetCard(card)) == card
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert data.license == project["license"].lower()
    assert f"{project['license']}" in card.partition("## Licence")[2]
    (config,) = data.configs
    assert [f"data/{part['split']}.jsonl" for part in config["data_files"]] == list(made(name))[1:-1]
    assert not set(data.to_dict()) & {"splits", "styles", "measures"}
    assert "{{ " not in card and "the task's own" not in card
    for heading in ("Splits", "How it was made", "Measures", "Limits", "Use", "Licence and citation"):
        assert f"\n## {heading}\n" in card
    assert f"@misc{{slmbench_{name}," in card
    code = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    ast.parse(code[0])
    names: dict[str, Any] = {}
    exec(code[1], names)
    assert names["examples"]


@pytest.mark.parametrize("name", TASKS)
def test_no_figure_is_typed_by_hand(name: str) -> None:
    told, text = card_text(load_task(name))
    typed = re.sub(r"\w*F1\b|[Aa]pache-2\.0", "", f"{told} {text}")
    assert re.findall(r".{,20}\d.{,20}", typed) == []


@pytest.mark.parametrize("name", ["edge_json", "edge_func_call"])
def test_every_style_is_explained(name: str) -> None:
    told, _ = card_text(load_task(name))
    splits = [line[0] for line in table(made(name)["README.md"], "split")]
    assert {row["style"] for split in splits for row in rows(name, split)} == set(told["styles"])


@pytest.mark.parametrize("name", TASKS)
def test_the_manifest_has_every_file_of_rows(name: str) -> None:
    manifest = json.loads(made(name)["manifest.json"])
    assert (manifest["task"], manifest["version"]) == (name, load_task(name).version)
    assert manifest["files"] == {
        file: {"bytes": len(text.encode()), "sha256": hashlib.sha256(text.encode()).hexdigest()}
        for file, text in made(name).items()
        if file.startswith("data/")
    }


class Small(JsonTask):
    """Three rows, one of them in both splits and one twice."""

    name = "small"
    names = ("train", "test", "large")
    made = frozenset({"large"})

    def load(self, split: str) -> list[Example]:
        assert split != "large"
        texts = {"train": ("One box.", "Two boxes.", "two  BOXES"), "test": ("one box", "Four boxes.")}[split]
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
        tags = {"complexity": "simple", "style": "plain", "split": split}
        return [Example(f"{split}-{i}", text, "box", schema, {"n": i}, tags) for i, text in enumerate(texts)]

    def measures(self, samples: Sequence[Any]) -> dict[str, Any]:
        return {"even": {"label": "even numbers", "k": 1, "n": len(samples), "value": 0.5, "low": 0.0, "high": 1.0}}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A task that has no text of its own, and its folder."""
    module = ModuleType("slmbench.tasks.small", "Boxes, counted.")
    module.__file__, module.__path__ = str(tmp_path / "__init__.py"), [str(tmp_path)]
    monkeypatch.setitem(sys.modules, "slmbench.tasks.small", module)
    monkeypatch.delitem(sys.modules, "slmbench.tasks.small.card", raising=False)
    return tmp_path


def test_any_task_has_a_card(small: Path) -> None:
    card = dataset_files(Small())["README.md"]
    assert DatasetCard(card).data.pretty_name == "small"
    assert "# small 1.0\n\nBoxes, counted.\n" in card
    assert "| `train` | 3 | 1 | 10 (10) | 1 (1) |\n| `test` | 2 | 1 | 9 (11) | 1 (1) |" in card
    assert "and no others. Texts that come again within a split: `train` 1." in card
    assert "| `test` | `train` | 1 of 2 |" in card
    assert "| even numbers | the task's own |" in card
    assert "slmbench data build small --split large -n ROWS" in card
    assert 'split="test"' in card


def test_a_task_may_have_a_text_and_facts_of_its_own(small: Path) -> None:
    (small / "card.md").write_text("---\npretty_name: Boxes\nsplits: {test: held back}\n---\n{{ rows }}\n{{ mood }}\n")
    with pytest.raises(BadInput, match=r"the card of small: there is no mood; take one of about, citation,"):
        dataset_files(Small())
    (small / "card.py").write_text("def facts():\n    return {'mood': 'In good cheer.'}\n")
    card = dataset_files(Small())["README.md"]
    assert DatasetCard(card).data.pretty_name == "Boxes"
    assert "| held back |" in card and "In good cheer." in card
    for text in ("# Boxes\n", "---\n{\n---\n", "---\nstyles: many\n---\n"):
        (small / "card.md").write_text(text)
        with pytest.raises(BadInput, match=r"card\.md: begins with no metadata"):
            dataset_files(Small())


def test_the_command_writes_a_folder(
    slmbench: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = slmbench("data", "card", "edge_json")
    assert said.code == 0, said.err
    out = tmp_path / "data" / "hub" / "edge_json"
    assert said.out.splitlines() == [f"data/hub/edge_json/{file}" for file in made("edge_json")]
    assert {file: (out / file).read_text(encoding="utf-8") for file in made("edge_json")} == made("edge_json")
    assert slmbench("data", "card", "edge_json", "--out", out).code == 0
    (tmp_path / "README.md").write_text("mine")
    said = slmbench("data", "card", "edge_json", "--out", tmp_path)
    assert (said.code, said.sentence) == (
        2,
        f"slmbench: {tmp_path}: has a README.md that is not a data set's; give another --out.",
    )
    assert (tmp_path / "README.md").read_text() == "mine" and not (tmp_path / "manifest.json").exists()
    (tmp_path / "manifest.json").write_text('{"form": "int8"}')
    assert slmbench("data", "card", "edge_json", "--out", tmp_path).sentence.endswith("give another --out.")
    assert (tmp_path / "manifest.json").read_text() == '{"form": "int8"}'
    assert slmbench("data", "card", "edge_jsn").sentence.startswith("slmbench: task edge_jsn: there is no such task")
