"""What this machine has: processor, memory, disk, GPU."""

from __future__ import annotations

import contextlib
import csv
import ctypes
import importlib.metadata
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import psutil

from slmbench.core import BadInput

Precision = Literal["fp32", "bf16"]
GIB = 2**30
CGROUP = Path("/sys/fs/cgroup")
"""Where Linux tells a container of its own limits."""
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
UNITS = {"": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "kb": 10**3, "mb": 10**6, "gb": 10**9}
LIBRARIES = ("torch", "transformers", "peft", "accelerate", "tokenizers", "numpy")


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


def machine_words(facts: Mapping[str, Any]) -> str:
    """What `machine` gives, or a result of another slmbench says of its own, in a few words."""
    gpus = Counter(gpu["name"] for gpu in facts.get("gpus") or () if isinstance(gpu, dict) and "name" in gpu)
    cores = [f"{facts['cores']} cores"] if facts.get("cores") else []
    cpu = " ".join(re.sub(r"\((?:R|TM)\)|\bProcessor\b|\bCPU\b", "", str(facts.get("cpu") or "unknown")).split())
    return ", ".join([cpu, *cores, *(f"{n} × {name}" for name, n in sorted(gpus.items()))])


def bytes_of(text: str) -> int:
    """`10GiB`, `800 MB` or a number of bytes as a number. Raises BadInput for anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if not found or found[2].lower() not in UNITS or not (size := int(float(found[1]) * UNITS[found[2].lower()])):
        raise BadInput(f"{text}: not an amount of memory; write it like 10GiB or 800MB.")
    return size


def usable_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def usable_threads() -> int:
    """As many as there are usable cores, or as OMP_NUM_THREADS allows, which bounds torch's too."""
    told = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return min(usable_cores(), int(told)) if told.isascii() and told.isdigit() and int(told) else usable_cores()


def cpu_flags() -> frozenset[str]:
    """The processor's instruction sets as Linux names them; empty elsewhere."""
    return frozenset(_cpuinfo("flags").split() + _cpuinfo("Features").split())


def memory_bytes() -> int:
    """The memory that this process may use: the machine's, or its container's where that is less."""
    limit = psutil.virtual_memory().total
    with contextlib.suppress(OSError, ValueError):
        limit = min(limit, int((CGROUP / "memory.max").read_text()))
    return limit


def gpu_bytes() -> int:
    """The memory of the first GPU."""
    import torch

    return int(torch.cuda.get_device_properties(0).total_memory)


def free_memory() -> int:
    """Bytes that can be taken now without swapping, by the machine's count and its container's."""
    free = psutil.virtual_memory().available
    with contextlib.suppress(OSError, ValueError, KeyError):
        limit = int((CGROUP / "memory.max").read_text())
        held = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        # Files that nobody has read for a while are given up before anything fails.
        free = min(free, limit - int((CGROUP / "memory.current").read_text()) + int(held["inactive_file"]))
    return max(free, 0)


def free_disk(path: Path) -> int:
    """Free bytes on the disk that `path` is on or would be on."""
    place = path.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def peak_rss_gib() -> float:
    """The most memory this process has held since it started or since `forget_peak`, in GiB."""
    with contextlib.suppress(OSError, KeyError):
        return int(_status()["VmHWM"].split()[0]) * 1024 / GIB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes where other systems count KiB.
    return peak / GIB if sys.platform == "darwin" else peak * 1024 / GIB


def forget_peak() -> None:
    """Let `peak_rss_gib` count from now on, where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _status() -> dict[str, str]:
    """What Linux tells of this process."""
    return dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: torch and oneDNN have many words for it."""
    words = ("allocate memory", "not enough memory", "out of memory", "bad_alloc", "create a memory object")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)


def give_back() -> None:
    """Return freed memory to the system, where the C library keeps it for later (glibc's does)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def has_room(size: int) -> bool:
    """Whether so many bytes can be allocated now; none of them is touched."""
    try:
        bytearray(size)
    except MemoryError:
        return False
    return True


def limit_data(limit: int) -> None:
    """Let allocations fail that would take this process over `limit` bytes of resident memory, where the system can.

    The limit is on writable memory; what is mapped from files, such as libraries, is taken off it first.
    """
    if sys.platform != "linux":
        return
    from_files = int(_status()["RssFile"].split()[0]) * 1024
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (max(limit - from_files, 0), hard))


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


def precision(asked: Literal["auto"] | Precision, device: str | None = None) -> Precision:
    """What a recipe asks for; under `auto` what the device is fast at."""
    return best_dtype(device) if asked == "auto" else asked


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
