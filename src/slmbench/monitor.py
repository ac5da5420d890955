"""Samples of the hardware beside a run: processor, memory, disk, GPUs, energy, every few seconds, one JSON line each.

A sensor that fails or is not there is left out of its line, and whatever happens here, the run goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from slmbench.core import SlmbenchError
from slmbench.files import Appender

Line = dict[str, Any]
GIB = 2**30
SECONDS = 5.0
RAPL = Path("/sys/class/powercap")


class Monitor:
    """Samples while its `with` block runs, and once at its end, into a file of JSON lines.

    Args:
        path: the file, `runs/NAME/hardware.jsonl`; lines that are there stay.
        stage: what the run is doing, as it stands in each line.
        seconds: between two samples.
        rapl: the folder of the processor's energy counters.

    Each line has `time` (seconds since 1970, UTC), `stage`, `seconds` since the line before it, and of the rest what
    this machine tells: `cpu_process` and `cpu_machine` (percent of all cores), `rss_gib`, `memory_free_gib`,
    `disk_free_gib`, `cpu_temperature_c`, `cpu_joules`, `gpus` [{use, memory_gib, temperature_c, power_w, joules,
    other_pids}]. Joules are the whole machine's since the line before, so they add up over restarts.
    """

    def __init__(self, path: Path, stage: str, seconds: float = SECONDS, rapl: Path = RAPL) -> None:
        self.path, self.stage, self.seconds = path, stage, seconds
        self._process = psutil.Process()
        self._processor, self._gpus = Processor(rapl), Gpus()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="monitor", daemon=True)

    def __enter__(self) -> Monitor:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        # A driver that hangs must not hang the run.
        self._thread.join(self.seconds)

    def _sample(self) -> None:
        """Write lines until the block ends; a full disk ends them earlier."""
        with contextlib.suppress(SlmbenchError), Appender(self.path) as lines:
            self._gpus.open()
            self.line()  # the counters start here
            before = time.monotonic()
            while True:
                ended = self._ended.wait(self.seconds)
                now = time.monotonic()
                lines.append({**self.line(), "seconds": round(now - before, 1)})
                before = now
                if ended:
                    return

    def line(self) -> Line:
        """What every sensor says now, without those that say nothing."""
        sensors: dict[str, Callable[[], Any]] = {
            "cpu_process": lambda: round(self._process.cpu_percent() / (os.cpu_count() or 1), 1),
            "cpu_machine": psutil.cpu_percent,
            "rss_gib": lambda: gib(self._process.memory_info().rss),
            "memory_free_gib": lambda: gib(psutil.virtual_memory().available),
            "disk_free_gib": lambda: gib(shutil.disk_usage(self.path.parent).free),
            "cpu_temperature_c": cpu_temperature,
            "cpu_joules": self._processor.joules,
            "gpus": self._gpus.read,
        }
        return {"time": round(time.time(), 1), "stage": self.stage, **read(sensors)}


def read(sensors: Mapping[str, Callable[[], Any]]) -> Line:
    """The values of the sensors that have one."""
    values = {}
    for name, sensor in sensors.items():
        # Drivers fail in their own ways; none of them is worth a run.
        with contextlib.suppress(Exception):
            value = sensor()
            if value not in (None, []):
                values[name] = value
    return values


def gib(count: float) -> float:
    """Bytes as GiB, to the MiB."""
    return round(count / GIB, 3)


def cpu_temperature() -> float | None:
    """The hottest of the processor's own sensors in degrees Celsius, where the system tells them."""
    told = psutil.sensors_temperatures()
    heat = [s.current for name in ("coretemp", "k10temp", "zenpower", "cpu_thermal") for s in told.get(name, [])]
    return round(max(heat), 1) if heat else None


