"""A generated table: printed, or put into its place in a document."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slmbench.files import read_json, write_atomic

NOTHING = "Nothing has been measured yet."


def command(
    says: str | None, table: Callable[[], str], begin: str, end: str, argv: Sequence[str] | None,
    keep: Callable[[Path], Sequence[Path]] | None = None,
) -> None:  # fmt: skip
    """The command line of a script that makes one table: print it, or with --write replace what a file has of it.

    `keep` writes what the table counts as results into a folder, where --results names one: their paths.
    """
    parser = argparse.ArgumentParser(description=says, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="FILE", help=f"replace what stands between {begin} and {end}")
    if keep:
        parser.add_argument("--results", type=Path, metavar="DIR", help="keep the answers as results there instead")
    arguments = parser.parse_args(argv)
    if keep and arguments.results:
        print(*keep(arguments.results), sep="\n")
        return
    path = arguments.write
    if path is None:
        print(table())
        return
    text = path.read_text(encoding="utf-8")
    if begin not in text or end not in text:
        parser.error(f"{path} holds no {begin} and {end}: add both lines where the table belongs")
    write_atomic(path, replaced(text, table(), begin, end))


def measured(folder: Path, script: str) -> dict[str, Any]:
    """What a script has written into a folder, by name; {} where there is nothing yet."""
    return {path.stem: read_json(path, f"give a file that {script} wrote") for path in sorted(folder.glob("*.json"))}


def tables(folder: Path, script: str, table: Callable[[Any], str]) -> str:
    """Markdown: the table of each of these, under its name."""
    return "\n\n".join(f"`{name}`:\n\n{table(one)}" for name, one in measured(folder, script).items()) or NOTHING


def replaced(text: str, table: str, begin: str, end: str) -> str:
    """The text with the table between its markers."""
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
