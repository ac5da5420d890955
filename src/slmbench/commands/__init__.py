"""The verbs of the command line, by what they are about: each module adds its own to the parser."""

from __future__ import annotations

import argparse
from pathlib import Path

RUNS = Path("runs")


def json_option(verb: argparse.ArgumentParser) -> None:
    """Let a verb be read by a script."""
    verb.add_argument("--json", action="store_true", help="print JSON for a script to parse")
