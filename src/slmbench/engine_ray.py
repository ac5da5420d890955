"""Extraction by many processes, here or on the cluster that RAY_ADDRESS names: `extract --engine ray`.

The documents are cut into units. Workers, each with a model of its own, read their units from the files and give back
the rows; Ray Data hands units out, begins a worker anew that has died, and keeps the order. So rows arrive here as one
process would make them, each once, and what is written is the same to the byte (`extract`).

Ray runs in a process of its own (`main`), which reads what is asked as a line and writes a line for each unit. Its log,
its handlers of signals and the settings that it takes from the environment stay there; where it hangs, or ends without
a word as it does when its cluster is gone, there is still someone to say so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from slmbench import __version__
from slmbench.core import KEY, BadInput, Model, SlmbenchError
from slmbench.documents import STDIN, Piece, read_unit, units
from slmbench.exported import Exported, check_count, load_exported
from slmbench.extract import Asked, Extractor, Judged
from slmbench.memory import usable_cores
from slmbench.progress import say

ADDRESS = "RAY_ADDRESS"
MOST = 256
"""Documents in a unit: some seconds of work, which is what a worker that dies has to do again."""
SHARES = 8
"""Units for each worker at least, so that all end at about the same time."""
TRIES = 4
"""So often is a unit begun whose worker dies before the unit is done: a document may be what kills it."""
ANSWER_SECONDS, END_SECONDS, GRACE_SECONDS = 60.0, 30.0, 10.0
"""How long a cluster may take to answer; how long Ray may take to end when all is done, and when it is told to."""
STORE_BYTES = 512 * 2**20
"""Rows on their way hold no more memory than this; on a cluster Ray's own setting counts."""
AGAIN = "what is written stays, and the same command goes on"


class RayEngine:
    """An `Engine` of many workers.

    Args:
        model: an exported folder; workers open the same path.
        asked: as for one process; `threads` are those of each worker, by default all cores divided.
        workers: how many, by default as many as the cores have room for.

    Raises BadInput for a model on a server and for numbers out of bounds, SlmbenchError where Ray is not installed.
    """

    def __init__(self, model: Model, asked: Asked, workers: int | None = None) -> None:
        if not isinstance(model, Exported):
            raise BadInput("--engine ray: a server is asked from here, several documents at a time with --batch.")
        for name, value in (("--workers", workers), ("--threads", asked.threads), ("--batch", asked.batch)):
            check_count(name, value)
        if importlib.util.find_spec("ray") is None:
            raise SlmbenchError("--engine ray needs Ray; install it with pip install 'slmbench[ray]'.")
        self.model: Model = model
        self.asked, self.workers, self.folder = asked, workers, model.folder

    def answers(self, inputs: Sequence[str], column: str | None, done: int) -> Iterator[Sequence[Judged]]:
        """The rows of all documents behind the first `done`, in their order, a unit at a time.

        Raises BadInput for standard input and as `documents` does; SlmbenchError where the cluster does not answer, or
        ends, or a worker cannot go on.
        """
        if STDIN in inputs:
            raise BadInput("--engine ray: standard input is read here alone; give files that every worker can read.")
        address = os.environ.get(ADDRESS, "").removeprefix("local")
        _check_address(address)
        told = {
            "inputs": list(inputs), "column": column, "done": done, "workers": self.workers, "address": address,
            "worker": {
                "version": __version__, "cwd": str(Path.cwd()), "folder": str(self.folder),
                "identity": dict(self.model.identity), "asked": dataclasses.asdict(self.asked), "column": column,
            },
        }  # fmt: skip
        with _process(address) as process:
            for message in process.ask(told):
                if begun := message.get("workers"):
                    say(f"ray       {begun} workers, threads of each: {message['threads']}")
                if rows := message.get("rows"):
                    yield [(row, doubtful) for row, doubtful in rows]
                if error := message.get("error"):
                    raise (BadInput if message.get("bad") else SlmbenchError)(error)
                if fault := message.get("fault"):
                    raise RuntimeError(f"in a worker: {fault}")


def _check_address(address: str) -> None:
    """Raise SlmbenchError where nothing listens at HOST:PORT: Ray itself tries for a quarter of an hour."""
    host, _, port = address.rpartition(":")
    if "/" in address or not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise SlmbenchError(_silent(address, str(error))) from None


