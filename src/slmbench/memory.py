"""What this machine has, and what a run will need of it: processor, memory, disk, GPU; bytes and seconds foretold."""

from __future__ import annotations

import contextlib
import csv
import importlib.metadata
import math
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

Precision = Literal["fp32", "bf16"]
GIB = 2**30
CPU_FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "bf16",
    "i8mm",
)
LIBRARIES = ("torch", "transformers", "peft", "accelerate", "tokenizers", "numpy")

# Python with torch, transformers and peft imported, before any weights.
RUNTIME_BYTES = int(0.6 * GIB)
# What autograd keeps of one token in one layer, in hidden-sized and intermediate-sized values: residuals and norms in
# float32; projections, attention and the gated product in the computing precision.
KEPT_FP32_HIDDEN = 8
KEPT_HIDDEN = 8
KEPT_INTERMEDIATE = 5
# Logits, their float32 copy and their gradient, for each completion token.
LOGIT_BYTES = 12
# Share of training time that is matrix products; the rest is attention, copies, elementwise work.
GEMM_SHARE = 0.45
# Seconds of Python and kernel launches in one decoding step of one layer.
STEP_SECONDS_A_LAYER = 0.0004


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder-only model that memory and time depend on."""

    parameters: int
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    vocab: int

    @property
    def kv_values(self) -> int:
        """Values that one token leaves in the cache of all layers."""
        return 2 * self.layers * self.hidden * self.kv_heads // self.heads


@dataclass(frozen=True)
class Speed:
    """What `calibrate` measured: matrix products in FLOP/s and reading from memory in bytes/s."""

    flops: float
    bytes_per_s: float


def shape_of(config: Mapping[str, Any], parameters: int) -> Shape:
    """The Shape of a model from its config.json, which names its sizes as Llama and Qwen do."""
    heads = int(config["num_attention_heads"])
    return Shape(
        parameters=parameters,
        layers=int(config["num_hidden_layers"]),
        hidden=int(config["hidden_size"]),
        intermediate=int(config["intermediate_size"]),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads", heads)),
        vocab=int(config["vocab_size"]),
    )


def machine() -> dict[str, Any]:
    """What a result says about where it was made; nothing in it names the user or the host.

    Keys: system, cpu, cores, cpu_flags, memory_gib, python, versions {library: version}, gpus [{name, memory_gib}].
    """
    import torch

    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cores": usable_cores(),
        "cpu_flags": [flag for flag in CPU_FLAGS if flag in cpu_flags()],
        "memory_gib": round(memory_bytes() / GIB, 1),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "gpus": [{"name": gpu.name, "memory_gib": round(gpu.total_memory / GIB, 1)} for gpu in gpus],
    }


def usable_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_flags() -> frozenset[str]:
    """The processor's instruction sets as Linux names them; empty elsewhere."""
    return frozenset(_cpuinfo("flags").split() + _cpuinfo("Features").split())


def memory_bytes() -> int:
    """The memory that this process may use: the machine's, or its container's where that is less."""
    limit = psutil.virtual_memory().total
    with contextlib.suppress(OSError, ValueError):
        limit = min(limit, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return limit


def free_memory() -> int:
    """Bytes that can be taken now without swapping."""
    return min(psutil.virtual_memory().available, memory_bytes())


def free_disk(path: Path) -> int:
    """Free bytes on the disk that `path` is on or would be on."""
    place = path.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def peak_rss_gib() -> float:
    """The most memory this process has held since it started, in GiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes where Linux counts KiB.
    return peak / GIB if sys.platform == "darwin" else peak * 1024 / GIB


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: torch and oneDNN have many words for it."""
    words = ("allocate memory", "not enough memory", "out of memory", "bad_alloc", "create a memory object")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)


