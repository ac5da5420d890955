"""How accuracy on a recipe's first test set grows with the rows that it is trained on.

The recipe is run once for each size, its one source of training rows cut to so many, evenly spaced; 1000x4 is 1,000
rows for four epochs. Runs that were finished are not made again, so a longer list costs only what is new in it. The
base does not answer. What is measured is printed as a table, or as JSON; --out keeps it, with the curve as SVG beside.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from _picture import alone

from slmbench.config import Recipe, load_recipe
from slmbench.core import BadInput, SlmbenchError, source_rows
from slmbench.files import json_text, write_atomic
from slmbench.pipeline import run_recipe
from slmbench.progress import say
from slmbench.publish.html import line_chart
from slmbench.publish.tables import full, markdown_table

SIZE = re.compile(r"([1-9]\d*)(?:x([1-9]\d*))?")


def main(argv: Sequence[str] | None = None) -> int:
    """Run every size, print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="a recipe with one source of training rows")
    parser.add_argument("sizes", nargs="+", metavar="ROWS[xEPOCHS]", help="epochs are the recipe's where not given")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as of slmbench run")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, metavar="FILE", help="for the figures as JSON, and FILE.svg beside it")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args(argv)
    try:
        run(arguments)
    except SlmbenchError as error:
        say(f"learning_curve: {error}")
        return error.exit_code
    return 0


def run(arguments: argparse.Namespace) -> None:
    """The points of the curve, in the order that was asked for."""
    recipe = load_recipe(arguments.recipe, arguments.set)
    sized = [at(recipe, size) for size in arguments.sizes]
    points = [point(each, arguments.runs) for each in sized]
    print(json_text(points, indent=None) if arguments.json else table(points))
    if arguments.out:
        write_atomic(arguments.out, json_text(points))
        write_atomic(arguments.out.with_suffix(".svg"), picture(points, recipe.name))


def at(recipe: Recipe, size: str) -> Recipe:
    """The recipe on so many rows; itself, where those are its own. Raises BadInput where that cannot be said of it."""
    found = SIZE.fullmatch(size)
    if found is None:
        raise BadInput(f"{size}: give rows, or rows and epochs as in 1000x4")
    if len(recipe.data.train) != 1:
        raise BadInput(f"{recipe.name}: {len(recipe.data.train)} sources of training rows: give a recipe with one")
    source, _ = source_rows(recipe.data.train[0])
    first = replace(recipe.data.tests[0], base=False)
    train, epochs = (f"{source}:{found[1]}",), int(found[2] or recipe.train.epochs)
    if (train, epochs) == (recipe.data.train, recipe.train.epochs):
        return recipe
    return replace(
        recipe,
        name=f"{recipe.name}_{size}",
        data=replace(recipe.data, train=train, tests=(first,)),
        train=replace(recipe.train, epochs=epochs),
    )


def point(recipe: Recipe, runs: Path) -> dict[str, Any]:
    """What one run gave: rows, epochs, tokens and seconds of training, JSONExact and the task's own measures."""
    record = run_recipe(recipe, runs)
    assert record is not None
    test = record["tests"][recipe.data.tests[0].name]
    return {
        "run": recipe.name,
        "rows": record["data"]["train"]["rows"],
        "epochs": recipe.train.epochs,
        "seconds": record["seconds"]["train"],
        "machine": record["machine"]["cpu"],
        "json_exact": test["metrics"]["json_exact"],
        "measures": test["measures"],
    }


def table(points: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    head = ["rows", "epochs", "training, minutes", "JSONExact"]
    rows = [
        [f"{p['rows']:,}", str(p["epochs"]), f"{p['seconds'] / 60:.1f}", full(p["json_exact"], "json_exact")]
        for p in points
    ]
    return markdown_table(head, rows)


def picture(points: Sequence[dict[str, Any]], name: str) -> str:
    """The curve as a file of its own."""
    line = sorted((p["rows"], 100 * p["json_exact"]["value"]) for p in points)
    return alone(line_chart(f"{name}: JSONExact by training rows", {"exact": line}, "training rows", "%"))


if __name__ == "__main__":
    raise SystemExit(main())
