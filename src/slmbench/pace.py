"""How many documents a machine learns from within some minutes: what `new` writes into a recipe."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from slmbench import models
from slmbench.config import load_recipe
from slmbench.core import BASE, BadInput
from slmbench.forecast import forecast
from slmbench.new import MADE_TEST, ROWS_AT_MOST, TEST_SEED, Rows, new
from slmbench.pipeline import make_plan, training_examples
from slmbench.progress import say
from slmbench.synth.make import write

SAMPLE = Rows(60, 40)
"""Few rows share fewer beginnings than many do, so they make a row a little dearer than it will be."""
SHARE = 0.9
"""Of the time for training, what a forecast may fill: it measures for some seconds what then takes minutes."""
AROUND_SECONDS = 300
"""Making documents, the preflight, exporting and extracting, on two cores without tiles for bf16."""


def rows_within(
    minutes: float, name: str, schema: Mapping[str, Any], labelled: Path | None = None, test: Path | None = None,
    base: str = BASE,
) -> Rows:  # fmt: skip
    """What can be made, trained, tested, exported and used within `minutes` on this machine, labelled documents
    included, as `new` takes them.

    The base is fetched where it is not here, a hundred documents are made and encoded, and matrix products are timed.
    A machine that is too slow gets the fewest rows, and is told.

    Raises BadInput for what `new` refuses, a schema that no document can be made for, minutes that are none, and
    whatever `models.find` raises.
    """
    if not minutes > 0:
        raise BadInput(f"--minutes {minutes:g}: give a number above 0, such as 20.")
    models.find(base)
    say("rows      looking how many this machine learns from in that time")
    # What is said of a hundred documents that nobody asked for would only confuse.
    with tempfile.TemporaryDirectory() as place, contextlib.redirect_stderr(io.StringIO()):
        folder = Path(place) / name
        new(name, schema, folder, labelled, test, rows=SAMPLE, base=base)
        recipe = load_recipe(folder / "recipe.yaml")
        made, other, *own = recipe.data.train
        tests = tuple(replace(one, split=str(folder / one.split)) for one in recipe.data.tests)
        write(schema, SAMPLE.made, folder / made, schema_id=name)
        if not (labelled or test):
            write(schema, MADE_TEST, Path(tests[0].split), TEST_SEED, name)
        # How long a row may be is for the run to say, whose recipe can be changed.
        data = replace(recipe.data, tests=tests, schemas=str(folder / "schemas"), validation=0, max_tokens=2**31)
        sampled = replace(data, train=(str(folder / made), other))
        plan = make_plan(replace(recipe, data=sampled), Path(place) / "runs")
        told = forecast(plan)
        repeated = replace(data, train=tuple(str(folder / one) for one in own))
        labels = len(training_examples(replace(recipe, data=repeated), plan.task)[0]) if own else 0
    assert told.training_seconds is not None and told.evaluation_seconds is not None  # known of this machine
    seconds_a_row = told.training_seconds / len(plan.train.encoded)
    for_training = minutes * 60 - AROUND_SECONDS - told.evaluation_seconds
    # Rows that are held back are not trained on.
    beside = labels - int(recipe.data.validation)
    rows = Rows.of(SHARE * for_training / seconds_a_row - beside)
    training = seconds_a_row * (rows.made + rows.other + beside)
    say(f"rows      {rows.made} made and {rows.other} others: {training / 60:.0f} min of training on this machine")
    if training > for_training:
        say(f"          the fewest that make sense; in all it will take more than {minutes:g} min")
    elif rows == Rows.of(ROWS_AT_MOST):
        say("          as many as there are others for; more time would not be used")
    return rows