def _silent(address: str, why: str) -> str:
    return f"{ADDRESS}={address}: no Ray cluster answers there ({why}); start it, or unset {ADDRESS} for this machine."


class _Process:
    """The process that Ray runs in; what it says on standard error is kept for the case that it ends badly."""

    def __init__(self, address: str, log: IO[bytes]) -> None:
        self.address, self.log, self.late = address, log, False
        # Ctrl-C is for the process that was started by hand, which then ends this one.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"from {__name__} import main; main()"], env=_environment(address),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
        )  # fmt: skip

    def ask(self, told: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """What it answers. Raises SlmbenchError where the cluster does not answer in time, or Ray ends badly."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(told).encode() + b"\n")
            self.process.stdin.flush()
        timer = threading.Timer(ANSWER_SECONDS, self._give_up)
        timer.daemon = True  # an interrupt does not wait for it
        for line in self.process.stdout:
            message = json.loads(line)
            if message.get("connecting"):
                timer.start()
                continue
            timer.cancel()
            yield message
        timer.cancel()
        if self.late:
            raise SlmbenchError(_silent(self.address, f"not in {ANSWER_SECONDS:.0f} s"))
        with contextlib.suppress(subprocess.TimeoutExpired):  # where it lingers all rows are here
            if code := self.process.wait(END_SECONDS):
                raise SlmbenchError(f"Ray ended ({self._last_words() or f'code {code}'}); {AGAIN}.")

    def end(self) -> None:
        """End it, and with it what Ray has started on this machine: in order, or where that takes long at once."""
        self.process.terminate()
        try:
            self.process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _give_up(self) -> None:
        self.late = True
        self.process.kill()

    def _last_words(self) -> str:
        self.log.seek(0)
        lines = self.log.read().decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return re.sub(r"^\[[^]]*\] \S+ ", "", last)[:200]  # without time, process and place


@contextlib.contextmanager
def _process(address: str) -> Iterator[_Process]:
    with tempfile.TemporaryFile() as log:
        process = _Process(address, log)
        try:
            yield process
        finally:
            process.end()


def _environment(address: str) -> dict[str, str]:
    """What Ray takes its settings from: nothing is sent home, and without a cluster nothing listens but on loopback.

    The key for servers is none of its business.
    """
    own = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    if not address:  # on Linux too, this alone makes Ray stay on 127.0.0.1
        own["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    return {**{name: value for name, value in os.environ.items() if name != KEY}, **own}


def main() -> None:
    """The process that Ray runs in."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)  # what Ray prints is no answer
        told = json.loads(sys.stdin.buffer.readline())
        threading.Thread(target=_end_with_parent, daemon=True).start()
        try:
            for line in _lines(told):
                out.write(line + "\n")
                out.flush()
        except SlmbenchError as error:
            out.write(json.dumps(_said(error)) + "\n")
        except Exception as error:  # Ray has many, of many lines
            out.write(json.dumps({"error": f"Ray: {_gist(error)}; {AGAIN}."}) + "\n")


def _end_with_parent() -> None:
    """Wait for the end of standard input, which a process that was killed leaves too."""
    while os.read(0, 1):  # not through `sys.stdin`, whose lock Python wants at its own end
        pass
    os.kill(os.getpid(), signal.SIGTERM)  # Ray's handler ends what it has started
    time.sleep(END_SECONDS)
    os._exit(1)


def _gist(error: Exception) -> str:
    """The line of an error that says what happened: the last that names one, else its first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception): ", line)]
    return (named[-1] if named else f"{type(error).__name__}: {lines[0] if lines else ''}")[:300]


def _said(error: SlmbenchError) -> dict[str, Any]:
    return {"error": str(error), "bad": isinstance(error, BadInput)}


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    """A line that says how many workers there are, then one for each unit, in their order."""
    cut = list(units(told["inputs"], told["column"], MOST, told["done"]))
    if not cut:
        return
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise SlmbenchError(f"--engine ray needs more ({error}): pip install 'slmbench[ray]'.") from None
    address, asked = told["address"], told["worker"]["asked"]
    if address:
        yield json.dumps({"connecting": True})
        ray.init(address=address, log_to_driver=False)
        cores = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        workers, threads = share_cores(cores, told["workers"], asked["threads"])
        if threads > max(cores, default=0) > 0:
            raise BadInput(f"--threads {threads}: no machine of the cluster has more than {max(cores)} cores.")
    else:
        workers, threads = share_cores([usable_cores()], told["workers"], asked["threads"])
        ray.init(
            address="local", num_cpus=workers * threads, num_gpus=0, include_dashboard=False, log_to_driver=False,
            object_store_memory=STORE_BYTES,
        )  # fmt: skip
    if len(cut) < SHARES * workers:
        size = max(1, sum(piece.length for unit in cut for piece in unit) // (SHARES * workers))
        cut = list(units(told["inputs"], told["column"], size, told["done"]))
    workers = min(workers, len(cut))
    yield json.dumps({"workers": workers, "threads": threads})
    settings = ray.data.DataContext.get_current()
    settings.enable_progress_bars = False
    settings.execution_options.preserve_order = True
    settings.max_consecutive_actor_init_deaths = TRIES
    settings.execution_no_progress_timeout_s = -1  # a unit takes as long as it takes
    told = {**told["worker"], "asked": {**asked, "threads": threads}}
    found = ray.data.from_items([{"unit": json.dumps(unit)} for unit in cut], override_num_blocks=len(cut)).map(
        Worker, fn_constructor_args=(told,), compute=ray.data.ActorPoolStrategy(size=workers), num_cpus=threads,
        max_restarts=-1, max_task_retries=TRIES - 1,
    )  # fmt: skip
    try:
        for block in found.iter_batches(batch_size=None, prefetch_batches=0):
            yield from block["rows"]
    except ray.exceptions.RayActorError as error:
        why = _gist(error)
        lacks = "ModuleNotFoundError" in why
        what = "install slmbench on all machines" if lacks else "where memory ran out, take fewer --workers"
        raise SlmbenchError(f"workers died {TRIES} times at the same place ({why}); {what}; {AGAIN}.") from None
    ray.shutdown()


def share_cores(cores: Sequence[int], workers: int | None, threads: int | None) -> tuple[int, int]:
    """(workers, threads of each) that take up the cores of each machine: what is given, and what follows from it."""
    most = max(cores, default=1) or 1
    if threads is None:
        threads = 1 if workers is None else min(most, max(1, sum(cores) // workers))
    if workers is None:
        workers = max(1, sum(count // threads for count in cores))
    return workers, threads


class Worker:
    """What answers units in a process of Ray's."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self.told = told
        self.extractor: Extractor | None = None

    def __call__(self, given: Mapping[str, Any]) -> dict[str, str]:
        """A unit's rows as a line of JSON: {rows: [[row, whether it is doubtful]...]}, and what ended them early."""
        unit = [Piece(*piece) for piece in json.loads(str(given["unit"]))]
        rows: list[Judged] = []
        answer: dict[str, Any] = {"rows": rows}
        try:
            extractor = self.extractor = self.extractor or self._open()
            for piece in unit:
                _check_seen(piece.path)
            for judged in extractor.judged(read_unit(unit, self.told["column"])):
                rows.append(judged)  # those before an error are rows as well
            if len(rows) < sum(piece.length for piece in unit):
                raise BadInput(f"{unit[-1].path}: it has fewer documents than were counted; leave it as it is.")
        except SlmbenchError as error:
            answer |= _said(error)
        except (OSError, MemoryError) as error:
            answer["error"] = f"a worker: {type(error).__name__}: {error}; {AGAIN}."
        except Exception:
            answer["fault"] = traceback.format_exc()
        return {"rows": json.dumps(answer)}

    def _open(self) -> Extractor:
        """The model. Raises SlmbenchError where a worker has another one than here, or another version of us."""
        if self.told["version"] != __version__:
            raise SlmbenchError(f"slmbench {__version__} on a worker, {self.told['version']} here: install the same.")
        with contextlib.suppress(OSError):  # paths from the root need it not
            os.chdir(self.told["cwd"])
        _check_seen(self.told["folder"])
        model = load_exported(Path(self.told["folder"]))
        if dict(model.identity) != self.told["identity"]:
            raise BadInput(f"{model.where}: another model on a worker than here; give a folder that all share.")
        return Extractor(model, Asked(**self.told["asked"]))


def _check_seen(path: str) -> None:
    if not Path(path).exists():
        raise BadInput(f"{path}: a worker does not see it; put documents and model where all workers do, by one path.")
