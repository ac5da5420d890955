"""The package as a whole: versions pinned, README commands real, the imports' direction held."""

from __future__ import annotations

import importlib.metadata
import io
import re
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shown import blocks, commands, furnish

import slmbench as package
from slmbench.new import Rows

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict((normal(line.split("==")[0]), line.split("==")[1]) for line in lines if line and line[0] != "#")


def required(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    assert match is not None
    return normal(match.group())


def test_the_whole_tree_is_pinned() -> None:
    """Every dependency, and every dependency of those that is installed here, has its exact version in the file."""
    extras = [name for group in PROJECT["optional-dependencies"].values() for name in group]
    todo = [required(name) for name in (*PROJECT["dependencies"], *extras)]
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        todo += [required(line) for line in package.requires or [] if ";" not in line]
    installed = {normal(str(package.name)) for package in importlib.metadata.distributions()}
    missing = sorted((seen & installed) - set(pinned()))
    assert missing == []


def test_what_is_installed_is_what_is_pinned() -> None:
    for name in ("torch", "transformers", "peft", "accelerate", "safetensors", "tokenizers", "jsonschema", "faker"):
        assert importlib.metadata.version(name).partition("+")[0] == pinned()[name]


def test_pins_are_exact_and_plain() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line), line


def readme_commands() -> list[list[str]]:
    shown = (block.text for block in blocks(ROOT / "README.md") if block.language == "sh")
    return [words for text in shown for words in commands(text) if words[0] == "slmbench"]


def test_every_command_of_the_readme_runs(
    settings: dict[str, Any],
    wide_folder: Path,
    run_copy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    slmbench: Callable[..., Any],
) -> None:
    """All of them, as they stand and in their order, in a folder where the recipe means a tiny base and 24 rows."""
    monkeypatch.setattr("slmbench.export.MOST_POINTS_LOST", 100)
    monkeypatch.setattr("slmbench.bench.BUDGET_FACTOR", 0.1)
    monkeypatch.setattr("slmbench.pace.rows_within", lambda *given: Rows(120, 80))  # tests/test_pace.py
    furnish(tmp_path, settings, wide_folder)
    for name in ("a", "b"):
        shutil.copytree(run_copy, tmp_path / "runs" / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("s\n"))
    for command in readme_commands():
        said = slmbench(*command[1:])
        assert said.code == 0, f"{command}: {said.err}"
        assert said.out or said.err, command
    (block,) = (block for block in blocks(ROOT / "README.md") if block.language == "python")
    names: dict[str, Any] = {}
    exec(block.text, names)
    assert names["order"]["boxes"] in (1, 2, 3) and names["values"][0]["path"] == "/boxes"
    assert "| **edge_json_135m** |" in (tmp_path / "README.md").read_text()


def test_the_readme_shows_the_verbs() -> None:
    shown = {command[1] for command in readme_commands()}
    verbs = {"models", "data", "preflight", "train", "evaluate", "compare", "card", "report", "run", "show"}
    verbs |= {"runs", "status", "watch", "logs", "stop", "export", "bench", "extract", "new", "label", "synth"}
    verbs |= {"publish", "verify", "leaderboard", "push", "export-results"}
    assert verbs <= shown


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^make ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert {"run", "test"} <= named <= targets


def test_the_version_is_written_once() -> None:
    assert "version" in PROJECT["dynamic"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", package.__version__)
