"""Runs from outside, with real processes: started apart, listed, looked at, followed, stopped, killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from slmbench import operate
from slmbench.core import BadInput, SlmbenchError
from slmbench.files import read_jsonl_tolerant
from slmbench.operate import duration, find_run, logs, runs_table, status, status_lines, stop, watch
from slmbench.runs import Run, holder

SIXTY = ["--set", "train.epochs=60"]
SLEEPER = (
    "import sys, time; from pathlib import Path; from slmbench.runs import Run, check_stop\n"
    "run = Run(Path(sys.argv[1]), {'recipe': 'me'})\n"
    "with run.locked(), run.stage('train'):\n"
    "    print('in', flush=True)\n"
    "    while True:\n"
    "        time.sleep(0.01)\n"
    "        if sys.argv[2] == 'willing': check_stop()\n"
)


def until(what: Callable[[], Any], told: Callable[[], str] = str) -> Any:
    deadline = time.monotonic() + 120
    while not (found := what()):
        assert time.monotonic() < deadline, told()
        time.sleep(0.005)
    return found


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """A process that holds the run `runs/idle` and does nothing: `willing` to stop or not."""
    started: list[subprocess.Popen[str]] = []

    def begin(manner: str = "willing") -> subprocess.Popen[str]:
        code = f"import sys; sys.path[:0] = {sys.path!r}\n{SLEEPER}"
        command = [sys.executable, "-c", code, str(tmp_path / "runs" / "idle"), manner]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "in\n"
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_a_detached_run_is_seen_stopped_and_finished(
    recipe_file: Path, tmp_path: Path, start: Callable[..., Any], slmbench: Callable[..., Any]
) -> None:
    """Start, list, look, stop, and the same command ends it with every update there once."""
    runs = tmp_path / "runs"
    command = ["train", recipe_file, "--runs", runs, "--name", "long", *SIXTY]
    assert start(*command, "--detach").wait(120) == 0
    said = (tmp_path / "stderr").read_text()
    assert said.splitlines()[-1] == "long"
    try:
        process = holder(runs / "long")
        assert process is not None and process.pid != os.getpid() and os.getsid(process.pid) == process.pid
        until(lambda: len(read_jsonl_tolerant(runs / "long" / "train" / "history.jsonl")) > 2)
        facts = json.loads(slmbench("status", "long", "--runs", runs, "--json").out)
        assert (facts["state"], facts["stage"], facts["pid"]) == ("running", "train", process.pid)
        assert facts["updates"] == facts["total"] == 300 and 0 < facts["update"] < 300
        assert facts["left_s"] > 0 and facts["tokens_per_s"] > 0 and facts["checkpoints"]
        assert slmbench("runs", "--runs", runs).out.splitlines()[1].startswith("long  running  train  ")
        assert "another process is working here" in slmbench(*command, "--detach").sentence
        said = slmbench("stop", "long", "--runs", runs)
        assert said.code == 0
        assert said.out.startswith("long: stopped at update ")
        assert said.out.endswith(" of 300; the same command goes on from there\n")
    finally:
        if left := holder(runs / "long"):
            left.kill()
    facts = json.loads(slmbench("status", runs / "long", "--json").out)
    assert (facts["state"], facts["pid"], facts["left_s"] is None) == ("stopped", None, False)
    last = slmbench("logs", "long", "--runs", runs, "-n", "1").out
    assert last == "slmbench: stopped at your wish; the same command goes on from there.\n"
    assert slmbench(*command).code == 0
    history = [row for row in read_jsonl_tolerant(runs / "long" / "train" / "history.jsonl") if "loss" in row]
    assert [row["update"] for row in history] == list(range(1, 301))
    facts = json.loads(slmbench("runs", "--runs", runs, "--json").out)[0]
    assert (facts["state"], facts["stage"], facts["update"], facts["checkpoints"]) == ("partial", None, 300, [])
    assert facts["loss_trend"] is not None


def test_a_detached_run_that_fails_at_once_says_why(
    recipe_file: Path, tmp_path: Path, start: Callable[..., Any], slmbench: Callable[..., Any]
) -> None:
    arguments = ["run", recipe_file, "--runs", tmp_path / "runs", "--set", f"base={tmp_path}", "--detach"]
    process = start(*arguments)
    assert process.wait(60) == 2
    said = (tmp_path / "stderr").read_text()
    assert f"slmbench: {tmp_path}" in said and "Traceback" not in said
    assert slmbench("logs", "tiny", "--runs", tmp_path / "runs").out in said
    assert status(tmp_path / "runs" / "tiny")["state"] == "failed"
    assert slmbench("run", tmp_path / "none.yaml", "--detach").code == 2


def test_a_killed_run_is_called_killed(
    tmp_path: Path, sleeper: Callable[..., Any], slmbench: Callable[..., Any]
) -> None:
    process = sleeper()
    folder = tmp_path / "runs" / "idle"
    assert status(folder)["state"] == "running"
    process.send_signal(signal.SIGKILL)
    until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)  # nobody has asked for its end yet
    assert (status(folder)["state"], status(folder)["stage"]) == ("killed", "train")
    process.wait()
    assert json.loads(slmbench("status", "--runs", tmp_path / "runs", "--json").out)["state"] == "killed"
    assert "idle  killed" in slmbench("runs", "--runs", tmp_path / "runs").out
    assert slmbench("stop", "idle", "--runs", tmp_path / "runs").out == "idle: nothing is running (killed)\n"


def test_a_number_that_was_given_out_again_is_not_the_run(tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    """The lock names this very process with another start: it is neither shown as the run nor sent a signal."""
    run = Run(tmp_path / "r", {"recipe": "me"})
    run.note("ended", None)
    lock = {"pid": os.getpid(), "started": psutil.Process().create_time() - 3600}
    (tmp_path / "r" / "lock").write_text(json.dumps(lock))
    assert status(tmp_path / "r")["state"] == "killed"
    assert slmbench("stop", tmp_path / "r").out == "r: nothing is running (killed)\n"


def test_stop_waits_and_kills_only_when_told(
    tmp_path: Path, sleeper: Callable[..., Any], slmbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operate, "LOG_SECONDS", 0.0)
    process = sleeper("deaf")
    said = slmbench("stop", "idle", "--runs", tmp_path / "runs", "--timeout", "0.3")
    assert said.code == 1
    assert "waiting   idle: running, train" in said.err
    assert f"process {process.pid} is still at work after 0 s and will stop when it can" in said.sentence
    assert process.poll() is None
    said = slmbench("stop", "idle", "--runs", tmp_path / "runs", "--timeout", "0", "--kill")
    assert (said.code, process.poll() is None) == (0, False)
    assert said.out.startswith("idle: ") and said.out.endswith("; the same command goes on from there\n")


def test_stop_of_a_finished_run_is_one_sentence(finished: Path, slmbench: Callable[..., Any]) -> None:
    said = slmbench("stop", finished)
    assert (said.code, said.out) == (0, "tiny: nothing is running (finished)\n")


def test_a_finished_run_is_shown_with_its_result(finished: Path, slmbench: Callable[..., Any]) -> None:
    facts = status(finished)
    assert (facts["state"], facts["stage"], facts["pid"], facts["why"]) == ("finished", None, None, None)
    assert (facts["update"], facts["updates"], facts["checkpoints"]) == (10, 10, [])
    assert set(facts["stages"]) >= {"preflight", "train", "base/exam", "tuned/exam"}
    assert facts["disk_used_mib"] > 0 and facts["disk_free_gib"] > 0 and facts["hardware"]["rss_gib"] > 0
    assert facts["json_exact"] == json.loads((finished / "record.json").read_text())["metrics"]["json_exact"]["value"]
    text = slmbench("status", finished).out
    for part in ("tiny: finished ", "update 10 of 10, epoch 2", "JSONExact", "GiB free", "hardware  processor"):
        assert part in text
    assert slmbench("watch", finished).out.startswith("tiny: finished, loss ")


def test_watch_without_a_terminal_says_a_line_and_ends_with_the_run(
    tmp_path: Path, sleeper: Callable[..., Any], slmbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper()
    folder = tmp_path / "runs" / "idle"
    real = operate._wait

    def end(place: Path, seconds: float) -> None:
        psutil.Process(json.loads((folder / "lock").read_text())["pid"]).terminate()
        real(place, seconds)

    monkeypatch.setattr(operate, "_wait", end)
    assert slmbench("watch", "idle", "--runs", tmp_path / "runs").out == "idle: running, train\nidle: stopped, train\n"


def test_watch_on_a_terminal_draws_until_ctrl_c(
    tmp_path: Path, sleeper: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    process = sleeper()

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(operate, "_wait", interrupt)
    watch(tmp_path / "runs" / "idle")
    out, err = capsys.readouterr()
    assert "idle: running, process" in out
    assert "no longer watched; slmbench stop" in err
    assert process.poll() is None


def test_logs_follow_until_the_run_ends(
    tmp_path: Path, sleeper: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    process = sleeper()
    folder = tmp_path / "runs" / "idle"
    (folder / "log").write_text("one\ntwo\nthree")
    logs(folder, 2, follow=False)
    assert capsys.readouterr().out == "two\nthree"
    logs(folder, 0, follow=False)
    assert capsys.readouterr().out == ""
    process.terminate()
    logs(folder, 1, follow=True)
    assert capsys.readouterr().out == "three"
    assert process.wait() == 1


def test_logs_of_a_run_in_the_foreground(finished: Path, slmbench: Callable[..., Any]) -> None:
    said = slmbench("logs", finished)
    assert (said.code, "only runs started with --detach keep one" in said.sentence) == (2, True)


def test_a_run_is_found_by_name_folder_or_age(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no runs; start one with slmbench run RECIPE"):
        find_run(None, tmp_path)
    for age, name in enumerate(("new", "old")):
        Run(tmp_path / name, {"recipe": "me"}).note("a", 1)
        os.utime(tmp_path / name / "state.json", (1e9 - age, 1e9 - age))
    assert find_run(None, tmp_path) == tmp_path / "new"
    assert find_run("old", tmp_path) == find_run(str(tmp_path / "old"), Path("elsewhere")) == tmp_path / "old"
    with pytest.raises(BadInput, match=r"odl: there is no such run; .* holds new, old\. Give a name"):
        find_run("odl", tmp_path)


def test_no_runs_is_a_sentence(tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    said = slmbench("runs", "--runs", tmp_path)
    assert (said.code, said.out) == (0, runs_table([])[0] + "\n")


@pytest.mark.parametrize(
    ("ended", "published", "state"),
    [
        ({}, False, "killed"),  # a run of a version that noted no end
        ({}, True, "finished"),
        ({"ended": None}, True, "killed"),
        ({"ended": {"how": "well", "why": ""}}, False, "partial"),
        ({"ended": {"how": "well", "why": ""}}, True, "finished"),
        ({"ended": {"how": "failed", "why": "the disk is full"}}, False, "failed"),
        ({"ended": {"how": "stopped", "why": ""}}, True, "stopped"),
    ],
)
def test_what_became_of_a_run(
    ended: dict[str, Any], published: bool, state: str, tmp_path: Path, finished: Path
) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "state.json").write_text(json.dumps({"made_of": {"recipe": "me"}, "stages": {}, **ended}))
    if published:
        shutil.copy(finished / "record.json", tmp_path / "r")
    facts = status(tmp_path / "r")
    assert facts["state"] == state
    assert facts["why"] == (ended.get("ended") or {}).get("why") or facts["why"] is None
    assert (state != "failed") or status_lines(facts)[0].endswith(": the disk is full")


def test_documents_are_counted_and_their_time_foretold(tmp_path: Path) -> None:
    """Two processes took 8 s over 4 of 12 documents: 16 s are left, whatever the clock says."""
    run = Run(tmp_path / "r", {"recipe": "me"})
    run.note("stage", {"name": "base/exam", "started": time.time(), "total": 12})
    run.write("base/exam.jsonl", '{"id":1}\n' * 4 + '{"id"')
    run.write("hardware.jsonl", "".join(json.dumps({"stage": s, "seconds": 4.0}) + "\n" for s in ("base/exam",) * 2))
    facts = status(tmp_path / "r")
    assert (facts["done"], facts["total"], facts["left_s"]) == (4, 12, 16.0)


def test_the_trend_is_of_the_last_twenty_against_those_before(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", {"recipe": "me"})
    run.note("a", 1)
    rows = [{"update": i, "epoch": 1, "loss": 3.0 if i <= 20 else 2.5, "tokens_per_s": 9.0} for i in range(1, 41)]
    run.write("train/history.jsonl", "".join(json.dumps(row) + "\n" for row in rows[:39]))
    assert status(tmp_path / "r")["loss_trend"] is None
    run.write("train/history.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert status(tmp_path / "r")["loss_trend"] == -0.5
    assert "loss      2.5000, -0.5000 over 20 updates" in status_lines(status(tmp_path / "r"))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3725, "1 h 2 min"), (90000, "1 d 1 h")],
)
def test_durations_in_words(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_another_users_run_is_a_sentence(
    tmp_path: Path, sleeper: Callable[..., Any], slmbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = sleeper()

    def denied(self: psutil.Process) -> None:
        raise psutil.AccessDenied(self.pid)

    monkeypatch.setattr(psutil.Process, "terminate", denied)
    said = slmbench("stop", "idle", "--runs", tmp_path / "runs")
    assert (said.code, "idle: is another user's run" in said.sentence, process.poll()) == (1, True, None)


def test_a_run_that_ends_before_it_can_stop(
    tmp_path: Path, sleeper: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper()
    folder = tmp_path / "runs" / "idle"
    monkeypatch.setattr(operate, "status", lambda _: {"state": "finished", "stage": None, "update": 3, "updates": 3})
    assert stop(folder, 60, kill=False) == "idle: it had reached its end before it could stop (finished)"


def test_a_folder_for_the_log_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SlmbenchError, match="log: cannot be written"):
        operate.detach(["run"], tmp_path / "file" / "r")
