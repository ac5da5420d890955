"""A run's folder: which recipe it belongs to, which stages are done, how long each took, and who is at work on it.

runs/NAME/
  recipe.yaml  state.json             what is run, and how far it is
  lock  log                           the process at work; what a detached one says
  plan.json                           what was foretold and, after training, measured
  base/SPLIT.jsonl  tuned/SPLIT.jsonl one sample a line, appended as they come; *.timed.jsonl at batch 1
  train/history.jsonl  train/checkpoint.safetensors and the one before it
  hardware.jsonl  tensorboard/        the machine beside the run; the updates for TensorBoard
  adapter/  adapter_best/  tokenizer/ what a user loads: the last, and the best by validation
  record.json  record.samples.jsonl.gz  report.html  README.md  training_metadata.json
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from slmbench.config import Training
from slmbench.core import BadInput, SlmbenchError
from slmbench.files import file_sha256, json_text, read_json, write_atomic, write_errors
from slmbench.monitor import Monitor

SAME_START_SECONDS = 2.0
"""Two readings of one process's start differ by less: the system counts it from a boot time that it may correct."""

SOURCE = Path(__file__).parent
SOURCES = (".py", ".c", ".h")

stopping = threading.Event()
"""Set by the first SIGTERM while a run's folder is held; `check_stop` looks at it."""


class Stopped(SlmbenchError):
    """The run was asked to stop, and did where it loses nothing."""


def check_stop() -> None:
    """Raise Stopped where the run was asked to stop: called where everything before is on the disk."""
    if stopping.is_set():
        raise Stopped("stopped at your wish; the same command goes on from there.")


@functools.cache
def code_hash() -> str:
    """The SHA-256 of the package's own source: name and hash of each file, by name; as it was when first asked for."""
    files = sorted(path for path in SOURCE.rglob("*") if path.suffix in SOURCES)
    lines = (f"{path.relative_to(SOURCE).as_posix()} {file_sha256(path)}\n" for path in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@contextmanager
def _stop_by_signal() -> Iterator[None]:
    """Until the block ends, the first SIGTERM asks to stop and a second one interrupts at once."""

    def ask(number: int, frame: Any) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()

    stopping.clear()
    if threading.current_thread() is not threading.main_thread():  # where Python sets no handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def holder(folder: Path) -> psutil.Process | None:
    """The process at work in a run's folder: the one whose number and start the lock names, if it still lives."""
    with contextlib.suppress(OSError, ValueError, TypeError, LookupError, psutil.Error):
        lock = json.loads((folder / "lock").read_text())
        process = psutil.Process(lock["pid"])
        same = abs(process.create_time() - lock["started"]) < SAME_START_SECONDS
        if same and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def differing(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """The first key in which two things are not made of the same, as words; empty where they are.

    A setting of training that the recipe there does not know, being of an earlier version, stands at its default.
    """
    left, right = flat(there), flat(here)
    unsaid = flat({"recipe": {"train": asdict(Training())}})
    for key in [*right, *left]:
        if (was := left.get(key, unsaid.get(key))) != right.get(key):
            return f"{key} is {was!r} there and {right.get(key)!r} here"
    return ""


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """The leaves of a JSON value by path, such as `recipe.train.epochs`."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    leaves: dict[str, Any] = {}
    for key, child in items:
        leaves |= flat(child, f"{path}.{key}".lstrip("."))
    return leaves or {path: value}


class Run:
    """The folder `runs/NAME` of one recipe. Two processes may not write to it at once.

    `state` is what state.json holds: `made_of`; `stages` that are done and `unfinished` ones, with their seconds;
    `stage`, the one at work {name, started, total}; `code`, the hashes of the code that was at work, by stage; `ended`
    {how, why}, None while a process holds the folder; notes.

    Args:
        folder: where it is or will be.
        made_of: all that decides its content, as JSON values; a folder made of anything else is refused.
    """

    def __init__(self, folder: Path, made_of: Mapping[str, Any]) -> None:
        self.folder, self.made_of = folder, made_of
        self._state_path = folder / "state.json"
        self.state: dict[str, Any] = {"made_of": made_of, "stages": {}}
        if self._state_path.exists():
            self.state = read_json(self._state_path, "delete it and give the same command again")
            if other := differing(self.state.get("made_of", {}), made_of):
                raise BadInput(f"{folder}: holds another run: {other}; give another --name, or delete the folder.")

    def done(self, stage: str) -> bool:
        """Whether a stage has ended well."""
        return stage in self.state["stages"]

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[None]:
        """Time a stage, with the hardware sampled beside it, and mark it done when it ends well.

        Seconds before a kill are added up. `total` is how much there is to do, in the stage's own unit. Raises Stopped
        before anything is done where that was asked.
        """
        check_stop()
        started = time.monotonic()
        before = self.state.setdefault("unfinished", {}).get(name, 0.0)
        # What an earlier process of an unfinished stage was made of is not known where it did not say so.
        codes = self.state.setdefault("code", {}).setdefault(name, [None] if before else [])
        if code_hash() not in codes:
            codes.append(code_hash())
        self.note("stage", {"name": name, "started": round(time.time(), 1), "total": total})
        try:
            with Monitor(self.folder / "hardware.jsonl", name):
                yield
        except BaseException:
            self.state["unfinished"][name] = round(before + time.monotonic() - started, 3)
            self._save()
            raise
        self.state["unfinished"].pop(name, None)
        self.state["stages"][name] = {"seconds": round(before + time.monotonic() - started, 3)}
        self.note("stage", None)

    def seconds(self) -> dict[str, float]:
        """Wall seconds by stage."""
        return {name: stage["seconds"] for name, stage in self.state["stages"].items()}

    def code(self, stages: Iterable[str]) -> str | None:
        """The hash of the code that did all of these; None where it is not known, or was not one."""
        found = {code for stage in stages for code in self.state.get("code", {}).get(stage, [None])}
        return found.pop() if len(found) == 1 else None

    def note(self, key: str, value: Any) -> None:
        """Keep a value in the state."""
        self.state[key] = value
        self._save()

    def write(self, name: str, content: str) -> None:
        """Put a file in the folder, whole or not at all."""
        write_atomic(self.folder / name, content)

    def _save(self) -> None:
        write_atomic(self._state_path, json_text(self.state))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder; the lock goes with the process, however it ends. Raises BadInput where another holds it.

        How the block ended is noted, and a SIGTERM within it becomes a wish to stop (`check_stop`).
        """
        import fcntl

        path = self.folder / "lock"
        with write_errors(path):
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = path.open("a+")
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BadInput(f"{self.folder}: another process is working here; wait for it to end.") from None
            with write_errors(path):
                handle.truncate(0)
                handle.write(json.dumps({"pid": os.getpid(), "started": psutil.Process().create_time()}))
                handle.flush()
            with _stop_by_signal():
                self.note("ended", None)
                try:
                    yield
                except BaseException as error:
                    with contextlib.suppress(SlmbenchError):
                        self.note("ended", _ending(error))
                    raise
                else:
                    self.note("ended", {"how": "well", "why": ""})
                finally:
                    # The process may live on without the run.
                    handle.truncate(0)


def _ending(error: BaseException) -> dict[str, str]:
    """How a run ended, and the sentence for it."""
    if isinstance(error, KeyboardInterrupt | Stopped):
        return {"how": "stopped", "why": ""}
    return {"how": "failed", "why": str(error) if isinstance(error, SlmbenchError) else type(error).__name__}
