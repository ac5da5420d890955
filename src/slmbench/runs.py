"""A run's folder: which recipe it belongs to, which stages are done, how long each took.

runs/NAME/
  recipe.yaml  state.json             what is run, and how far it is
  preflight.json                      what was foretold
  base/SPLIT.jsonl  tuned/SPLIT.jsonl one sample a line, appended as they come; *.timed.jsonl at batch 1
  train/history.jsonl  train/checkpoint.safetensors
  adapter/  tokenizer/                what a user loads
  record.json  report.html  README.md training_metadata.json  results.json
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slmbench.core import BadInput
from slmbench.files import write_atomic, write_errors


class Run:
    """The folder `runs/NAME` of one recipe. Two processes may not write to it at once.

    Args:
        folder: where it is or will be.
        identity: hash of all that decides its content; a folder of another identity is refused.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder, self.identity = folder, identity
        self._state_path = folder / "state.json"
        self.state: dict[str, Any] = {"identity": identity, "stages": {}}
        if self._state_path.exists():
            self.state = read_json_file(self._state_path)
            if self.state.get("identity") != identity:
                raise BadInput(
                    f"{folder}: holds a run of another recipe, data or base; give another --name, or delete the folder."
                )

    def done(self, stage: str) -> bool:
        return stage in self.state["stages"]

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and mark it done when it ends well; seconds before a kill are added up."""
        started = time.monotonic()
        before = self.state.setdefault("unfinished", {}).get(name, 0.0)
        try:
            yield
        except BaseException:
            self.state["unfinished"][name] = round(before + time.monotonic() - started, 3)
            self._save()
            raise
        self.state["unfinished"].pop(name, None)
        self.state["stages"][name] = {"seconds": round(before + time.monotonic() - started, 3)}
        self._save()

    def seconds(self) -> dict[str, float]:
        """Wall seconds by stage."""
        return {name: stage["seconds"] for name, stage in self.state["stages"].items()}

    def note(self, key: str, value: Any) -> None:
        """Keep a value in the state."""
        self.state[key] = value
        self._save()

    def write(self, name: str, content: str) -> None:
        """Put a file in the folder, whole or not at all."""
        write_atomic(self.folder / name, content)

    def _save(self) -> None:
        write_atomic(self._state_path, json.dumps(self.state, indent=1) + "\n")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder; the lock goes with the process, however it ends. Raises BadInput where another holds it."""
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
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            yield


def read_json_file(path: Path) -> dict[str, Any]:
    """A JSON object that a run wrote. Raises BadInput where it is missing or damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path}: not there; give the folder of a run that has come so far.") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: cannot be read ({error}); delete it and give the same command again.") from None
    if not isinstance(value, dict):
        raise BadInput(f"{path}: not a JSON object; delete it and give the same command again.")
    return value
