"""Kill a training with SIGKILL at random moments, give the same command again each time, and compare the adapters.

    python benchmarks/kills.py recipes/edge_json_135m.yaml --kills 50 --set data.limit=64

The training runs once undisturbed and once with the kills; the two adapters must have the same bytes. A kill falls a
random while after the process has begun, or after it has made some more updates, so that it strikes loading, updates,
checkpoints and validation alike. Exit code 0 means the same bytes, 1 that they differ.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from slmbench.config import load_recipe
from slmbench.core import SlmbenchError
from slmbench.files import file_sha256
from slmbench.progress import say

ADAPTER = "adapter/adapter_model.safetensors"


def main(argv: Sequence[str] | None = None) -> int:
    """Print what was done as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of the recipe"
    )
    arguments = parser.parse_args(argv)
    try:
        recipe = load_recipe(arguments.recipe, arguments.set)
    except SlmbenchError as error:
        say(f"kills: {error}")
        return error.exit_code
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "recipe.yaml"
        path.write_text(yaml.safe_dump(recipe.to_dict()), encoding="utf-8")
        calm, rough = folder / "calm", folder / "rough"
        started = time.monotonic()
        finish(command(path, calm), folder / "log")
        say(f"undisturbed: {time.monotonic() - started:.0f} s")
        updates = len((calm / recipe.name / "train" / "history.jsonl").read_bytes().splitlines())
        struck = disturb(
            command(path, rough), rough / recipe.name, folder / "log", arguments.kills, updates, arguments.seed
        )
        finish(command(path, rough), folder / "log")
        hashes = [file_sha256(runs / recipe.name / ADAPTER) for runs in (calm, rough)]
    same = hashes[0] == hashes[1]
    print(json.dumps({"kills": len(struck), "at_line": struck, "same": same, "sha256": hashes}))
    return 0 if same else 1


def command(recipe: Path, runs: Path) -> list[str]:
    """The training, in a process of its own."""
    return [sys.executable, "-m", "slmbench", "train", str(recipe), "--runs", str(runs)]


def finish(words: Sequence[str], log: Path) -> None:
    """Run a command to its end; show what it said where it fails."""
    with log.open("w") as output:
        code = subprocess.run(words, stdout=output, stderr=output, check=False).returncode
    if code:
        sys.exit(f"{' '.join(words)}: ended with {code}:\n{log.read_text()}")


def disturb(words: Sequence[str], run: Path, log: Path, kills: int, updates: int, seed: int) -> list[int]:
    """Kill the command `kills` times; returns how many lines of history there were at each kill.

    A kill waits for so many more updates that all of them find work to interrupt, then for a moment more.
    """
    rng = random.Random(seed)
    history = run / "train" / "history.jsonl"
    struck: list[int] = []
    while len(struck) < kills:
        step = (
            rng.choice([0, 1, 1, 2]) if updates - lines(history) > 2 * (kills - len(struck)) else rng.choice([0, 0, 1])
        )
        target = min(lines(history) + step, updates - 1)
        with log.open("w") as output, subprocess.Popen(words, stdout=output, stderr=output) as process:
            pause = rng.uniform(0, 4) if step == 0 else rng.uniform(0, 0.2)
            if step:
                before = history.stat().st_mtime_ns if history.exists() else 0
                while process.poll() is None and (
                    lines(history) < target or not history.exists() or history.stat().st_mtime_ns == before
                ):
                    time.sleep(0.002)
            time.sleep(pause)
            if process.poll() is not None:
                break  # it came to its end first
            process.send_signal(signal.SIGKILL)
            process.wait()
        struck.append(lines(history))
        say(f"kill {len(struck)} of {kills}: {struck[-1]} of {updates} lines of history were there")
    return struck


def lines(path: Path) -> int:
    """Whole lines of a file; 0 where there is none."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


if __name__ == "__main__":
    sys.exit(main())
