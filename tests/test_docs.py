"""The documents: links lead somewhere, the layout is the real one, generated tables are what generates them."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for their module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_the_layout_of_the_design_page_is_the_code() -> None:
    block = (ROOT / "docs" / "design.md").read_text().split("```")[1]
    named = {name for line in block.splitlines() for name in re.findall(r"^([\w/]+(?:\.py|/)(?: \w+\.py)*)", line)}
    names = {part for entry in named for part in entry.split()}
    source = ROOT / "src" / "slmbench"
    assert [name for name in names if not (source / name).exists()] == []
    tops = {p.name if p.suffix else f"{p.name}/" for p in source.iterdir() if p.name[0] not in "_."} - {"py.typed"}
    assert tops == {name.split("/")[0] + ("/" if "/" in name else "") for name in names}


def test_the_baselines_tables_are_what_their_scripts_print() -> None:
    text = (ROOT / "docs" / "method.md").read_text()
    rules, intents = benchmark("rule_baseline"), benchmark("intent_baseline")
    replaced = benchmark("_table").replaced
    assert replaced(text, rules.baseline_table(), rules.BEGIN, rules.END) == text
    assert replaced(text, intents.table(), intents.BEGIN, intents.END) == text


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("[!_]*.py")), ids=lambda path: path.stem)
def test_every_benchmark_explains_itself(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        benchmark(path.stem).main(["--help"])
    assert stop.value.code == 0
    assert "usage:" in capsys.readouterr().out
