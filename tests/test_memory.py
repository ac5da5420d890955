"""What this machine has, and what happens at the end of its memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slmbench import memory
from slmbench.core import BadInput
from slmbench.memory import GIB

ROOT = Path(__file__).resolve().parents[1]


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


def test_a_container_has_less_free_than_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in {
        "memory.max": "1000",
        "memory.current": "700",
        "memory.stat": "anon 1\ninactive_file 200\n",
    }.items():
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert memory.free_memory() == 500 and memory.memory_bytes() == 1000
    (tmp_path / "memory.max").write_text("max")
    assert memory.free_memory() > 500


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10GiB", 10 * GIB), ("1.5 gib", GIB + GIB // 2), ("800 MB", 800 * 10**6), ("64KiB", 2**16), (" 2048 ", 2048)],
)
def test_an_amount_of_memory(text: str, expected: int) -> None:
    assert memory.bytes_of(text) == expected


@pytest.mark.parametrize("text", ["", "ten", "10QB", "-1GiB", "0", "0.2", "1 2", "GiB", "1e9", "10 GiB free"])
def test_an_amount_of_memory_that_is_none(text: str) -> None:
    with pytest.raises(BadInput, match="not an amount of memory; write it like 10GiB or 800MB"):
        memory.bytes_of(text)


# ---- the end of memory


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"),
            True,
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("could not create a memory object"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("no memory of it"), False),
    ],
)
def test_running_out_of_memory_has_many_words(error: Exception, expected: bool) -> None:
    assert memory.out_of_memory(error) is expected


def in_a_process(code: str) -> str:
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r})\nfrom slmbench import memory\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process forget its peak")
def test_a_peak_that_is_forgotten() -> None:
    said = in_a_process(
        "block = b'x' * (256 << 20)\npeak = memory.peak_rss_gib()\ndel block\n"
        "assert abs(memory.peak_rss_gib() - peak) < 0.01\n"  # the system counts in batches
        "memory.forget_peak()\nprint(peak, memory.peak_rss_gib())"
    )
    before, after = map(float, said.split())
    assert before > 0.25 > 0.15 > after


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps this limit")
def test_a_limit_lets_large_allocations_fail() -> None:
    """As torch's own error, which training knows; what fits is still given."""
    said = in_a_process(
        "import torch\nstatus = memory._status()\n"
        "used = sum(int(status[key].split()[0]) * 1024 for key in ('VmData', 'RssFile'))\n"
        "memory.limit_data(used + (128 << 20))\ntorch.ones(16 << 18)\n"
        "try: torch.ones(512 << 18)\nexcept (RuntimeError, MemoryError) as error: print(memory.out_of_memory(error))\n"
        "try: bytearray(512 << 20)\nexcept MemoryError as error: print(memory.out_of_memory(error))\n"
        "torch.ones(16 << 18)\nprint('lives')"
    )
    assert said.split() == ["True", "True", "lives"]


def test_giving_memory_back_is_harmless() -> None:
    memory.give_back()


def test_room_for_an_allocation() -> None:
    assert memory.has_room(2**20)
    assert not memory.has_room(2**60)
