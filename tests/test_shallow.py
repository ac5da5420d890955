"""The first layers of a base: the hidden states are the base's own at that depth; written once, mended when damaged."""

from __future__ import annotations

import importlib
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from slmbench import models
from slmbench.core import BadInput
from slmbench.shallow import shallow

shallow_module = importlib.import_module("slmbench.shallow")


def test_what_is_kept_is_what_the_base_computes(tiny: Any, tmp_path: Path) -> None:
    first = shallow(tiny, 1, tmp_path)
    assert first.name == f"{tiny.name}:1"
    assert first.origin == f"first 1 layers of {tiny.origin}" and first.tokenizer_sha256 == tiny.tokenizer_sha256
    assert first.sha256 != tiny.sha256 and first.parameters < tiny.parameters
    ids = torch.tensor([[1, 5, 9]])
    deep = models.load_model(tiny).model
    deep.layers = deep.layers[:1]
    assert torch.equal(models.load_model(first).model(ids)[0], deep(ids, use_cache=False)[0])


def test_it_is_written_once_and_anew_where_it_is_damaged(tiny: Any, tmp_path: Path) -> None:
    first = shallow(tiny, 1, tmp_path)
    weights = first.folder / "model.safetensors"
    stamp, whole = weights.stat().st_mtime_ns, weights.read_bytes()
    assert shallow(tiny, 1, tmp_path) == first and weights.stat().st_mtime_ns == stamp
    weights.write_bytes(whole[:-4] + b"\0\0\1\0")
    assert shallow(tiny, 1, tmp_path) == first and weights.read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == [first.folder.name]


@pytest.mark.parametrize("layers", [0, 2, 99])
def test_it_must_be_fewer_than_there_are(tiny: Any, tmp_path: Path, layers: int) -> None:
    with pytest.raises(BadInput, match=f"{tiny.name}:{layers}: {tiny.name} has 2 layers: give fewer after the colon"):
        shallow(tiny, layers, tmp_path)


def test_a_name_takes_a_number_of_layers(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLMBENCH_CACHE", str(tmp_path))
    monkeypatch.setitem(models.KNOWN, "tiny", models.Known("tiny", "owner/tiny"))
    monkeypatch.setattr(models, "_from_cache", lambda known: tiny)
    assert models.find("tiny:1") == shallow(tiny, 1, tmp_path / "models")
    with pytest.raises(BadInput, match="no such base model"):
        models.find("tiny:one")


def test_two_at_once_write_it_once(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []

    def slowly(*arguments: Any) -> None:
        written.append(arguments[-1])
        time.sleep(0.2)
        write(*arguments)

    write = shallow_module._write
    monkeypatch.setattr(shallow_module, "_write", slowly)
    with ThreadPoolExecutor() as two:
        first, second = two.map(lambda _: shallow(tiny, 1, tmp_path), range(2))
    assert first == second and len(written) == 1
