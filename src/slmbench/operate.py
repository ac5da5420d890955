"""Runs from outside: start one that outlives its terminal, list them, look at one, follow it, end it.

Everything is read from the files of `runs/NAME`. A process is touched only to end it, and only if its number and its
start are those that it wrote into the run's lock.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from slmbench.core import BadInput, SlmbenchError
from slmbench.files import read_json
from slmbench.monitor import gib, known, read_lines
from slmbench.progress import LOG_SECONDS, say
from slmbench.runs import holder

TREND_UPDATES = 20
POLL_SECONDS = 0.2
WATCH_SECONDS = 1.0
EXIT_SECONDS = 5.0
LAST_LINES = 10
"""Lines of a log that are shown of a detached run that ended at once."""


# ---- which run


def all_runs(runs: Path) -> list[Path]:
    """The runs of a folder, the latest last."""
    return [path.parent for path in sorted(runs.glob("*/state.json"), key=lambda path: path.stat().st_mtime)]


def find_run(run: str | None, runs: Path) -> Path:
    """The folder of a run by its name or as a folder; without either, the latest. Raises BadInput if there is none."""
    there = all_runs(runs)
    if run is None:
        if not there:
            raise BadInput(f"{runs}: holds no runs; start one with slmbench run RECIPE, or give --runs.")
        return there[-1]
    for folder in (runs / run, Path(run)):
        if (folder / "state.json").is_file() or (folder / "log").is_file():
            return folder
    names = ", ".join(sorted(path.name for path in there)) or "none"
    raise BadInput(f"{run}: there is no such run; {runs} holds {names}. Give a name, a folder, or --runs.")


# ---- what it is doing


def status(folder: Path) -> dict[str, Any]:
    """All that is known of a run, as JSON values; None is not known. Times are seconds.

    `state` is `running`; `finished` (published); `partial` (a verb such as `train` ended well and more is to do);
    `stopped`; `failed`, with its sentence in `why`; or `killed`. `done` and `total` count the updates or documents of
    the stage at work. `loss_trend` is the mean of the last 20 losses less that of the 20 before.
    """
    process, state = holder(folder), _state(folder)
    stage = state.get("stage") or {}
    history = read_lines(folder / "train" / "history.jsonl")
    hardware = read_lines(folder / "hardware.jsonl")
    losses, validations = known(history, "loss"), known(history, "validation_loss")
    last = next((row for row in reversed(history) if "loss" in row), {})
    record = _record(folder)
    done, total = _progress(folder, state, last)
    spent = sum(known([line for line in hardware if line.get("stage") == stage.get("name")], "seconds"))
    return {
        "name": folder.resolve().name,
        "folder": str(folder),
        "state": "running" if process else _ended(state, bool(record)),
        "why": (state.get("ended") or {}).get("why") or None,
        "pid": process.pid if process else None,
        "age_s": _age(folder / "state.json"),
        "stage": stage.get("name"),
        "stage_s": round(time.time() - stage["started"], 1) if process and stage else None,
        "stages": {name: part["seconds"] for name, part in state.get("stages", {}).items()},
        "done": done,
        "total": total,
        # Training counts its own seconds; those of other stages are the hardware's samples of them, over all processes.
        "left_s": _left(last.get("seconds", 0) if stage.get("name") == "train" else spent, done, total),
        "update": last.get("update"),
        "updates": state.get("total_updates"),
        "epoch": last.get("epoch"),
        "loss": last.get("loss"),
        "loss_trend": _trend(losses),
        "validation_loss": validations[-1] if validations else None,
        "tokens_per_s": last.get("tokens_per_s"),
        "json_exact": record.get("metrics", {}).get("json_exact", {}).get("value"),
        "checkpoints": _checkpoints(folder),
        "disk_used_mib": round(sum(_size(path) for path in folder.rglob("*")) / 2**20, 1),
        "disk_free_gib": gib(psutil.disk_usage(str(folder)).free),
        "hardware": hardware[-1] if hardware else None,
    }


def _state(folder: Path) -> dict[str, Any]:
    path = folder / "state.json"
    return read_json(path, "delete it and give the run's command again") if path.exists() else {}


def _record(folder: Path) -> dict[str, Any]:
    """The record of a run that has one; empty for others."""
    path = folder / "record.json"
    return read_json(path, "give the run's command again") if path.exists() else {}


def _ended(state: dict[str, Any], published: bool) -> str:
    """What became of a run that no process is at work on."""
    if not state:
        return "failed"  # before it had anything to keep: only a detached one has left a log
    ended = state.get("ended", {"how": "well"} if published else None)
    if ended is None:
        return "killed"
    if ended["how"] != "well":
        return str(ended["how"])
    return "finished" if published else "partial"


def _progress(folder: Path, state: dict[str, Any], last: dict[str, Any]) -> tuple[int | None, int | None]:
    """How much of the stage at work is done, and how much there is: updates of training, documents of a test set."""
    stage = state.get("stage") or {}
    if stage.get("name") == "train":
        return last.get("update", 0), state.get("total_updates")
    if stage.get("total") is None:
        return None, None
    return len(read_lines(folder / f"{stage['name']}.jsonl")), stage["total"]


def _left(spent: float, done: int | None, total: int | None) -> float | None:
    """Seconds to the end of the stage at its pace so far."""
    return round(spent / done * (total - done), 1) if spent and done and total else None


def _trend(losses: Sequence[float]) -> float | None:
    if len(losses) < 2 * TREND_UPDATES:
        return None
    now, before = losses[-TREND_UPDATES:], losses[-2 * TREND_UPDATES : -TREND_UPDATES]
    return round((sum(now) - sum(before)) / TREND_UPDATES, 6)


def _checkpoints(folder: Path) -> list[dict[str, Any]]:
    return [
        {"file": path.name, "age_s": _age(path), "mib": round(_size(path) / 2**20, 1)}
        for path in sorted((folder / "train").glob("[!.]*.safetensors"))
    ]


def _age(path: Path) -> int | None:
    """Seconds since a file was written; None where there is none (any more)."""
    with contextlib.suppress(OSError):
        return round(time.time() - path.stat().st_mtime)
    return None


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size if path.is_file() else 0
    return 0


# ---- in words


def status_lines(facts: dict[str, Any]) -> list[str]:
    """A run's status as lines for a terminal, only with what is known."""
    head = f"{facts['name']}: {facts['state']}"
    if facts["pid"]:
        head += f", process {facts['pid']}"
    elif facts["age_s"] is not None:
        head += f" {duration(facts['age_s'])} ago"
    lines = [head + (f": {facts['why']}" if facts["why"] and not facts["pid"] else "")]
    if facts["stage"]:
        told = [facts["stage"]]
        told += [f"for {duration(facts['stage_s'])}"] if facts["stage_s"] is not None else []
        told += [f"{facts['done']} of {facts['total']}"] if facts["total"] else []
        told += [f"{duration(facts['left_s'])} left in this stage"] if facts["left_s"] and facts["pid"] else []
        lines.append("stage     " + ", ".join(told))
    if facts["stages"]:
        lines.append("done      " + ", ".join(f"{name} {duration(s)}" for name, s in facts["stages"].items()))
    if facts["update"]:
        total = f" of {facts['updates']}" if facts["updates"] else ""
        told = [f"update {facts['update']}{total}", f"epoch {facts['epoch']}", f"{facts['tokens_per_s']:.0f} tokens/s"]
        lines.append("training  " + ", ".join(told))
        told = [f"{facts['loss']:.4f}"]
        told += [f"{facts['loss_trend']:+.4f} over {TREND_UPDATES} updates"] if facts["loss_trend"] is not None else []
        told += [f"validation {facts['validation_loss']:.4f}"] if facts["validation_loss"] is not None else []
        lines.append("loss      " + ", ".join(told))
    if facts["json_exact"] is not None:
        lines.append(f"result    JSONExact {100 * facts['json_exact']:.1f} %")
    for one in facts["checkpoints"]:
        lines.append(f"saved     {one['file']}, {one['mib']} MiB, {duration(one['age_s'])} ago")
    lines.append(f"disk      {facts['disk_used_mib']} MiB used, {facts['disk_free_gib']:.1f} GiB free")
    if facts["hardware"]:
        lines.append("hardware  " + hardware_text(facts["hardware"]))
    return lines


