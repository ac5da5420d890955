"""The whole of `make run` on the real weights and 24 examples, killed while it trains."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slmbench import models

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]


def test_a_first_look_with_a_kill_on_the_way(base: models.BaseModel, tmp_path: Path) -> None:
    """SIGKILL while the adapter trains; then the same command."""
    folder = tmp_path / "edge_json_135m-smoke"
    command = [sys.executable, "-m", "slmbench.cli", "run", str(ROOT / "recipes" / "edge_json_135m.yaml"), "--smoke"]
    # The base writes to the end of its budget, so that is small.
    command += ["--runs", str(tmp_path), "--set", "evaluate.budget_factor=1", "--set", "evaluate.budget_extra=0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    log = tmp_path / "log"
    kept: dict[Path, bytes] = {}
    for place in ("train/history.jsonl", None):
        with log.open("ab") as output:
            process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=output, stderr=output)
        while place and process.poll() is None and not (folder / place).is_file():
            time.sleep(0.01)
        while place and process.poll() is None and not (folder / place).read_bytes().count(b"\n"):
            time.sleep(0.01)
        if place:
            assert process.poll() is None, log.read_text()
            process.send_signal(signal.SIGKILL)
        assert process.wait(600) == (-signal.SIGKILL if place else 0), log.read_text()
        for path, content in kept.items():  # nothing that was written before is lost or changed
            assert path.read_bytes().startswith(content[: content.rfind(b"\n") + 1])
        kept = {path: path.read_bytes() for path in folder.glob("[bt]*e*/test.jsonl")}
    record = json.loads((folder / "record.json").read_text())
    assert record["hashes"]["weights"] == base.sha256
    assert record["metrics"]["json_exact"]["n"] == record["base"]["json_exact"]["n"] == 8
    assert record["training"]["final_loss"] < record["training"]["first_loss"]
    assert record["tests"]["test"]["latency"]["n"] == 2
    assert record["peak_memory_gib"] < 6
    ids = [json.loads(line)["id"] for line in (folder / "tuned" / "test.jsonl").read_text().splitlines()]
    assert len(ids) == len(set(ids)) == 8
    assert (folder / "report.html").is_file() and (folder / "README.md").is_file()
    # Anybody with the adapter may have the answers written again: on one machine they are the same.
    again = [sys.executable, "-m", "slmbench.cli", "verify", str(folder), "--rerun", str(folder), "--rows", "1"]
    done = subprocess.run(again, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "test: answered again, the same 1 of 1" in done.stdout, done.stdout + done.stderr
