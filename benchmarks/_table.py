"""A generated table and its place in a document."""

from __future__ import annotations

import argparse
from pathlib import Path

from slmbench.files import write_atomic


def place(path: Path | None, table: str, begin: str, end: str, parser: argparse.ArgumentParser) -> None:
    """Print a table, or put it between the markers of a file."""
    if path is None:
        print(table)
        return
    text = path.read_text(encoding="utf-8")
    if begin not in text or end not in text:
        parser.error(f"{path} holds no {begin} and {end}: add both lines where the table belongs")
    write_atomic(path, replaced(text, table, begin, end))


def replaced(text: str, table: str, begin: str, end: str) -> str:
    """The text with the table between its markers."""
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
