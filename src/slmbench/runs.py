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

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slmbench.core import BadInput
from slmbench.files import json_text, read_json, write_atomic, write_errors


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
            self.state = read_json(self._state_path, "delete it and give the same command again")
            if self.state.get("identity") != identity:
                raise BadInput(
                    f"{folder}: holds a run of another recipe, data or base; give another --name, or delete the folder."
                )

    def done(self, stage: str) -> bool:
        """Whether a stage has ended well."""
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
        write_atomic(self._state_path, json_text(self.state))

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
