"""How many documents a machine learns from within some minutes: what `new` writes into a recipe."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from slmbench.config import load_recipe
from slmbench.core import BadInput
from slmbench.forecast import forecast
from slmbench.new import MADE_TEST, Rows, new
from slmbench.pipeline import make_plan, training_examples
from slmbench.progress import say
from slmbench.synth.make import write

SAMPLE = Rows(60, 40)
SHARE = 0.9
"""Of the time for training, what a forecast may fill: it is a second's measuring, and often a tenth off."""
AROUND_SECONDS = 300
"""Making documents, the preflight, loading, exporting and extracting: a minute or two each, on two slow cores."""


def rows_within(
    minutes: float, schema: Mapping[str, Any], labelled: Path | None = None, test: Path | None = None
) -> Rows:
    """What can be made, trained, tested, exported and used within `minutes` on this machine, labelled documents
    included, as `new` takes them.

    A hundred documents are made and encoded, and matrix products timed for a second. A machine that is too slow gets
    the fewest, and is told.

    Raises BadInput for what `new` refuses, a schema that no document can be made for, a base whose weights are not
    here, or minutes that are none.
    """
    if not 0 < minutes < 1e6:
        raise BadInput(f"--minutes {minutes:g}: give a number above 0, such as 20.")
    say("rows      looking how many this machine learns from in that time")
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):  # nobody's data: no word
        folder = Path(name) / "sample"
        new("sample", schema, folder, labelled, test, SAMPLE)
        write(schema, SAMPLE.made, folder / "data" / "sample.made.jsonl", schema_id="sample")
        if not (labelled or test):
            write(schema, MADE_TEST, folder / "data" / "sample.test.jsonl", 7, "sample")
        recipe = load_recipe(folder / "recipe.yaml")
        held = int(recipe.data.validation)
        made, other, *own = recipe.data.train
        data = replace(
            recipe.data,
            train=(str(folder / made), other),
            tests=tuple(replace(one, split=str(folder / one.split)) for one in recipe.data.tests),
            schemas=str(folder / "schemas"),
            validation=0,
        )
        plan = make_plan(replace(recipe, data=data), Path(name) / "runs")
        told = forecast(plan)
        data = replace(data, train=tuple(str(folder / one) for one in own))
        repeated = len(training_examples(replace(recipe, data=data), plan.task)[0]) if own else 0
    assert told.training_seconds is not None and told.evaluation_seconds is not None  # known of this machine
    seconds_a_row = told.training_seconds / len(plan.train.encoded)
    for_training = minutes * 60 - AROUND_SECONDS - told.evaluation_seconds
    rows = Rows.of(SHARE * for_training / seconds_a_row - repeated + held)
    training = seconds_a_row * (rows.made + rows.other + repeated - held)
    say(f"rows      {rows.made} made and {rows.other} others: {training / 60:.0f} min of training on this machine")
    if training > for_training:
        say(f"          the fewest that make sense; in all it will take more than {minutes:g} min")
    return rows
