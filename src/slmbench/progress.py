"""A bar on a terminal, a line every ten seconds in a log: long work always says how far it is."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOG_SECONDS = 10.0


def say(line: str = "") -> None:
    """A line on standard error, where progress goes; standard output is for results.

    Of several processes that train together the first one speaks.
    """
    if os.environ.get("RANK", "0") == "0":
        print(line, file=sys.stderr, flush=True)


@contextmanager
def progress(label: str, total: float, unit: str = "", done: float = 0) -> Iterator[Callable[[float, str], None]]:
    """Yield `advance(step, note)`; it draws on standard error, so that standard output stays for results.

    `done` is what an earlier process did: it counts as progress, not as speed.
    """
    if sys.stderr.isatty() and os.environ.get("RANK", "0") == "0":
        yield from _bar(label, total, done)
    else:
        yield from _lines(label, total, unit, done)


def _bar(label: str, total: float, done: float) -> Iterator[Callable[[float, str], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total, completed=int(done), note="")

        def advance(step: float, note: str = "") -> None:
            bar.update(task, advance=step, note=note)

        yield advance


def _lines(label: str, total: float, unit: str, done: float) -> Iterator[Callable[[float, str], None]]:
    started = spoken = time.monotonic()
    before = done

    def advance(step: float, note: str = "") -> None:
        nonlocal done, spoken
        done += step
        now = time.monotonic()
        if now - spoken >= LOG_SECONDS:
            spoken = now
            left = (now - started) / (done - before) * (total - done) if done > before else 0
            say(f"{label}: {done:.0f}/{total:.0f} {unit} {note} ({left:.0f} s left)")

    yield advance
    say(f"{label}: done in {time.monotonic() - started:.0f} s")
