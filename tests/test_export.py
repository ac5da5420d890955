"""Exports: a folder that runs without torch, checked before it is there, and refused where it is not whole."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from slmbench import export, exported
from slmbench.backends import native
from slmbench.core import BadInput, SlmbenchError

FORMS = [
    pytest.param("int8", marks=pytest.mark.skipif(native.library() is None, reason="no C compiler")),
    "onnx-int8",
    "onnx-int4",
]


@pytest.fixture(scope="module")
def wide_run(settings: dict[str, Any], wide_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training of the wide base."""
    from slmbench.config import recipe_of
    from slmbench.pipeline import make_plan, train_recipe

    folder = tmp_path_factory.mktemp("wide-runs")
    recipe = recipe_of({**settings, "base": str(wide_folder), "name": "wide"}, "test")
    train_recipe(make_plan(recipe, folder))
    (folder / "wide" / "recipe.yaml").write_text(yaml.safe_dump(recipe.to_dict()))
    return folder / "wide"


@pytest.fixture(autouse=True)
def forgiving(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model's answers are noise: what is lost of them says nothing."""
    monkeypatch.setattr(export, "MOST_POINTS_LOST", 100)


@pytest.mark.parametrize("form", FORMS)
def test_an_export_is_a_folder_that_answers(wide_run: Path, tmp_path: Path, form: str, data_folder: Path) -> None:
    ((folder, manifest),) = export.export(wide_run, [form], tmp_path / "model")
    found = exported.load_exported(folder)
    exported.verify_exported(found)
    assert found.manifest == manifest == json.loads((folder / "manifest.json").read_text())
    assert manifest["checked"]["documents"] == 4 and manifest["form"] == form
    assert {p.name for p in folder.iterdir()} == {*manifest["files"], "manifest.json"}
    # A process of its own, which never loads torch.
    script = (
        "import sys; from pathlib import Path; from slmbench.bench import bench\n"
        "from slmbench.data import read_examples; from slmbench.exported import load_exported\n"
        "found = read_examples(Path(sys.argv[2]), schemas=Path(sys.argv[3]))\n"
        "result, samples = bench(load_exported(Path(sys.argv[1])), found)\n"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'torch was loaded'\n"
        "print(result['documents'], sum(s['score']['compliant'] or s['finish'] == 'length' for s in samples))\n"
    )
    rows, schemas = (
        str(data_folder / "exam.jsonl"),
        str(export.__file__).replace("export.py", "tasks/edge_json/schemas"),
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder), rows, schemas], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, ["6", "6"]), done.stderr


def test_an_export_that_loses_too_much_is_not_written(
    wide_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MOST_POINTS_LOST", -1)
    with pytest.raises(SlmbenchError, match=r"the export answers \d of 4 validation documents exactly, the run \d"):
        export.export(wide_run, ["onnx-int8"], tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_sizes_that_the_kernels_lack_are_said(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"a layer's input of 32 values is no multiple of 64, so .* int8; take another"):
        export.export(finished, ["int8"], tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_an_adapter(tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    said = slmbench("export", tmp_path)
    assert said.code == 2 and "no trained adapter in it" in said.sentence


def test_what_is_no_export_is_refused(wide_run: Path, tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    ((folder, manifest),) = export.export(wide_run, ["onnx-int8"], tmp_path / "model")

    def broken(change: Callable[[Path], object]) -> str:
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        change(copy)
        said = slmbench("bench", copy, "--rows", 1)
        assert said.code == 2
        return str(said.sentence)

    assert "no exported model" in broken(lambda p: (p / "manifest.json").unlink())
    assert "tokenizer.json: missing" in broken(lambda p: (p / "tokenizer.json").unlink())
    assert "bytes long, not" in broken(lambda p: (p / "model.onnx").write_bytes(b"short"))
    other = {**manifest, "backend": "os"}
    assert "made for os" in broken(lambda p: (p / "manifest.json").write_text(json.dumps(other)))
    assert "is missing or of another kind" in broken(lambda p: (p / "manifest.json").write_text('{"files": {}}'))
    content = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BadInput, match="its bytes are not those that were exported"):
        exported.verify_exported(exported.load_exported(folder))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rows", 0], "--rows 0: give 1 or more"),
        (["--threads", 0], "--threads 0: give 1 to 256"),
        (["--draft-tokens", -1], "--draft-tokens -1: give 0 to 256"),
        (["--split", "none.jsonl"], "none.jsonl"),
    ],
)
def test_a_wrong_wish_is_one_sentence(
    wide_run: Path, tmp_path: Path, slmbench: Callable[..., Any], words: list[object], said: str
) -> None:
    ((folder, _),) = export.export(wide_run, ["onnx-int8"], tmp_path / "model")
    got = slmbench("bench", folder, *words)
    assert got.code == 2 and said in got.sentence


def test_a_missing_engine_is_one_sentence(
    wide_run: Path, tmp_path: Path, slmbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ((folder, _),) = export.export(wide_run, ["onnx-int8"], tmp_path / "model")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    got = slmbench("bench", folder, "--rows", 1)
    assert got.code == 1 and "pip install 'slmbench[onnx]'" in got.sentence
