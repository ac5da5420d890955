"""The package as a whole: versions pinned, README commands real, the imports' direction held."""

from __future__ import annotations

import importlib.metadata
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

import slmbench

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


def readme_commands() -> list[str]:
    blocks = re.findall(r"```(?:sh|console)?\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = [line.split("  #")[0].strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("slmbench ")]


@pytest.mark.parametrize("command", readme_commands())
def test_every_command_of_the_readme_parses(command: str) -> None:
    from slmbench.cli import parser

    parser().parse_args(shlex.split(command)[1:])


def test_the_readme_shows_the_verbs() -> None:
    shown = {command.split()[1] for command in readme_commands()}
    verbs = {"models", "data", "preflight", "train", "evaluate", "compare", "card", "report", "run", "show"}
    assert verbs <= shown


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^make ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert {"run", "test"} <= named <= targets


def test_the_version_is_written_once() -> None:
    assert "version" in PROJECT["dynamic"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", slmbench.__version__)
