"""Under a memory limit that its settings exceed, a training ends with the adapter of an unlimited one, to rounding."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from slmbench import models

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "recipes" / "edge_json_135m.yaml"
# One update of 10 rows, in one pass where memory allows: about 2,500 tokens.
SETTINGS = ("data.limit=14", "data.validation=4", "train.epochs=1", "train.update_examples=10")
SETTINGS += ("train.micro_tokens=8192", "train.precision=fp32")
MIB = 2**20
pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]


def train(runs: Path, *more: str, data_limit: int | None = None) -> str:
    """`slmbench train` in a process of its own, under a limit of the system's; returns what it said."""
    command = [sys.executable, "-m", "slmbench", "train", str(RECIPE), "--runs", str(runs), *more]
    command += [word for setting in SETTINGS for word in ("--set", setting)]

    def limit() -> None:
        if data_limit:
            resource.setrlimit(resource.RLIMIT_DATA, (data_limit, data_limit))

    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=500, preexec_fn=limit, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def adapter(runs: Path) -> dict[str, object]:
    from safetensors.torch import load_file

    return load_file(runs / "edge_json_135m" / "adapter" / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def unlimited(base: models.BaseModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    runs = tmp_path_factory.mktemp("unlimited")
    assert "out of memory" not in train(runs)
    return adapter(runs)


def distance(one: dict[str, object], other: dict[str, object]) -> float:
    import torch

    left, right = (torch.cat([tensors[name].reshape(-1) for name in sorted(one)]) for tensors in (one, other))
    return float((left - right).norm() / left.norm())


def test_memory_that_runs_out_changes_nothing(unlimited: dict[str, object], tmp_path: Path) -> None:
    """A real limit of the system's on the process: allocations fail, the update is done again in smaller passes."""
    said = train(tmp_path, data_limit=2200 * MIB)
    assert "out of memory at update 1: the same again" in said
    assert distance(unlimited, adapter(tmp_path)) < 1e-3


def test_a_promise_of_memory_is_kept(unlimited: dict[str, object], tmp_path: Path) -> None:
    import json

    train(tmp_path, "--memory", "2.2GiB")
    training = json.loads((tmp_path / "edge_json_135m" / "state.json").read_text())["training"]
    assert training["peak_memory_gib"] < 2.2
    assert training["pass_tokens"] < 8192
    assert distance(unlimited, adapter(tmp_path)) < 1e-3
