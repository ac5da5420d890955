"""The code's layout: imports point one way, and heavy libraries load late."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "slmbench"
FILES = sorted(SOURCE.rglob("*.py"))
# From the top down, as in docs/design.md: a module may import from those below it, and from its own layer's package.
LAYERS = (
    ("__main__",),
    ("cli",),
    ("commands",),
    ("api", "label", "serve"),
    ("serving",),
    ("engine_ray",),
    ("pace",),
    ("export", "extract", "new", "verify"),
    ("calibrate",),
    ("kept",),
    ("bench",),
    ("forms", "smooth"),
    ("graph", "ggml"),
    ("finished",),
    ("pipeline", "operate"),
    ("preflight",),
    ("forecast",),
    ("remote",),
    ("train", "exported"),
    ("backends",),
    ("decode",),
    ("llama", "padded"),
    ("kernels", "packing"),
    ("tasks",),
    ("explain",),
    ("synth",),
    ("publish",),
    ("evaluate", "compare"),
    ("metrics",),
    ("confidence",),
    ("formats",),
    ("documents",),
    ("bfcl",),
    ("models",),
    ("shallow",),
    ("data",),
    ("weights", "fetch"),
    ("checkpoint",),
    ("budget",),
    ("memory", "runs"),
    ("monitor", "trackers"),
    ("config",),
    ("template",),
    ("calls",),
    ("schema",),
    ("files",),
    ("progress",),
    ("core",),
)
HEAVY = {"torch", "transformers", "peft", "accelerate", "ray"}
# The modules that nothing imports before it needs them, so they may import torch at their top.
TORCH = {"train", "llama", "packing", "padded", "kernels", "backends/hf", "backends/eager"}


def module(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").as_posix().removesuffix("/__init__")


def layer(name: str) -> int:
    return next(i for i, names in enumerate(LAYERS) if name.split("/")[0].split(".")[0] in names)


def imports(tree: ast.AST, *, top_only: bool = False) -> Iterator[str]:
    """Every module imported, those for the type checker alone left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module == "slmbench":
                yield from (f"slmbench.{alias.name}" for alias in node.names if alias.name[0] != "_")
        elif not (top_only and isinstance(node, ast.FunctionDef)):
            yield from imports(node, top_only=top_only)


@pytest.mark.parametrize("path", [p for p in FILES if module(p) != "__init__"], ids=module)
def test_imports_point_down(path: Path) -> None:
    own = module(path)
    for name in imports(ast.parse(path.read_text())):
        if name.startswith("slmbench."):
            other = name.removeprefix("slmbench.")
            same_package = "/" in own and own.split("/")[0] == other.split(".")[0]
            same_package |= own in ("publish", "tasks", "synth") and own == other.split(".")[0]
            assert layer(other) > layer(own) or same_package, f"{own} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=module)
def test_heavy_libraries_are_imported_late(path: Path) -> None:
    at_top = {name.split(".")[0] for name in imports(ast.parse(path.read_text()), top_only=True)} & HEAVY
    assert not at_top or module(path) in TORCH


def test_help_loads_nothing_heavy() -> None:
    """What keeps `slmbench --help` quick: no library but Python's own is loaded for it."""
    code = (
        "import sys, contextlib, io\nfrom slmbench.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main(['--help'])\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))"
    )
    path = f"import sys; sys.path.insert(0, {str(SOURCE.parent)!r})\n"
    loaded = subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True, check=True).stdout
    assert not set(loaded.split()) & {*HEAVY, "numpy", "yaml", "rich", "jsonschema", "huggingface_hub", "faker"}


@pytest.mark.parametrize("verb", ["data check", "data split", "models", "compare", "show", "runs", "verify"])
def test_light_verbs_never_load_torch(verb: str, tmp_path: Path) -> None:
    rows = [{"id": str(n), "schema_id": "s", "text": f"Size {n}", "target": f'{{"n":{n}}}'} for n in (1, 2)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    target = [] if verb in ("models", "runs") else [str(tmp_path / "rows.jsonl")]
    code = (
        f"import sys; sys.path.insert(0, {str(SOURCE.parent)!r})\nfrom slmbench.cli import main\n"
        f"main({[*verb.split(), *target]!r})\nprint('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "False False"
