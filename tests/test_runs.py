"""A run's folder: whose it is, what is done, one process at a time, damage told in a sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest

from slmbench.config import Training
from slmbench.core import BadInput, SlmbenchError
from slmbench.monitor import read_lines
from slmbench.runs import Run, Stopped, check_stop, code_hash, holder


def test_a_stage_is_done_when_it_ended_well(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", {"recipe": "me"})
    with pytest.raises(KeyboardInterrupt), run.stage("train"):
        raise KeyboardInterrupt
    assert not Run(tmp_path / "r", {"recipe": "me"}).done("train")
    run = Run(tmp_path / "r", {"recipe": "me"})
    run.state["unfinished"]["train"] = 100.0
    with run.stage("train"):
        pass
    again = Run(tmp_path / "r", {"recipe": "me"})
    assert again.done("train")
    assert 100 <= again.seconds()["train"] < 101
    assert again.state["unfinished"] == {}


def test_the_code_at_work_is_kept_by_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path / "r", {"recipe": "me"})
    for name, code in (("base", "a"), ("train", "a"), ("tuned", "b")):
        monkeypatch.setattr("slmbench.runs.code_hash", lambda code=code: code)
        with run.stage(name):
            pass
    run = Run(tmp_path / "r", {"recipe": "me"})
    assert run.code(["base", "train"]) == "a"
    assert run.code(["train", "tuned"]) is None  # not one
    assert run.code(["base", "other"]) is None  # not known
    with pytest.raises(KeyboardInterrupt), run.stage("half"):
        raise KeyboardInterrupt
    monkeypatch.setattr("slmbench.runs.code_hash", lambda: "c")
    with run.stage("half"):
        pass
    assert run.state["code"]["half"] == ["b", "c"] and run.code(["half"]) is None
    run.state["unfinished"]["old"] = 3.0  # by a process that kept no hash
    with run.stage("old"):
        pass
    assert run.code(["old"]) is None


def test_the_hash_of_the_code_is_that_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slmbench.runs.SOURCE", tmp_path)

    def hashed(**files: str) -> str:
        for name, text in files.items():
            (tmp_path / name.replace("_", ".")).write_text(text)
        return code_hash.__wrapped__()

    first = hashed(a_py="1", b_c="2")
    assert hashed(notes_txt="x", a_pyc="x") == first == hashed()
    assert len({first, hashed(a_py="2"), hashed(c_h="")}) == 3


def test_notes_and_files_are_kept(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", {"recipe": "me"})
    run.note("created", "today")
    run.write("card.md", "# ü")
    assert Run(tmp_path / "r", {"recipe": "me"}).state["created"] == "today"
    assert (tmp_path / "r" / "card.md").read_text(encoding="utf-8") == "# ü"


def test_a_folder_of_another_recipe_is_refused(tmp_path: Path) -> None:
    Run(tmp_path / "r", {"recipe": "me"}).note("a", 1)
    with pytest.raises(BadInput, match="holds another run: recipe is 'me' there and 'you' here; give another --name"):
        Run(tmp_path / "r", {"recipe": "you"})


def test_a_setting_that_an_earlier_version_did_not_know_is_at_its_default(tmp_path: Path) -> None:
    train = asdict(Training())
    before = {"recipe": {"train": {key: value for key, value in train.items() if key != "stratified"}}}
    Run(tmp_path / "r", before).note("a", 1)
    assert Run(tmp_path / "r", {"recipe": {"train": train}}).state["a"] == 1
    with pytest.raises(BadInput, match=r"recipe.train.stratified is False there and True here"):
        Run(tmp_path / "r", {"recipe": {"train": {**train, "stratified": True}}})


def test_two_processes_never_write_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from slmbench.runs import Run\n"
        "with Run(Path(sys.argv[1]), {'recipe': 'me'}).locked(): print('in', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}", str(tmp_path / "r")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "in\n"
        with (
            pytest.raises(BadInput, match="another process is working here"),
            Run(tmp_path / "r", {"recipe": "me"}).locked(),
        ):
            pytest.fail("both were let in")
        other.kill()
    assert holder(tmp_path / "r") is None
    with Run(tmp_path / "r", {"recipe": "me"}).locked():
        lock = json.loads((tmp_path / "r" / "lock").read_text())
        assert lock == {"pid": os.getpid(), "started": psutil.Process().create_time()}
        assert holder(tmp_path / "r") == psutil.Process()


@pytest.mark.parametrize(
    "lock",
    [
        {"pid": os.getpid(), "started": psutil.Process().create_time() - 60},  # the number was given out again
        {"pid": 2**22 + 1, "started": 0.0},
        {"pid": os.getpid()},
        os.getpid(),
        "",
    ],
    ids=["another process's number", "a number too high", "no time", "a number alone", "empty"],
)
def test_a_lock_of_a_process_that_is_gone_holds_nothing(tmp_path: Path, lock: Any) -> None:
    (tmp_path / "lock").write_text(json.dumps(lock))
    assert holder(tmp_path) is None


def test_the_first_term_asks_and_the_second_interrupts(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", {"recipe": "me"})
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped, match="stopped at your wish; the same command goes on from there"), run.locked():
        check_stop()
        signal.raise_signal(signal.SIGTERM)
        with run.stage("train"):
            pytest.fail("a stage began after the wish to stop")
    assert (run.state["ended"]["how"], run.state["stages"]) == ("stopped", {})
    with pytest.raises(KeyboardInterrupt), run.locked():
        check_stop()  # an earlier wish is not kept
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    assert run.state["ended"]["how"] == "stopped"
    assert signal.getsignal(signal.SIGTERM) == before


def test_how_a_run_ended_is_noted_and_cleared(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", {"recipe": "me"})
    with pytest.raises(SlmbenchError), run.locked():
        assert run.state["ended"] is None
        raise SlmbenchError("no disk")
    assert Run(tmp_path / "r", {"recipe": "me"}).state["ended"] == {"how": "failed", "why": "no disk"}
    with run.locked(), run.stage("train", 7):
        state = Run(tmp_path / "r", {"recipe": "me"}).state
        assert (state["ended"], state["stage"]["name"], state["stage"]["total"]) == (None, "train", 7)
    state = Run(tmp_path / "r", {"recipe": "me"}).state
    assert (state["ended"]["how"], state["stage"]) == ("well", None)


def test_the_hardware_is_sampled_beside_a_stage(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", {"recipe": "me"})
    with run.locked(), run.stage("train"):
        pass
    assert [line["stage"] for line in read_lines(tmp_path / "r" / "hardware.jsonl")] == ["train"]


def test_a_place_that_cannot_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(SlmbenchError, match="cannot be written"),
        Run(tmp_path / "file" / "r", {"recipe": "me"}).locked(),
    ):
        pytest.fail("let in")


@pytest.mark.parametrize("content", [b"{", b"[]", b'"\xff"'])
def test_a_damaged_state_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.json").write_bytes(content)
    with pytest.raises(BadInput, match=r"state\.json: .*delete it and give the same command again"):
        Run(tmp_path, {"recipe": "me"})
