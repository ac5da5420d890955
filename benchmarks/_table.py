"""A generated table: printed, or put into its place in a document."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from slmbench.files import write_atomic


def command(says: str | None, table: Callable[[], str], begin: str, end: str, argv: Sequence[str] | None) -> None:
    """The command line of a script that makes one table: print it, or with --write replace what a file has of it."""
    parser = argparse.ArgumentParser(description=says, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="FILE", help=f"replace what stands between {begin} and {end}")
    path = parser.parse_args(argv).write
    if path is None:
        print(table())
        return
    text = path.read_text(encoding="utf-8")
    if begin not in text or end not in text:
        parser.error(f"{path} holds no {begin} and {end}: add both lines where the table belongs")
    write_atomic(path, replaced(text, table(), begin, end))


def replaced(text: str, table: str, begin: str, end: str) -> str:
    """The text with the table between its markers."""
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
