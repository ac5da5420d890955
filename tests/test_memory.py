from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slmbench import memory
from slmbench.memory import GIB, Shape, Speed

SMOLLM2_135M = Shape(
    parameters=134_515_008, layers=30, hidden=576, intermediate=1536, heads=9, kv_heads=3, vocab=49_152
)


def test_the_machine_is_described_without_names() -> None:
    described = json.dumps(memory.machine())
    assert memory.machine()["versions"]["torch"].startswith("2.")
    assert memory.machine()["cores"] >= 1
    assert memory.machine()["memory_gib"] > 0
    assert os.uname().nodename not in described


@pytest.mark.parametrize(
    ("flags", "expected"),
    [({"avx2"}, "fp32"), ({"avx512f", "avx512_vnni"}, "fp32"), ({"avx512_bf16"}, "bf16"), ({"amx_bf16"}, "bf16")],
)
def test_bf16_only_where_the_cpu_computes_in_it(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], expected: str
) -> None:
    monkeypatch.setattr(memory, "cpu_flags", lambda: frozenset(flags))
    assert memory.best_dtype("cpu") == expected
    assert memory.best_dtype("mps") == "fp32"


def test_free_disk_of_a_folder_to_be(tmp_path: Path) -> None:
    assert memory.free_disk(tmp_path / "not" / "yet") > 0


def test_peak_and_free_memory() -> None:
    assert 0.005 < memory.peak_rss_gib() < 1000
    assert 0 < memory.free_memory() <= memory.memory_bytes()


def test_other_gpu_processes_are_named_and_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = f"17, /usr/bin/python3, 1024\n{os.getpid()}, /usr/bin/me, 5\n18, x, [N/A]\n[broken], y, 1\n"

    def run(command: list[str], **_: Any) -> SimpleNamespace:
        assert command[0] == "nvidia-smi"
        return SimpleNamespace(stdout=listed)

    monkeypatch.setattr(memory.subprocess, "run", run)
    assert memory.gpu_processes() == [
        {"pid": 17, "name": "python3", "memory_mib": 1024},
        {"pid": 18, "name": "x", "memory_mib": None},
    ]


@pytest.mark.parametrize("error", [FileNotFoundError(), subprocess.TimeoutExpired("nvidia-smi", 10)])
def test_no_gpu_tool_is_no_gpu_process(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def run(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(memory.subprocess, "run", run)
    assert memory.gpu_processes() == []


def test_the_shape_of_a_config() -> None:
    config = {
        "num_hidden_layers": 30,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49_152,
    }
    assert memory.shape_of(config, 134_515_008) == SMOLLM2_135M
    assert SMOLLM2_135M.kv_values == 30 * 2 * 3 * 64


def test_training_memory_is_near_what_was_measured() -> None:
    """5.0 GB were measured for 2,048 tokens at once, half of them completion, in bf16."""
    parts = memory.predict_training(
        SMOLLM2_135M, tokens=2048, completion_tokens=1024, dtype="bf16", adapter_parameters=4_884_480
    )
    assert parts["total"] == sum(value for key, value in parts.items() if key != "total")
    assert 3.5 * GIB < parts["total"] < 6.5 * GIB
    fp32 = memory.predict_training(
        SMOLLM2_135M, tokens=2048, completion_tokens=1024, dtype="fp32", adapter_parameters=4_884_480
    )
    assert fp32["total"] > parts["total"]


def test_seconds_follow_the_work() -> None:
    speed = Speed(flops=2e11, bytes_per_s=3e10)
    one = memory.predict_training_seconds(SMOLLM2_135M, speed, tokens=100_000)
    assert memory.predict_training_seconds(SMOLLM2_135M, speed, tokens=200_000) == pytest.approx(2 * one)
    assert 300 < one < 1200
    alone, together = (
        memory.predict_evaluation_seconds(
            SMOLLM2_135M, speed, prompt_tokens=40_000, new_tokens=30_000, batch=batch, dtype="fp32"
        )
        for batch in (1, 16)
    )
    assert together < alone


def test_calibration_measures_something() -> None:
    speed = memory.calibrate("fp32", seconds=0.02)
    assert speed.flops > 1e8
    assert speed.bytes_per_s > 1e7
