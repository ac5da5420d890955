"""Kill an extraction with SIGKILL at random moments, give the same command again each time, and compare the rows.

    python benchmarks/extract_kills.py MODEL mails.jsonl --schema order.json --kills 20
    python benchmarks/extract_kills.py MODEL mails.jsonl --schema order.json --kills 20 --engine ray

The documents are extracted once undisturbed and once with the kills. A kill falls a random while after the process has
begun, or after it has written some more rows, so that it strikes loading, answering and writing alike. It strikes the
command and its process group; under ray by turns that alone, so that Ray has to notice, everything that Ray has started
as well, as where a machine goes down, and one worker in the middle of the run, after which the command goes on.

The rows must be the documents, each once and in their order, and have the same bytes as those of the undisturbed run,
and no process may be left. Exit code 0 means all of that, 1 that something of it is not so.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from _asked import add_asked

from slmbench.core import SlmbenchError
from slmbench.documents import documents
from slmbench.engine_ray import ADDRESS
from slmbench.exported import load_exported
from slmbench.extract import schema_of
from slmbench.files import read_jsonl_tolerant
from slmbench.progress import say

WORKER = "ray::MapWorker"
"""What the processes that answer call themselves."""
GONE_SECONDS = 120.0
"""How long Ray's processes may take to notice that their command is gone."""
LOOK_SECONDS = 0.5
"""How often it is looked at which processes a command has started."""
WAYS = {"local": ("command",), "ray": ("command", "everything", "worker")}
"""What a kill strikes."""


class Disturbed:
    """A command that is given again and again, the process that runs it now, and all that it has started.

    Args:
        words: the command.
        environment: of the process.
        log: a file for what it says.
        watch: whether it starts others.
    """

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], log: Path, watch: bool) -> None:
        self.words, self.environment, self.log, self.watch = words, environment, log, watch
        self.process: subprocess.Popen[bytes] | None = None
        self.seen: set[psutil.Process] = set()
        self.looked = 0.0

    def start(self) -> None:
        """Give the command, in a process group of its own."""
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                self.words, env=self.environment, stdout=output, stderr=output, start_new_session=True
            )

    def runs(self) -> bool:
        """Whether it is still at work; ends everything where it has failed."""
        if self.process is None:
            return False
        self.look()
        code = self.process.poll()
        if code:
            sys.exit(f"{' '.join(self.words)}: ended with {code}:\n{self.log.read_text()}")
        return code is None

    def look(self) -> None:
        """Note the processes that it has started."""
        if self.watch and time.monotonic() - self.looked > LOOK_SECONDS:
            self.family()

    def family(self) -> list[psutil.Process]:
        """The processes below it now."""
        assert self.process is not None
        self.looked, found = time.monotonic(), []
        with contextlib.suppress(psutil.Error):
            found = psutil.Process(self.process.pid).children(recursive=True)
        self.seen.update(found)
        return found

    def finish(self) -> None:
        """Let it come to its end, begun where it does not run."""
        if self.process is None:
            self.start()
        while self.runs():
            time.sleep(0.02)

    def wait(self, seconds: float) -> None:
        """Wait a while, no longer than it runs."""
        last = time.monotonic() + seconds
        while self.runs() and time.monotonic() < last:
            time.sleep(0.003)

    def wait_for(self, path: Path, over: float) -> None:
        """Wait until a file has more bytes than these, no longer than it runs."""
        while self.runs() and size(path) <= over:
            time.sleep(0.003)

    def strike(self, way: str, rng: random.Random) -> str:
        """Kill what WAYS says; gives that, which is the command where there is no worker."""
        assert self.process is not None
        family = self.family() if self.watch else []
        if way == "worker" and (workers := [one for one in family if is_worker(one)]):
            with contextlib.suppress(psutil.NoSuchProcess):
                rng.choice(workers).kill()
            return way
        os.killpg(self.process.pid, signal.SIGKILL)
        for one in family if way == "everything" else []:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.wait()
        self.process = None
        self.left()  # what follows begins where nothing of this is left
        return "command" if way == "worker" else way

    def left(self) -> int:
        """How many processes that it has started do not go by themselves."""
        _, alive = psutil.wait_procs(list(self.seen), timeout=GONE_SECONDS)
        self.seen = set(alive)
        return len(alive)

    def end(self) -> None:
        """Leave nothing behind."""
        if self.process is not None and self.process.poll() is None:
            self.family()
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for one in self.seen:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(list(self.seen), timeout=10)


