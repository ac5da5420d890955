"""Two processes train what one trains: the same losses, to rounding."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from slmbench.files import read_jsonl_tolerant

ROOT = Path(__file__).resolve().parents[1]


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@pytest.mark.parametrize("dropout", [0.0, 0.1], ids=["by hand", "autograd"])
def test_two_processes_have_the_losses_of_one(recipe_file: Path, tmp_path: Path, dropout: float) -> None:
    """`accelerate launch` over gloo, with an update's last example alone on one process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    verb = ["train", str(recipe_file), "--set", "train.update_examples=3", "--set", f"adapter.dropout={dropout}"]
    one, two = tmp_path / "one", tmp_path / "two"
    alone = [sys.executable, "-m", "slmbench", *verb, "--runs", str(one)]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"]
    launch += ["--num_processes", "2", "--mixed_precision", "no", "--dynamo_backend", "no"]
    launch += ["--num_cpu_threads_per_process", "1", "--main_process_port", str(free_port()), "-m", "slmbench"]
    for command in (alone, [*launch, *verb, "--runs", str(two)]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
    counts = [json.loads((f / "tiny" / "state.json").read_text())["training"]["processes"] for f in (one, two)]
    assert counts == [1, 2]
    curves = [read_jsonl_tolerant(folder / "tiny" / "train" / "history.jsonl") for folder in (one, two)]
    assert len(curves[0]) == len(curves[1]) == 16
    if dropout:  # each process draws its own
        assert curves[0][0]["loss"] == pytest.approx(curves[1][0]["loss"], rel=0.1)
        return
    for key in ("loss", "grad_norm", "validation_loss"):
        left, right = ([row[key] for row in curve if key in row] for curve in curves)
        assert left == pytest.approx(right, rel=1e-3)
    assert (two / "tiny" / "adapter" / "adapter_model.safetensors").is_file()
