"""Samples beside a run: what is known is written, what fails is left out, and nothing here ends a run."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from slmbench.core import SlmbenchError
from slmbench.files import Appender
from slmbench.monitor import Counters, Gpus, Monitor, Processor, energy_text, read, read_lines, summary


def lines_of(path: Path, enough: int = 2) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 30
    while len(lines := read_lines(path)) < enough:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return lines


def counters(folder: Path, zones: dict[str, tuple[str, int]]) -> Path:
    for zone, (name, value) in zones.items():
        (folder / zone).mkdir(parents=True, exist_ok=True)
        for file, content in (("name", name), ("energy_uj", value), ("max_energy_range_uj", 1000_000_000)):
            (folder / zone / file).write_text(f"{content}\n")
    return folder


def test_lines_say_what_the_machine_tells(tmp_path: Path) -> None:
    path = tmp_path / "hardware.jsonl"
    with Monitor(path, "train", seconds=0.05):
        lines_of(path)
    for line in read_lines(path):
        assert line["stage"] == "train"
        assert abs(line["time"] - time.time()) < 60 and line["seconds"] >= 0
        assert line["rss_gib"] > 0 and line["memory_free_gib"] > 0 and line["disk_free_gib"] > 0
        assert 0 <= line["cpu_machine"] <= 100 and line["cpu_process"] >= 0


def test_a_short_stage_has_its_line_and_lines_add_up(tmp_path: Path) -> None:
    path = tmp_path / "hardware.jsonl"
    for stage in ("one", "two"):
        with Monitor(path, stage):
            pass
    assert [line["stage"] for line in read_lines(path)] == ["one", "two"]


def test_a_line_that_a_kill_cut_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "hardware.jsonl"
    path.write_text('{"stage":"a","seconds":5}\n{"stage":"b","sec')
    with Monitor(path, "c"):
        pass
    assert [line["stage"] for line in read_lines(path)] == ["a", "c"]


def test_sensors_that_fail_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("driver")

    assert read({"a": lambda: 1, "b": broken, "c": lambda: None, "d": list, "e": lambda: 0}) == {"a": 1, "e": 0}
    monkeypatch.setattr(psutil, "cpu_percent", broken)
    monkeypatch.delattr(psutil, "sensors_temperatures")
    with Monitor(tmp_path / "hardware.jsonl", "train"):
        pass
    (line,) = read_lines(tmp_path / "hardware.jsonl")
    assert "cpu_machine" not in line and "cpu_temperature_c" not in line and line["rss_gib"] > 0


def test_a_full_disk_ends_the_samples_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise SlmbenchError("the disk is full")

    monkeypatch.setattr(Appender, "append", full)
    with Monitor(tmp_path / "hardware.jsonl", "train", seconds=0.01):
        time.sleep(0.05)
    (tmp_path / "file").write_text("")
    with Monitor(tmp_path / "file" / "hardware.jsonl", "train"):
        pass
    assert read_lines(tmp_path / "hardware.jsonl") == []


def test_energy_is_of_packages_and_memory_over_a_counters_end(tmp_path: Path) -> None:
    zones = {
        "intel-rapl:0": ("package-0", 999_000_000),
        "intel-rapl:0:0": ("core", 5),
        "intel-rapl:0:1": ("dram", 1_000_000),
        "intel-rapl:1": ("psys", 7),
    }
    processor = Processor(counters(tmp_path, zones))
    assert processor.joules() is None
    counters(tmp_path, zones | {"intel-rapl:0": ("package-0", 500_000), "intel-rapl:0:1": ("dram", 1_250_000)})
    assert processor.joules() == 1.5 + 0.25  # from 999 to the range's end at 1000 J, then 0.5 more; and memory
    assert processor.joules() == 0


def test_without_counters_energy_is_unknown(tmp_path: Path) -> None:
    assert Processor(tmp_path / "none").joules() is None
    Monitor(tmp_path / "hardware.jsonl", "a", rapl=tmp_path).line()
    zone = counters(tmp_path, {"intel-rapl:0": ("package-0", 1)}) / "intel-rapl:0"
    (zone / "energy_uj").unlink()  # as where only the administrator may read it
    (tmp_path / "hardware.jsonl").unlink(missing_ok=True)
    with Monitor(tmp_path / "hardware.jsonl", "a", rapl=tmp_path):
        pass
    facts = summary(tmp_path / "hardware.jsonl")
    assert facts["samples"] == 1
    assert facts["cpu_joules"] is None and facts["joules"] is facts["gpu_joules"]


def test_a_counter_that_starts_anew_takes_nothing_away() -> None:
    counter = Counters()
    assert counter.since({"a": (5, 0)}) is None
    assert counter.since({"a": (7, 0)}) == 2
    assert counter.since({"a": (1, 0)}) == 0


class Driver:
    """NVIDIA's library on a machine of one GPU that tells no temperature."""

    NVML_TEMPERATURE_GPU = 0
    energy = 1_000_000

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return f"gpu{index}"

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Any:
        return SimpleNamespace(gpu=80)

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:
        return SimpleNamespace(used=2**31)

    def nvmlDeviceGetTemperature(self, handle: str, kind: int) -> int:
        raise RuntimeError("not supported")

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:
        return 251_300

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        self.energy += 5_000
        return self.energy

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[Any]:
        return [SimpleNamespace(pid=os.getpid()), SimpleNamespace(pid=7)]


