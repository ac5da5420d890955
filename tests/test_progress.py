"""Long work says how far it is: a line now and then in a log, a bar on a terminal, never on standard output."""

from __future__ import annotations

import io
import sys

import pytest

from slmbench import progress as module
from slmbench.progress import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_every_ten_seconds(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress("train", 100, "tokens") as advance:
        for _ in range(8):
            clock[0] += 5
            advance(10, "loss 1")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "train: 20/100 tokens loss 1 (40 s left)",
        "train: 40/100 tokens loss 1 (30 s left)",
        "train: 60/100 tokens loss 1 (20 s left)",
        "train: 80/100 tokens loss 1 (10 s left)",
        "train: done in 40 s",
    ]


def test_what_was_done_before_does_not_count_as_speed(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress("train", 100, "tokens", done=80) as advance:
        clock[0] += 10
        advance(10, "")
    assert capsys.readouterr().err.startswith("train: 90/100 tokens  (10 s left)\n")


def test_work_that_fails_is_not_called_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), progress("train", 1, "") as advance:
        advance(1 / 0, "")
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress("train", 4, "tokens", done=1) as advance:
        advance(3, "loss 1.25")
    assert "train" in terminal.getvalue()
    assert "100%" in terminal.getvalue()
    assert "loss 1.25" in terminal.getvalue()