def best_device() -> str:
    """`cuda` where torch can use one, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def best_dtype(device: str | None = None) -> Precision:
    """The faster precision of a device, by default the best one: bf16 where its hardware computes in it, else fp32.

    A CPU without AVX512-BF16 or AMX emulates bf16, tens to hundreds of times slower (pytorch#146508).
    """
    device = device or best_device()
    if device.startswith("cuda"):
        import torch

        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device == "cpu" and cpu_flags() & {"avx512_bf16", "amx_bf16"} else "fp32"


def gpu_processes() -> list[dict[str, Any]]:
    """Other processes on the NVIDIA GPUs, as [{pid, name, memory_mib}]; [] without nvidia-smi. They are left alone."""
    query = ["nvidia-smi", "--query-compute-apps=pid,process_name,used_memory", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[cell.strip() for cell in row] for row in csv.reader(listed.splitlines()) if len(row) == 3]
    return [
        {"pid": int(pid), "name": Path(name).name, "memory_mib": int(used) if used.isdigit() else None}
        for pid, name, used in rows
        if pid.isdigit() and int(pid) != os.getpid()
    ]


def predict_training(
    shape: Shape, *, tokens: int, completion_tokens: int, dtype: Precision, adapter_parameters: int
) -> dict[str, int]:
    """Bytes by part for one LoRA update over `tokens` at once, `completion_tokens` of them with logits; and `total`.

    The adapter counts 16 bytes a parameter: float32 weight, gradient and AdamW's two moments.
    """
    width = _width(dtype)
    kept = shape.hidden * (4 * KEPT_FP32_HIDDEN + width * KEPT_HIDDEN) + width * KEPT_INTERMEDIATE * shape.intermediate
    return _with_total(
        {
            "weights": shape.parameters * width,
            "adapter": adapter_parameters * 16,
            "activations": tokens * shape.layers * kept,
            "logits": completion_tokens * shape.vocab * LOGIT_BYTES,
            "runtime": RUNTIME_BYTES,
        }
    )


def calibrate(dtype: Precision, device: str = "cpu", seconds: float = 0.3) -> Speed:
    """Measure matrix products of a small model's size and reading from memory, for about `seconds` each."""
    import torch

    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]
    left = torch.ones(1024, 576, dtype=kind, device=device)
    right = torch.ones(576, 1536, dtype=kind, device=device)
    # 128 MiB: more than any cache holds.
    block = torch.ones(32 * 2**20, dtype=torch.float32, device=device)
    product = _rate(lambda: left @ right, seconds, device) * 2 * 1024 * 576 * 1536
    reading = _rate(lambda: block.sum(), seconds, device) * block.numel() * 4
    return Speed(flops=product, bytes_per_s=reading)


def predict_training_seconds(shape: Shape, speed: Speed, *, tokens: int) -> float:
    """Seconds to train LoRA over `tokens` in all: 4 FLOP a parameter and token, forward and back through the base."""
    return 4 * shape.parameters * tokens / speed.flops / GEMM_SHARE


def predict_evaluation_seconds(
    shape: Shape, speed: Speed, *, prompt_tokens: int, new_tokens: int, batch: int, dtype: Precision
) -> float:
    """Seconds to read `prompt_tokens` and write `new_tokens` in all (sums over the rows), `batch` rows at a time.

    A decoding step costs the reading of all weights or the arithmetic of its rows, whichever is longer, and the
    overhead of its layers.
    """
    reading = shape.parameters * _width(dtype) / speed.bytes_per_s
    arithmetic = 2 * shape.parameters * batch / speed.flops
    step = max(reading, arithmetic) + STEP_SECONDS_A_LAYER * shape.layers
    return 2 * shape.parameters * prompt_tokens / speed.flops + math.ceil(new_tokens / batch) * step


def _rate(work: Callable[[], Any], seconds: float, device: str) -> float:
    """Runs of `work` a second, after one run that does not count."""
    import torch

    work()
    start, runs = time.perf_counter(), 0
    while runs == 0 or time.perf_counter() - start < seconds:
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        runs += 1
    return runs / (time.perf_counter() - start)


def _width(dtype: Precision) -> int:
    return 4 if dtype == "fp32" else 2


def _with_total(parts: dict[str, int]) -> dict[str, int]:
    return {**parts, "total": sum(parts.values())}


def _cpuinfo(key: str) -> str:
    """The first value of a key in /proc/cpuinfo; empty where there is none."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return ""


def _cpu_name() -> str:
    if sys.platform == "darwin":
        brand = subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
        )
        return brand.stdout.strip()
    return _cpuinfo("model name") or platform.processor() or platform.machine()