def test_gpus_are_told_by_their_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Driver())
    gpus = Gpus()
    assert gpus.read() == []
    gpus.open()
    gpus.read()
    assert gpus.read() == [{"use": 80, "memory_gib": 2.0, "power_w": 251.3, "joules": 5.0, "other_pids": [7]}]


def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    gpus = Gpus()
    gpus.open()
    assert gpus.read() == []


def test_a_summary_adds_up_over_processes(tmp_path: Path) -> None:
    path = tmp_path / "hardware.jsonl"
    rows = [
        {"stage": "a", "seconds": 5.0, "rss_gib": 1.0, "cpu_joules": 100.0, "gpus": [{"use": 50, "joules": 10.0}]},
        {"stage": "a", "seconds": 5.0, "rss_gib": 3.0, "cpu_joules": 50.5, "gpus": [{"use": 90}]},
        {"stage": "b", "seconds": 2.0},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "\0\0damage\n[]\n")
    assert summary(path) == {
        "samples": 3, "seconds": 12.0, "rss_gib": {"mean": 2.0, "peak": 3.0}, "gpu_use": {"mean": 70.0, "peak": 90.0},
        "cpu_joules": 150.5, "gpu_joules": 10.0, "joules": 160.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({}, "unknown"),
        ({"joules": None, "cpu_joules": None, "gpu_joules": None}, "unknown"),
        ({"joules": 36000.0, "cpu_joules": 36000.0, "gpu_joules": None}, "0.0100 kWh (36,000 J)"),
        ({"joules": 36000.0, "cpu_joules": None, "gpu_joules": 36000.0}, "0.0100 kWh (36,000 J) of the GPUs alone"),
    ],
)
def test_energy_in_words(facts: dict[str, Any], text: str) -> None:
    assert energy_text(facts) == text


def test_no_samples_are_no_error(tmp_path: Path) -> None:
    assert summary(tmp_path / "none.jsonl") == {
        "samples": 0, "seconds": 0, "cpu_joules": None, "gpu_joules": None, "joules": None
    }  # fmt: skip


def test_a_driver_that_hangs_does_not_hang_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(Gpus, "open", lambda self: released.wait(60))
    with Monitor(tmp_path / "hardware.jsonl", "train", seconds=0.05) as monitor:
        pass
    assert monitor._thread.is_alive()
    released.set()
    monitor._thread.join()
