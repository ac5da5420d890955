"""The page on adding a task: its example becomes a folder of a copy of the package, and its commands are run there."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = re.compile(r"^`([\w/.]+/[\w.]+)`[^`]*?(?:`[^`\n]*`[^`]*?)*\n\n```\w+\n(.*?)```", re.DOTALL | re.MULTILINE)


def test_the_example_task_is_one_folder_and_its_commands_work(tmp_path: Path, tiny_folder: Path) -> None:
    page = (ROOT / "docs" / "add-a-task.md").read_text(encoding="utf-8")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    written = FILES.findall(page)
    assert [Path(name).name for name, _ in written] == [
        "__init__.py", "reading.json", "train.jsonl", "test.jsonl", "edge_reading_135m.yaml",
    ]  # fmt: skip
    for name, content in written:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    (commands,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "src")}
    for line in commands.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "slmbench"
        if arguments[0] == "run":
            arguments += ["--set", f"base={tiny_folder}", "--set", "adapter.r=4"]
        command = [sys.executable, "-m", "slmbench", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "runs" / "edge_reading_135m" / "record.json").read_text())
    unit = record["tests"]["test"]["measures"]["unit"]
    assert unit["n"] == 3 and unit["label"] == "unit right"
