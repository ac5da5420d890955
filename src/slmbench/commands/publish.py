"""What is published out of results."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

METHOD = Path("docs") / "method.md"


def add(verbs: Any) -> None:
    """Add these verbs to the parser."""
    parts = verbs.add_parser("leaderboard", help="a static site of all published results").add_subparsers(
        metavar="VERB", required=True
    )
    build = parts.add_parser(
        "build",
        help="write the site, ready to be served or opened",
        description="Write a site of all results into a folder: tables, plots, paired comparisons, every document and"
        " answer, the raw files. It is made from the results alone, and nothing on it is fetched from elsewhere.",
    )
    build.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="default: results")
    build.add_argument(
        "--out", type=Path, default=Path("site/leaderboard"), metavar="DIR", help="default: site/leaderboard"
    )
    build.add_argument(
        "--method", type=Path, metavar="FILE", help=f"Markdown of the method page (default: {METHOD}, where it is)"
    )
    build.set_defaults(call=_build)


def _build(arguments: argparse.Namespace) -> None:
    from slmbench.publish.leaderboard import build

    method = arguments.method or (METHOD if METHOD.is_file() else None)
    files = build(arguments.results, arguments.out, method)
    print(f"{arguments.out / 'index.html'}: {len(files)} files in {arguments.out}")
    if method is None:
        print(f"{METHOD} is not here: the site has no method page; --method FILE names it")