def hardware_text(line: dict[str, Any]) -> str:
    """One sample of the hardware in words."""
    words = {
        "cpu_machine": "processor {} %",
        "cpu_process": "{} % by the run",
        "cpu_temperature_c": "{} °C",
        "rss_gib": "memory {} GiB by the run",
        "memory_free_gib": "{} GiB free",
    }
    gpu_words = {"use": "{} %", "memory_gib": "{} GiB", "temperature_c": "{} °C", "power_w": "{} W"}
    told = [text.format(line[key]) for key, text in words.items() if key in line]
    for number, gpu in enumerate(line.get("gpus", [])):
        parts = [text.format(gpu[key]) for key, text in gpu_words.items() if key in gpu]
        told.append(f"GPU {number}: {' '.join(parts)}")
    return ", ".join(told)


def duration(seconds: float | None) -> str:
    """Seconds in the two units that suit them: `42 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`."""
    left = round(seconds or 0)
    for unit, lower, size, small in (("d", "h", 86400, 3600), ("h", "min", 3600, 60), ("min", "s", 60, 1)):
        if left >= size:
            return f"{left // size} {unit} {left % size // small} {lower}"
    return f"{left} s"


def runs_table(listed: Sequence[dict[str, Any]]) -> list[str]:
    """The runs as aligned lines under a head; one sentence where there are none."""
    if not listed:
        return ["no runs yet: slmbench run recipes/edge_json_135m.yaml --smoke makes one"]
    head = ("run", "state", "stage", "update", "loss", "JSONExact", "age")
    rows = [head, *(_row(facts) for facts in listed)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(facts: dict[str, Any]) -> tuple[str, ...]:
    update = "–" if facts["update"] is None else f"{facts['update']}/{facts['updates'] or '?'}"
    loss = "–" if facts["loss"] is None else f"{facts['loss']:.4f}"
    exact = "–" if facts["json_exact"] is None else f"{100 * facts['json_exact']:.1f} %"
    return (facts["name"], facts["state"], facts["stage"] or "–", update, loss, exact, duration(facts["age_s"]))


# ---- start, follow, end


def detach(words: Sequence[str], folder: Path) -> int:
    """Start `slmbench WORDS` in a session of its own, its output appended to the run's `log`.

    Returns 0 once it holds the run's folder, or the exit code that it ended with before, its last lines told.
    """
    if holder(folder):
        raise BadInput(f"{folder}: another process is working here; wait for it to end.")
    path = folder / "log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log = path.open("ab")
    except OSError as error:
        raise SlmbenchError(f"{path}: cannot be written ({error.strerror}); choose another --runs.") from error
    with log:
        start = log.tell()
        command = [sys.executable, "-m", "slmbench.cli", *(word for word in words if word != "--detach")]
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    say(f"started   process {child.pid}; what it says goes to {path}")
    try:
        while child.poll() is None:
            if (at_work := holder(folder)) and at_work.pid == child.pid:
                with warnings.catch_warnings():
                    # It is meant to outlive this object.
                    warnings.simplefilter("ignore", ResourceWarning)
                    del child
                return 0
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        child.terminate()
        raise
    if child.returncode:
        for line in path.read_bytes()[start:].decode("utf-8", "replace").splitlines()[-LAST_LINES:]:
            say(line)
    return child.returncode


def watch(folder: Path) -> None:
    """Show a run's status until it ends: drawn anew each second on a terminal, else a line every ten seconds.

    Ctrl-C ends the watching and leaves the run alone.
    """
    try:
        if sys.stdout.isatty():
            _watch_live(folder)
        else:
            while (facts := status(folder))["pid"]:
                print(_short(facts), flush=True)
                _wait(folder, LOG_SECONDS)
            print(_short(facts))
    except KeyboardInterrupt:
        say(f"no longer watched; slmbench stop {folder} ends the run")


def _wait(folder: Path, seconds: float) -> None:
    """Wait so long, or until nothing is at work on the run."""
    end = time.monotonic() + seconds
    while holder(folder) and time.monotonic() < end:
        time.sleep(POLL_SECONDS)


def _short(facts: dict[str, Any]) -> str:
    """A status in one line."""
    parts = [f"{facts['name']}: {facts['state']}"]
    parts += [facts["stage"]] if facts["stage"] else []
    parts += [f"{facts['done']}/{facts['total']}"] if facts["total"] else []
    parts += [f"loss {facts['loss']:.4f}"] if facts["loss"] is not None else []
    parts += [f"{facts['tokens_per_s']:.0f} tokens/s"] if facts["tokens_per_s"] else []
    parts += [f"{duration(facts['left_s'])} left"] if facts["left_s"] and facts["pid"] else []
    return ", ".join(parts)


def _watch_live(folder: Path) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    def view(facts: dict[str, Any]) -> Group:
        bar = [ProgressBar(total=facts["total"], completed=facts["done"])] if facts["total"] else []
        return Group(Text("\n".join(status_lines(facts))), *bar)

    facts = status(folder)
    with Live(view(facts), auto_refresh=False) as live:
        while facts["pid"]:
            _wait(folder, WATCH_SECONDS)
            facts = status(folder)
            live.update(view(facts), refresh=True)


def logs(folder: Path, lines: int, follow: bool) -> None:
    """Print the last lines of what a detached run said, and with `follow` what it says until it ends or Ctrl-C."""
    path = folder / "log"
    if not path.is_file():
        raise BadInput(f"{path}: there is no log; only runs started with --detach keep one.")
    with path.open("rb") as log, contextlib.suppress(KeyboardInterrupt):
        text = log.read().decode("utf-8", "replace")
        print("".join(text.splitlines(keepends=True)[-lines:] if lines > 0 else []), end="", flush=True)
        while follow:
            at_work = holder(folder)  # asked before the reading, so that the last words are not missed
            print(log.read().decode("utf-8", "replace"), end="", flush=True)
            if at_work is None:
                break
            time.sleep(POLL_SECONDS)


def stop(folder: Path, timeout: float, kill: bool) -> str:
    """End a run where it loses nothing, and say in a sentence where that was.

    Sends SIGTERM and waits; training ends at its next update, evaluation at its next answer. Raises SlmbenchError after
    `timeout` seconds, or with `kill` ends the process there and then.
    """
    process = holder(folder)
    name = folder.resolve().name
    if process is None:
        return f"{name}: nothing is running ({status(folder)['state']})"
    _send(process.terminate, name)
    if not _gone(folder, process, timeout):
        if not kill:
            raise SlmbenchError(
                f"{name}: process {process.pid} is still at work after {timeout:.0f} s and will stop when it can;"
                " wait for it. A second stop interrupts it at once, and --kill kills it: what is not saved yet is lost."
            )
        _send(process.kill, name)
        _gone(folder, process, EXIT_SECONDS)
    facts = status(folder)
    place = f" at update {facts['update']}" if facts["update"] else ""
    place += f" of {facts['updates']}" if facts["update"] and facts["updates"] else ""
    if facts["state"] in ("finished", "partial"):
        return f"{name}: it had reached its end before it could stop ({facts['state']})"
    return f"{name}: {facts['state']}{place}; the same command goes on from there"


def _send(signal: Callable[[], None], name: str) -> None:
    """Send a signal; psutil looks once more that the number is still the same process."""
    try:
        with contextlib.suppress(psutil.NoSuchProcess):
            signal()
    except psutil.AccessDenied:
        raise SlmbenchError(f"{name}: is another user's run; ask them to stop it.") from None


def _gone(folder: Path, process: psutil.Process, timeout: float) -> bool:
    """Wait until a process no longer holds a run's folder, with a line now and then; False after `timeout` seconds."""
    start = spoken = time.monotonic()
    while (at_work := holder(folder)) and at_work.pid == process.pid:
        now = time.monotonic()
        if now - start >= timeout:
            return False
        if now - spoken >= LOG_SECONDS:
            spoken = now
            say(f"waiting   {_short(status(folder))}")
        time.sleep(POLL_SECONDS)
    with contextlib.suppress(psutil.TimeoutExpired):
        process.wait(EXIT_SECONDS)  # for its last words; it may also live on without the run
    return True
