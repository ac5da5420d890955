"""Checkpoints: what was saved is loaded, damage is noticed, the one before is there, a full disk harms neither."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from slmbench import checkpoint
from slmbench.checkpoint import BEFORE, NEWEST
from slmbench.core import BadInput, SlmbenchError

MADE_OF = {"recipe": {"seed": 42, "train": {"epochs": 3}}, "base": "ab"}


def save(folder: Path, done: int) -> None:
    tensors = {
        "parameters": torch.full((5,), float(done)),
        "exp_avg": torch.arange(5.0) * done,
        "step": torch.tensor(done),
    }
    checkpoint.save(folder, tensors, {"done": done, "best": None, "seconds": 0.1, "made_of": MADE_OF})


def done(folder: Path) -> int | None:
    """Which checkpoint is loaded, all its parts checked."""
    found = checkpoint.load(folder, MADE_OF)
    if found is None:
        return None
    tensors, position = found
    number = position["done"]
    assert position == {"done": number, "best": None, "seconds": 0.1, "made_of": MADE_OF}
    assert sorted(tensors) == ["exp_avg", "parameters", "step"]
    assert tensors["parameters"].tolist() == [number] * 5
    assert tensors["exp_avg"].tolist() == [i * number for i in range(5)]
    assert tensors["step"].shape == () and int(tensors["step"]) == number
    return int(number)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_newest_is_loaded_and_the_one_before_kept(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "yet"
    assert done(folder) is None
    for number in (1, 2, 3):
        save(folder, number)
        assert done(folder) == number
        assert names(folder) == ({NEWEST} if number == 1 else {NEWEST, BEFORE})
    (folder / NEWEST).unlink()  # as a kill between the two renames leaves it
    assert done(folder) == 2
    save(folder, 4)
    assert done(folder) == 4
    checkpoint.remove(folder)
    assert names(folder) == set()
    checkpoint.remove(folder)


def test_a_saved_tensor_keeps_its_bits_and_its_kind(tmp_path: Path) -> None:
    values = torch.tensor([0.1, float("nan"), float("inf"), -0.0, 1e-42])
    checkpoint.save(tmp_path, {"a": values, "b": torch.zeros(2, 3, dtype=torch.int64)}, {"made_of": MADE_OF})
    found = checkpoint.load(tmp_path, MADE_OF)
    assert found is not None
    assert torch.equal(found[0]["a"].view(torch.int32), values.view(torch.int32))
    assert (found[0]["b"].dtype, found[0]["b"].shape) == (torch.int64, (2, 3))


def test_a_flipped_bit_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the header's length, names, shapes, position and hash, and in the tensors: a bit of every byte."""
    save(tmp_path, 1)
    path = tmp_path / NEWEST
    content = path.read_bytes()
    for at in range(len(content)):
        changed = bytearray(content)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        assert checkpoint.load(tmp_path, MADE_OF) is None, at
    assert capsys.readouterr().err.count(f"{path}: passed over, it is damaged") == len(content)
    path.write_bytes(content)
    assert done(tmp_path) == 1


@pytest.mark.parametrize("length", [0, 1, 7, 8, 100, -1])
def test_a_torn_one_is_passed_over_for_the_one_before(
    tmp_path: Path, length: int, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)
    path = tmp_path / NEWEST
    path.write_bytes(path.read_bytes()[:length])
    assert done(tmp_path) == 1
    said = capsys.readouterr()
    assert f"{path}: passed over, it is damaged (" in said.err and said.out == ""
    (tmp_path / BEFORE).write_bytes(b"not safetensors")
    assert done(tmp_path) is None
    assert f"{tmp_path / BEFORE}: passed over, it is damaged (" in capsys.readouterr().err


@pytest.mark.parametrize("position", ["[]", "7", "null", "{", '{"done": 1}'])
def test_a_file_of_something_else_is_no_checkpoint(tmp_path: Path, position: str) -> None:
    from safetensors.torch import save_file

    tensors = {"parameters": torch.ones(3)}
    save_file(tensors, tmp_path / NEWEST, {"position": position, "sha256": checkpoint.digest(tensors, position)})
    if position == '{"done": 1}':
        with pytest.raises(BadInput, match="belongs to another run"):
            checkpoint.load(tmp_path, MADE_OF)
    else:
        assert checkpoint.load(tmp_path, MADE_OF) is None
    save_file(tensors, tmp_path / NEWEST)
    assert checkpoint.load(tmp_path, MADE_OF) is None


@pytest.mark.parametrize(
    ("made_of", "what"),
    [
        ({**MADE_OF, "recipe": {"seed": 42, "train": {"epochs": 4}}}, "recipe.train.epochs is 3 there and 4 here"),
        ({**MADE_OF, "base": "cd"}, "base is 'ab' there and 'cd' here"),
        ({"base": "ab"}, "recipe.seed is 42 there and None here"),
    ],
)
def test_one_of_another_run_is_refused_with_both_values(tmp_path: Path, made_of: dict[str, Any], what: str) -> None:
    save(tmp_path, 1)
    with pytest.raises(BadInput) as refused:
        checkpoint.load(tmp_path, made_of)
    path = tmp_path / NEWEST
    assert str(refused.value) == f"{path}: belongs to another run: {what}; use another --name or delete the folder."
    assert refused.value.exit_code == 2
    assert done(tmp_path) == 1


@pytest.mark.parametrize("place", ["fsync", "open"])
def test_a_full_disk_leaves_both_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        if place == "fsync":
            patched.setattr(os, "fsync", full)
        else:
            patched.setattr(Path, "open", full)
        with pytest.raises(SlmbenchError, match="the disk is full: free some space and give the same command again"):
            save(tmp_path, 3)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    save(tmp_path, 3)
    assert done(tmp_path) == 3
