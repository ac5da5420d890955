"""Exports: a folder that runs without torch, checked before it is there, and refused where it is not whole."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slmbench import export, exported
from slmbench.backends import native
from slmbench.config import Evaluation
from slmbench.core import BadInput, Completion, Example, Request, SlmbenchError, load_task
from slmbench.pipeline import Split
from slmbench.smooth import STRENGTHS
from slmbench.template import Encoded

FORMS = [
    pytest.param("int8", marks=pytest.mark.skipif(native.compiled() is None, reason="no C compiler")),
    "onnx-int8",
    "onnx-int4",
    "merged",
    "gguf-f16",
    "gguf-q8_0",
]


@pytest.fixture(autouse=True)
def forgiving(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model's answers are noise: what is lost of them says nothing."""
    monkeypatch.setattr(export, "MOST_POINTS_LOST", 100)


@pytest.fixture(scope="module")
def gguf(wide_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export for llama.cpp."""
    pytest.importorskip("xllamacpp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "MOST_POINTS_LOST", 100)
        ((folder, _),) = export.export(wide_run, ["gguf-q8_0"], tmp_path_factory.mktemp("gguf") / "model")
    return folder


def test_several_forms_at_once(wide_run: Path, tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    run = tmp_path / "run"
    shutil.copytree(wide_run, run, ignore=shutil.ignore_patterns("export"))
    said = slmbench("export", run, "--to", "merged", "--to", "onnx-int8", "--json")
    manifests = [json.loads(line) for line in said.out.splitlines()]
    assert [manifest["form"] for manifest in manifests] == ["merged", "onnx-int8"]
    assert manifests[0]["checked"]["first_token_same"] >= 3 and manifests[0]["smoothing"] is None
    assert {path.name for path in (run / "export").iterdir()} == {"merged", "onnx-int8"}
    refused = slmbench("export", run, "--to", "merged", "--to", "int8", "--out", tmp_path / "x")
    assert refused.code == 2 and "one folder for 2 forms" in refused.sentence


def test_other_smoothing_where_the_first_loses(wide_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = iter([30.0, 0.2])  # of four documents one is 25 points
    compare = export._Original.compare
    monkeypatch.setattr(export, "MOST_POINTS_LOST", 0.5)
    monkeypatch.setattr(export._Original, "compare", lambda *a: {**compare(*a), "points_lost": next(lost)})
    ((_, manifest),) = export.export(wide_run, ["onnx-int8"], tmp_path / "model")
    assert manifest["smoothing"] == STRENGTHS[1]


def test_rows_of_two_tasks_may_have_one_id() -> None:
    """Each is held against its own gold, whichever ends first."""
    rows = [Example("a-1", "x", "s", {}, {"n": n}, {}) for n in range(3)]
    encoded = [Encoded("a-1", (1, 2, 3), 2) for _ in rows]
    split = Split(rows, encoded, 0)
    original = object.__new__(export._Original)
    original.plan = SimpleNamespace(  # type: ignore[assignment]
        task=load_task("edge_json"), validation=split, recipe=SimpleNamespace(evaluate=Evaluation())
    )

    class Backwards:
        def generate(self, requests: list[Request]) -> Iterator[Completion]:
            for n, request in reversed(list(enumerate(requests))):
                yield Completion(request.id, f'{{"n":{n}}}', (), "stop", 2, 1, None, 0.1, 1)

    answers = original._answers("run", Backwards())  # type: ignore[arg-type]
    assert [sample["score"]["exact"] for sample in answers] == [True, True, True]


def test_llama_cpp_computes_the_same_model(wide_run: Path, tmp_path: Path) -> None:
    """Heads in another order, tokens of the same numbers: its first tokens are those of the merged model."""
    pytest.importorskip("xllamacpp")
    found = {}
    for form in ("merged", "gguf-f16"):
        ((folder, _),) = export.export(wide_run, [form], tmp_path / form)
        backend = exported.load_exported(folder).backend()
        asked = [Request(str(i), tuple(range(5 + i, 25 + 2 * i)), 4) for i in range(12)]
        found[form] = [completion.text[:1] for completion in backend.generate(asked)]
    assert sum(a == b for a, b in zip(*found.values(), strict=True)) >= 10


@pytest.mark.parametrize("form", FORMS)
def test_an_export_is_a_folder_that_answers(wide_run: Path, tmp_path: Path, form: str, data_folder: Path) -> None:
    ((folder, manifest),) = export.export(wide_run, [form], tmp_path / "model")
    found = exported.load_exported(folder)
    assert found.manifest == manifest == json.loads((folder / "manifest.json").read_text())
    assert manifest["checked"]["documents"] == 4 and manifest["form"] == form
    assert {p.name for p in folder.iterdir()} == {*manifest["files"], "manifest.json"}
    # A process of its own, which never loads torch.
    script = (
        "import sys; from pathlib import Path; from slmbench.bench import bench\n"
        "from slmbench.data import read_examples; from slmbench.exported import load_exported\n"
        "found = read_examples(Path(sys.argv[2]), schemas=Path(sys.argv[3]))\n"
        "result, samples = bench(load_exported(Path(sys.argv[1])), found)\n"
        "assert sys.argv[4] == 'merged' or not {'torch', 'transformers'} & set(sys.modules), 'torch was loaded'\n"
        "print(result['documents'], sum(s['score']['compliant'] or s['finish'] == 'length' for s in samples))\n"
    )
    rows, schemas = (
        str(data_folder / "exam.jsonl"),
        str(export.__file__).replace("export.py", "tasks/edge_json/schemas"),
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder), rows, schemas, form], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.split()) == (0, ["6", "6"]), done.stderr


def test_an_export_that_loses_too_much_is_not_written(
    wide_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MOST_POINTS_LOST", 0.5)
    assert [export.allowed_points(n) for n in (126, 152, 200, 1000)] == [0.79, 0.66, 0.5, 0.5]
    monkeypatch.setattr(export, "allowed_points", lambda documents: -1)
    with pytest.raises(SlmbenchError, match=r"the export answers \d of 4 validation documents exactly, the run \d"):
        export.export(wide_run, ["onnx-int8"], tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_who_wants_it_smaller_may_let_it_lose_more(
    wide_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slmbench: Callable[..., Any]
) -> None:
    compare = export._Original.compare
    monkeypatch.setattr(export, "MOST_POINTS_LOST", 0.5)
    monkeypatch.setattr(export._Original, "compare", lambda *a: {**compare(*a), "points_lost": 30.0})
    given = ("export", wide_run, "--to", "onnx-int4", "--out", tmp_path / "model", "--json")
    refused = slmbench(*given, "--may-lose", 29)
    assert refused.code == 1 and "30.0 points lost, over 29; take another form, or allow more" in refused.sentence
    kept = json.loads(slmbench(*given, "--may-lose", 30).out)
    assert (kept["checked"]["points_lost"], kept["smoothing"]) == (30.0, STRENGTHS[0])
    assert slmbench(*given, "--may-lose", 101).code == 2


def test_sizes_that_the_kernels_lack_are_said(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"a layer's input of 32 values is no multiple of 64, so .* int8; take another"):
        export.export(finished, ["int8"], tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_an_adapter(tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    said = slmbench("export", tmp_path)
    assert said.code == 2 and "no recipe.yaml in it" in said.sentence
    (tmp_path / "recipe.yaml").write_text("name: x\n")
    said = slmbench("export", tmp_path)
    assert said.code == 2 and "no trained adapter in it" in said.sentence


def test_an_export_takes_the_place_of_exports_alone(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("name: x\n")
    place = tmp_path / "model"
    allowed = "no trained adapter in it"  # the next thing that is wrong

    def refused() -> str:
        with pytest.raises(BadInput) as caught:
            export.export(tmp_path, ["merged"], place)
        return str(caught.value)

    place.mkdir()
    assert allowed in refused()
    (place / "config.json").write_text("{}")
    assert "model: holds config.json, which no export wrote; move it elsewhere" in refused()
    (place / "manifest.json").write_text('{"form": "merged", "files": {"config.json": {}}}')
    assert allowed in refused()
    (place / "notes.txt").write_text("mine")
    assert "holds notes.txt" in refused() and (place / "notes.txt").read_text() == "mine"
    (place / "notes.txt").unlink()
    (place / "manifest.json").write_text('{"kind": "other", "files": {"config.json": {}}}')
    assert "holds config.json" in refused()
    shutil.rmtree(place)
    place.write_text("mine")
    assert "model: is no folder" in refused() and place.read_text() == "mine"


def test_an_earlier_export_is_there_until_the_new_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = SimpleNamespace(validation=SimpleNamespace(examples=[None]))
    original = SimpleNamespace(compare=lambda _: {"documents": 1, "points_lost": 0})
    stubs = {
        "load_recipe": None, "adapter_of": None, "make_plan": plan, "merge": ({}, {}), "_Original": original,
        "Exported": None, "calibrate": {}, "_write": {"form": "merged", "files": {}},
    }  # fmt: skip
    for name, given in stubs.items():
        monkeypatch.setattr(export, name, lambda *_, given=given, **__: given)
    (tmp_path / "recipe.yaml").touch()
    place = tmp_path / "model"
    export.export(tmp_path, ["merged"], place)
    replace = Path.replace

    def killed(source: Path, target: Path) -> Path:
        if target == place:
            raise KeyboardInterrupt
        return replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", killed)
        export.export(tmp_path, ["merged"], place)
    assert len(list(tmp_path.rglob("manifest.json"))) == 1
    export.export(tmp_path, ["merged"], place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "recipe.yaml"]


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
        exported.load_exported(folder)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rows", 0], "--rows 0: give 1 or more"),
        (["--threads", 0], "--threads 0: give 1 to 256"),
        (["--draft-tokens", -1], "--draft-tokens -1: give 0 to 256"),
        (["--batch", 0], "--batch 0: give 1 to 256"),
        (["--batch", 2], "--batch 2: onnx-int8 answers no more than 1 at once"),
        (["--split", "none.jsonl"], "none.jsonl"),
    ],
)
def test_a_wrong_wish_is_one_sentence(
    wide_run: Path, tmp_path: Path, slmbench: Callable[..., Any], words: list[object], said: str
) -> None:
    ((folder, _),) = export.export(wide_run, ["onnx-int8"], tmp_path / "model")
    got = slmbench("bench", folder, *words)
    assert got.code == 2 and said in got.sentence


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--constraint", "grounded"], "llama.cpp cannot ground an answer"),
        (["--draft-tokens", 8], "gguf-q8_0 has its own loop"),
    ],
)
def test_what_llama_cpp_does_not_do_is_said(
    gguf: Path, slmbench: Callable[..., Any], words: list[object], said: str
) -> None:
    got = slmbench("bench", gguf, "--rows", 1, *words)
    assert got.code == 2 and said in got.sentence


def test_llama_cpp_reads_no_document_over_its_context_and_no_broken_file(gguf: Path, tmp_path: Path) -> None:
    from slmbench.backends.llama_cpp import POSITIONS, LlamaCpp

    backend = exported.load_exported(gguf).backend()
    with pytest.raises(BadInput, match=r"tokens are over the \d+ that this model reads; give a shorter document"):
        list(backend.generate([Request("long", (5,) * POSITIONS, 4)]))
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + b"\xff" * 400)
    with pytest.raises(SlmbenchError, match=r"llama\.cpp does not load it"):
        LlamaCpp(tmp_path / "broken.gguf", 1)


def test_a_missing_engine_is_one_sentence(
    wide_run: Path, tmp_path: Path, slmbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ((folder, _),) = export.export(wide_run, ["onnx-int8"], tmp_path / "model")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    got = slmbench("bench", folder, "--rows", 1)
    assert got.code == 1 and "pip install 'slmbench[onnx]'" in got.sentence
