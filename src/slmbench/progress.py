"""A bar on a terminal, a line every ten seconds in a log: long work always says how far it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOG_SECONDS = 10.0


@contextmanager
def progress(label: str, total: float, unit: str = "") -> Iterator[Callable[[float, str], None]]:
    """Yield `advance(step, note)`; it draws on standard error, so that standard output stays for results."""
    if sys.stderr.isatty():
        yield from _bar(label, total)
    else:
        yield from _lines(label, total, unit)


def _bar(label: str, total: float) -> Iterator[Callable[[float, str], None]]:
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
        task = bar.add_task(label, total=total, note="")

        def advance(step: float, note: str = "") -> None:
            bar.update(task, advance=step, note=note)

        yield advance


def _lines(label: str, total: float, unit: str) -> Iterator[Callable[[float, str], None]]:
    started = spoken = time.monotonic()
    done = 0.0

    def advance(step: float, note: str = "") -> None:
        nonlocal done, spoken
        done += step
        now = time.monotonic()
        if now - spoken >= LOG_SECONDS:
            spoken = now
            left = (now - started) / done * (total - done) if done else 0
            print(f"{label}: {done:.0f}/{total:.0f} {unit} {note} ({left:.0f} s left)", file=sys.stderr, flush=True)

    yield advance
    print(f"{label}: done in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