class Counters:
    """What counters that only rise, and may start again at their range (0: never), added since they were last read."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def since(self, values: Mapping[str, tuple[float, float]]) -> float | None:
        """The sum over counters of what was added; values are name -> (reading, range). None at the first reading."""
        added = [
            max(0.0, value - self._last[name] + (span if value < self._last[name] else 0))
            for name, (value, span) in values.items()
            if name in self._last
        ]
        self._last = {name: value for name, (value, _) in values.items()}
        return sum(added) if added else None


class Processor:
    """The energy of packages and memory from Linux's RAPL counters; many systems let only the administrator read them.

    https://docs.kernel.org/power/powercap/powercap.html
    """

    def __init__(self, folder: Path) -> None:
        self._counters = Counters()
        self._zones = []
        for zone in sorted(folder.glob("intel-rapl:*")):
            with contextlib.suppress(OSError):
                # Other zones (core, uncore, psys) are parts or sums of these.
                if (zone / "name").read_text().strip().startswith(("package-", "dram")):
                    self._zones.append(zone)

    def joules(self) -> float | None:
        """Energy since the last call."""
        micro = {zone.name: (number(zone / "energy_uj"), number(zone / "max_energy_range_uj")) for zone in self._zones}
        added = self._counters.since(micro)
        return None if added is None else round(added / 1e6, 3)


def number(path: Path) -> float:
    """The number that a file of the kernel holds."""
    return float(path.read_text())


class Gpus:
    """NVIDIA's GPUs through its management library; none where there is no driver."""

    def __init__(self) -> None:
        self._handles: list[Any] = []
        self._counters: list[Counters] = []

    def open(self) -> None:
        """Find the GPUs."""
        with contextlib.suppress(Exception):
            import pynvml

            pynvml.nvmlInit()
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
            self._counters = [Counters() for _ in self._handles]

    def read(self) -> list[Line]:
        """One entry for each GPU."""
        return [self._entry(handle, counters) for handle, counters in zip(self._handles, self._counters, strict=True)]

    def _entry(self, handle: Any, counters: Counters) -> Line:
        import pynvml

        def joules() -> float | None:
            added = counters.since({"mJ": (pynvml.nvmlDeviceGetTotalEnergyConsumption(handle), 0)})
            return None if added is None else round(added / 1e3, 3)

        return read(
            {
                "use": lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu,
                "memory_gib": lambda: gib(pynvml.nvmlDeviceGetMemoryInfo(handle).used),
                "temperature_c": lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
                "power_w": lambda: round(pynvml.nvmlDeviceGetPowerUsage(handle) / 1e3, 1),
                "joules": joules,
                "other_pids": lambda: sorted(
                    {p.pid for p in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)} - {os.getpid()}
                ),
            }
        )


def read_lines(path: Path) -> list[Line]:
    """The samples of a run, without lines that a fall of the machine damaged; [] where there are none."""
    lines = []
    with contextlib.suppress(OSError):
        for text in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            with contextlib.suppress(ValueError):
                line = json.loads(text)
                if isinstance(line, dict):
                    lines.append(line)
    return lines


FIGURES = ("cpu_process", "cpu_machine", "rss_gib", "memory_free_gib", "disk_free_gib", "cpu_temperature_c")
GPU_FIGURES = ("use", "memory_gib", "temperature_c", "power_w")


def summary(path: Path) -> dict[str, Any]:
    """What a run's samples come to, over all its processes.

    `samples`, `seconds` and, for each figure that was known, {mean, peak}, the GPUs' taken together as `gpu_*`.
    `cpu_joules`, `gpu_joules` and their sum `joules` are None where the machine could not tell; a sum of one is
    of that one alone.
    """
    lines = read_lines(path)
    gpus = [gpu for line in lines for gpu in line.get("gpus", [])]
    series = {name: known(lines, name) for name in FIGURES} | {f"gpu_{name}": known(gpus, name) for name in GPU_FIGURES}
    joules = {"cpu_joules": total(known(lines, "cpu_joules")), "gpu_joules": total(known(gpus, "joules"))}
    return {
        "samples": len(lines),
        "seconds": round(sum(known(lines, "seconds")), 1),
        **{
            name: {"mean": round(sum(values) / len(values), 3), "peak": max(values)}
            for name, values in series.items()
            if values
        },
        **joules,
        "joules": total([value for value in joules.values() if value is not None]),
    }


def known(lines: Sequence[Line], name: str) -> list[float]:
    """The values of one figure, where it was told."""
    return [float(line[name]) for line in lines if name in line]


def total(values: Sequence[float]) -> float | None:
    """Their sum; None where there are none."""
    return round(sum(values), 1) if values else None


def energy_text(facts: Mapping[str, Any]) -> str:
    """The energy of a `summary` as people read it: `0.0123 kWh (44,300 J)`, what it is of where a part is unknown."""
    joules = facts.get("joules")
    if joules is None:
        return "unknown"
    parts = [part for part in ("cpu", "gpu") if facts.get(f"{part}_joules") is not None]
    of = " of the GPUs alone" if parts == ["gpu"] else ""
    return f"{joules / 3.6e6:.4f} kWh ({joules:,.0f} J){of}"
