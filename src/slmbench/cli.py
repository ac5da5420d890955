"""The command line: its parser (`commands/`), what a verb ends with, and how an error is said."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from typing import Any

from slmbench import __version__
from slmbench.commands import data, hub, models, own, publish, recipes, runs
from slmbench.core import SlmbenchError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 for a failure, 2 for bad input."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = parser().parse_args(words, argparse.Namespace(words=words))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return int(arguments.call(arguments) or 0)
    except SlmbenchError as error:
        print(f"slmbench: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("slmbench: interrupted; give the same command again to go on where it was.", file=sys.stderr)
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except (OSError, MemoryError) as error:
        print(f"slmbench: {type(error).__name__}: {error}; nothing written before is lost.", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = _Parser(
        prog="slmbench",
        description="Small language models that turn text into JSON under a schema: trained and measured on a CPU.",
        epilog="Start with: slmbench run recipes/edge_json_135m.yaml --smoke",
    )
    top.add_argument("--version", action="version", version=f"slmbench {__version__}")
    verbs = top.add_subparsers(metavar="VERB", required=True)
    for part in (recipes, runs, publish, hub, models, own, data):
        part.add(verbs)
    return top


class _Parser(argparse.ArgumentParser):
    """Flags are written out: an abbreviation that works today would change its meaning with the next flag."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{**settings, "allow_abbrev": False})


if __name__ == "__main__":
    sys.exit(main())