def main(argv: Sequence[str] | None = None) -> int:
    """Print what was done as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_asked(parser)
    parser.add_argument("--engine", choices=WAYS, default="local")
    parser.add_argument("--workers", type=int, metavar="N", help="of ray, as of slmbench extract")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args(argv)
    try:
        schema_of(load_exported(arguments.model), arguments.schema)
        ids = [document.id for document in documents(arguments.documents, arguments.column)]
    except SlmbenchError as error:
        say(f"extract_kills: {error}")
        return error.exit_code
    result = run(arguments, ids)
    print(json.dumps(result))
    return 0 if result["same"] and result["in_order"] and not result["left"] else 1


def run(arguments: argparse.Namespace, ids: Sequence[str]) -> dict[str, Any]:
    """The undisturbed extraction, the disturbed one, and how they compare."""
    ray = arguments.engine == "ray"
    with tempfile.TemporaryDirectory(prefix="kills", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        # On this machine, and what Ray writes beside goes with the folder.
        environment = {key: value for key, value in os.environ.items() if key != ADDRESS} | {"RAY_TMPDIR": name}
        calm, rough = (
            Disturbed([*command(arguments), "--out", str(folder / out)], environment, folder / "log", ray)
            for out in ("calm.jsonl", "rough.jsonl")
        )
        try:
            began = time.monotonic()
            calm.start()
            calm.wait_for(folder / "calm.jsonl", 0)
            first = time.monotonic() - began
            calm.finish()
            seconds = time.monotonic() - began
            say(f"undisturbed: {seconds:.0f} s, {first:.0f} of them before the first row")
            struck = disturb(rough, arguments, folder, first)
            rough.finish()
            rows = read_jsonl_tolerant(folder / "rough.jsonl")
            written = [(folder / out).read_bytes() for out in ("calm.jsonl", "rough.jsonl")]
            left = calm.left() + rough.left()
        finally:
            calm.end()
            rough.end()
    return {
        "engine": arguments.engine,
        "documents": len(ids),
        "kills": Counter(way for way, _ in struck),
        "at_row": [at for _, at in struck],
        "same": written[0] == written[1],
        "in_order": [row["id"] for row in rows] == list(ids),
        "left": left,
        "sha256": [hashlib.sha256(content).hexdigest() for content in written],
        "undisturbed_s": round(seconds, 1),
    }


def command(arguments: argparse.Namespace) -> list[str]:
    """The extraction, but for where it goes."""
    words = [sys.executable, "-m", "slmbench", "extract", str(arguments.model), *arguments.documents]
    words += ["--engine", arguments.engine]
    for flag in ("schema", "column", "workers"):
        if (value := getattr(arguments, flag)) is not None:
            words += [f"--{flag}", str(value)]
    return [*words, "--explain"] if arguments.explain else words


def disturb(rough: Disturbed, arguments: argparse.Namespace, folder: Path, first: float) -> list[tuple[str, int]]:
    """Kill the command so many times; gives what each kill struck, and how many rows there were.

    Every fourth kill, by chance, falls within the `first` seconds, in which no row comes. Each other waits for so many
    more rows that all of them find work to interrupt, then for a moment more.
    """
    rng = random.Random(arguments.seed)
    out = folder / "rough.jsonl"
    total = (folder / "calm.jsonl").stat().st_size
    struck: list[tuple[str, int]] = []
    while len(struck) < arguments.kills:
        began = rough.process is None
        if began:
            rough.start()
        way = rng.choice(WAYS[arguments.engine])
        if began and rng.random() < 0.25:
            rough.wait(rng.uniform(0, first))
        else:
            there = size(out)
            rough.wait_for(out, there + rng.uniform(0, 1.5) * (total - there) / (arguments.kills - len(struck) + 1))
            rough.wait(rng.uniform(0, 0.2))
        if not rough.runs():
            say(f"the command came to its end before kill {len(struck) + 1}; give more documents")
            break
        way = rough.strike(way, rng)
        struck.append((way, out.read_bytes().count(b"\n") if out.exists() else 0))
        say(f"kill {len(struck)} of {arguments.kills}: the {way}; {struck[-1][1]} rows were there")
    return struck


def size(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def is_worker(process: psutil.Process) -> bool:
    """Whether a process answers documents."""
    with contextlib.suppress(psutil.Error):
        return bool(process.cmdline()) and process.cmdline()[0].startswith(WORKER)
    return False


if __name__ == "__main__":
    sys.exit(main())
