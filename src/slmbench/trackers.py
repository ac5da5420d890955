"""The updates of a training in the viewers that people use: TensorBoard always, others when they are asked for.

`runs/NAME/train/history.jsonl` stays the record; what is shown elsewhere is a copy. A tracker that fails is told of
once and left out from then on: training goes on.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from slmbench.core import BadInput
from slmbench.files import json_text
from slmbench.progress import say

CHOICES = ("wandb", "mlflow", "trackio")
SCALARS = ("loss", "lr", "grad_norm", "tokens_per_s", "memory_gib", "validation_loss")
PROJECT = "slmbench"


def check(names: Sequence[str]) -> None:
    """Raise BadInput for a tracker whose package is not installed, before anything is spent."""
    for name in names:
        if name not in CHOICES:
            raise BadInput(f"--track {name}: there is no such tracker; take one of {', '.join(CHOICES)}.")
        if importlib.util.find_spec(name) is None:
            raise BadInput(f"--track {name}: the package {name} is not installed; install it: pip install {name}.")


class Tracker(Protocol):
    """Something that shows scalars."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Show values at an update."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


class Trackers:
    """All trackers of a run.

    Args:
        folder: the run's folder.
        names: trackers beside TensorBoard, of `CHOICES`.
        config: the recipe as plain values, shown with the run.

    They start at the first update that is logged, so a run with nothing left to train leaves them as they are.
    """

    def __init__(self, folder: Path, names: Sequence[str] = (), config: Mapping[str, Any] | None = None) -> None:
        check(names)
        self.folder, self.names, self.config = folder, tuple(dict.fromkeys(names)), dict(config or {})
        self._open: dict[str, Tracker] | None = None

    def log(self, row: Mapping[str, Any], step: int) -> None:
        """Show one row of the history at update `step`; a row that a former process showed is not shown again."""
        if self._open is None:
            self._open = {}
            self._start("tensorboard", step)
            for name in self.names:
                self._start(name, step)
        values = {f"train/{key}": float(row[key]) for key in SCALARS if row.get(key) is not None}
        for name in list(self._open):
            try:
                self._open[name].log(values, step)
            except Exception as error:
                self._fail(name, error)

    def close(self) -> None:
        """End every tracker; harmless when there is none."""
        for name in list(self._open or {}):
            self._drop(name)

    def _start(self, name: str, step: int) -> None:
        assert self._open is not None
        try:
            if name == "tensorboard":
                self._open[name] = TensorBoard(self.folder / "tensorboard", step)
            else:
                self._open[name] = Remote(name, self.folder, self.config)
        except Exception as error:
            self._fail(name, error)

    def _fail(self, name: str, error: Exception) -> None:
        """Libraries and networks fail in their own ways, and none is worth a training."""
        say(f"track     {name}: left out from here on ({type(error).__name__}: {error})")
        self._drop(name)

    def _drop(self, name: str) -> None:
        tracker = (self._open or {}).pop(name, None)
        if tracker is not None:
            with contextlib.suppress(Exception):
                tracker.close()


class TensorBoard:
    """An event file that TensorBoard reads, one for each process of a run.

    Written by tensorboardX's record format rather than by its SummaryWriter, whose own thread ends in a traceback,
    and the training in a wait without end, when the disk is full.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads the files of a folder in the order of their names.
        self._records = RecordWriter(str(folder / f"events.out.tfevents.{time.time_ns() // 1000}"))
        self._write(Event(file_version="brain.Event:2"))
        # A new session: what an earlier file has from this update on is done anew, and not shown.
        self._write(Event(step=step, session_log=SessionLog(status=SessionLog.START)))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """One event for each value, on the disk when this returns."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        for name, value in values.items():
            self._write(Event(step=step, summary=scalar(name, value)))
        self._records.flush()

    def _write(self, event: Any) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())

    def close(self) -> None:
        """Close the file."""
        self._records.close()


class Remote:
    """One of accelerate's trackers, going on in the run that it had begun there.

    `trackers/NAME.json` in the run's folder holds the `id` of that run and the `last` update shown of each kind of row.
    """

    def __init__(self, name: str, folder: Path, config: Mapping[str, Any]) -> None:
        from accelerate import PartialState
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        PartialState()  # the classes ask it whether this is the main process
        self.name, self._path = name, folder / "trackers" / f"{name}.json"
        self._state: dict[str, Any] = {"id": None, "last": {}}
        with contextlib.suppress(OSError, ValueError):
            self._state = json.loads(self._path.read_text())
        self._path.parent.mkdir(parents=True, exist_ok=True)
        known, run = self._state["id"], folder.resolve().name
        settings: dict[str, dict[str, Any]] = {
            "wandb": {"run_name": PROJECT, "name": run, "id": known, "resume": "allow", "dir": str(self._path.parent)},
            "mlflow": {"experiment_name": PROJECT, "run_name": run, "run_id": known},
            "trackio": {"run_name": PROJECT, "name": known or run, "resume": "allow" if known else "never"},
        }
        self._tracker = LOGGER_TYPE_TO_CLASS[name](**settings[name])
        with contextlib.redirect_stdout(sys.stderr):  # standard output is for results
            self._tracker.start()
            if not known:
                self._tracker.store_init_configuration(flat(config))
        begun = self._tracker.tracker
        self._state["id"] = begun.info.run_id if name == "mlflow" else begun.name if name == "trackio" else begun.id
        self._resumed = dict(self._state["last"])

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Show values, unless an earlier process has shown this update."""
        kind = "train/validation_loss" if "train/validation_loss" in values else "train/loss"
        if step <= self._resumed.get(kind, 0):
            return
        self._tracker.log(dict(values), step=step)
        self._state["last"][kind] = step
        fresh = self._path.with_name(f".{self._path.name}.part")
        fresh.write_text(json_text(self._state))
        fresh.replace(self._path)

    def close(self) -> None:
        """Tell the tracker that the run ends here for now."""
        with contextlib.redirect_stdout(sys.stderr):
            self._tracker.finish()


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str | float]:
    """Nested settings by dotted key, with values that every tracker takes."""
    values: dict[str, str | float] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            values |= flat(value, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = value if isinstance(value, int | float) else str(value)
    return values
