"""Trackers: event files that TensorBoard reads, others through accelerate, nothing twice, no training lost to one."""

from __future__ import annotations

import importlib
import json
import struct
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slmbench import trackers as module
from slmbench.core import BadInput
from slmbench.trackers import TensorBoard, Trackers, flat


def row(update: int, **more: float) -> dict[str, Any]:
    return {"update": update, "loss": 2.0 / update, "lr": 0.5, "tokens": 10, "seconds": 1.0, **more}


def events(folder: Path) -> Iterator[Any]:
    """The events of a folder's files, in the order of their names, their checksums looked at."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            data = content[12 : 12 + length]
            assert struct.unpack("<I", content[8:12])[0] == masked_crc32c(content[:8])
            assert struct.unpack("<I", content[12 + length : 16 + length])[0] == masked_crc32c(data)
            yield Event.FromString(data)
            content = content[16 + length :]


def shown(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What a viewer shows: scalars by tag, without those that a later session takes back."""
    tags: dict[str, list[tuple[int, float]]] = {}
    for event in events(folder):
        if event.HasField("session_log"):
            tags = {tag: [point for point in points if point[0] < event.step] for tag, points in tags.items()}
        for value in event.summary.value:
            tags.setdefault(value.tag, []).append((event.step, round(value.simple_value, 4)))
    return tags


def test_tensorboard_has_every_figure_of_a_row(tmp_path: Path) -> None:
    trackers = Trackers(tmp_path)
    trackers.log(row(1, grad_norm=3.0, tokens_per_s=100.0, memory_gib=1.5), 1)
    trackers.log({"update": 1, "validation_loss": 1.25}, 1)
    trackers.close()
    first = next(events(tmp_path / "tensorboard"))
    assert first.file_version == "brain.Event:2"
    assert shown(tmp_path / "tensorboard") == {
        "train/loss": [(1, 2.0)], "train/lr": [(1, 0.5)], "train/grad_norm": [(1, 3.0)],
        "train/tokens_per_s": [(1, 100.0)], "train/memory_gib": [(1, 1.5)], "train/validation_loss": [(1, 1.25)],
    }  # fmt: skip


def test_updates_done_again_after_a_kill_are_shown_once(tmp_path: Path) -> None:
    killed = Trackers(tmp_path)
    for update in (1, 2, 3, 4):
        killed.log(row(update), update)
    killed.close()
    resumed = Trackers(tmp_path)  # from a checkpoint at update 2
    for update in (3, 4, 5):
        resumed.log(row(update, lr=0.25), update)
    resumed.close()
    tags = shown(tmp_path / "tensorboard")
    assert [step for step, _ in tags["train/loss"]] == [1, 2, 3, 4, 5]
    assert tags["train/lr"] == [(1, 0.5), (2, 0.5), (3, 0.25), (4, 0.25), (5, 0.25)]


def test_nothing_left_to_train_leaves_no_file(tmp_path: Path) -> None:
    Trackers(tmp_path, (), {"a": 1}).close()
    assert list(tmp_path.iterdir()) == []


def test_a_tracker_that_fails_is_left_out_and_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trackers = Trackers(tmp_path)
    trackers.log(row(1), 1)
    monkeypatch.setattr(TensorBoard, "log", lambda *_: (_ for _ in ()).throw(OSError("No space left on device")))
    trackers.log(row(2), 2)
    trackers.log(row(3), 3)
    trackers.close()
    assert (
        capsys.readouterr().err == "track     tensorboard: left out from here on (OSError: No space left on device)\n"
    )


def test_a_place_that_cannot_be_written_is_no_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tensorboard").write_text("")
    trackers = Trackers(tmp_path)
    trackers.log(row(1), 1)
    trackers.log(row(2), 2)
    assert capsys.readouterr().err.count("left out") == 1


@pytest.mark.parametrize("name", ["wandb", "mlflow", "trackio"])
def test_a_tracker_that_is_not_installed_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(BadInput, match=f"--track {name}: the package {name} is not installed; .*pip install {name}"):
        Trackers(tmp_path, [name])


def test_an_unknown_tracker_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--track wanb: there is no such tracker; take one of wandb, mlflow, trackio"):
        Trackers(tmp_path, ["wanb"])


class Service:
    """Stands for the packages: remembers how runs were begun and what was logged to them."""

    def __init__(self) -> None:
        self.begun: list[dict[str, Any]] = []
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.settings: list[dict[str, Any]] = []
        self.finished = 0
        self.run = types.SimpleNamespace(
            id="abc", name="tiny", info=types.SimpleNamespace(run_id="def"), log=self.log, finish=self.finish
        )

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished += 1

    def begin(self, **how: Any) -> Any:
        self.begun.append(how)
        return self.run

    def module(self, name: str) -> types.ModuleType:
        made = types.ModuleType(name)
        settings = types.SimpleNamespace(update=lambda values, **_: self.settings.append(values))
        made.__dict__.update(init=self.begin, config=settings, start_run=self.begin, end_run=self.finish)
        made.__dict__.update(search_experiments=lambda **_: [], create_experiment=lambda **_: "1")
        made.__dict__.update(log_metrics=self.log, log_params=self.settings.append)
        limits = types.SimpleNamespace(MAX_PARAM_VAL_LENGTH=500, MAX_PARAMS_TAGS_PER_BATCH=100)
        made.__dict__["utils"] = types.SimpleNamespace(validation=limits)
        return made


@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("wandb", {"id": "abc", "resume": "allow"}),
        ("mlflow", {"run_id": "def"}),
        ("trackio", {"name": "tiny", "resume": "allow"}),
    ],
)
def test_a_service_goes_on_in_the_same_run(
    name: str, again: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    importlib.import_module("accelerate.tracking")  # it looks for the real packages
    service = Service()
    monkeypatch.setitem(sys.modules, name, service.module(name))
    monkeypatch.setattr(module, "check", lambda _: None)
    folder = tmp_path / "tiny"
    killed = Trackers(folder, [name], {"train": {"epochs": 2}, "base": "tiny"})
    killed.log(row(1), 1)
    killed.log(row(2), 2)
    killed.log({"update": 2, "validation_loss": 1.0}, 2)
    killed.close()
    resumed = Trackers(folder, [name, name], {"train": {"epochs": 2}})
    for update in (2, 3):
        resumed.log(row(update), update)
        resumed.log({"update": update, "validation_loss": 1.0}, update)
    resumed.close()
    resumed.close()
    assert [(step, sorted(values)) for step, values in service.logged] == [
        (1, ["train/loss", "train/lr"]), (2, ["train/loss", "train/lr"]), (2, ["train/validation_loss"]),
        (3, ["train/loss", "train/lr"]), (3, ["train/validation_loss"]),
    ]  # fmt: skip
    assert service.settings == [{"train.epochs": 2, "base": "tiny"}]
    assert again.items() <= service.begun[1].items()
    assert "abc" not in service.begun[0].values() and "def" not in service.begun[0].values()
    assert service.finished == 2
    assert json.loads((folder / "trackers" / f"{name}.json").read_text())["last"] == {
        "train/loss": 3, "train/validation_loss": 3
    }  # fmt: skip


def test_settings_are_flat() -> None:
    assert flat({"a": {"b": 1, "c": [1, 2]}, "d": None}) == {"a.b": 1, "a.c": "[1, 2]", "d": "None"}
