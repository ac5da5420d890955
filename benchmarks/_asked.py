"""What the benchmarks of extraction are given and give on to `slmbench extract`."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_asked(parser: argparse.ArgumentParser) -> None:
    """The model, the documents, and how they are to be read."""
    parser.add_argument("model", type=Path, help="folder that slmbench export wrote")
    parser.add_argument("documents", nargs="+", metavar="FILE", help="files or folders, as of slmbench extract")
    parser.add_argument("--schema", type=Path, metavar="FILE", help="as of slmbench extract")
    parser.add_argument("--column", metavar="NAME", help="as of slmbench extract")
    parser.add_argument("--explain", action="store_true", help="as of slmbench extract")
