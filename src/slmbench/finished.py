"""What is done with runs that have ended: their report anew, their results in another program's format, compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from slmbench.compare import compare
from slmbench.config import recipe_of
from slmbench.core import BadInput, Example, load_task
from slmbench.data import data_hash
from slmbench.files import write_atomic
from slmbench.metrics import Sample
from slmbench.pipeline import asked_examples, beside, task_of
from slmbench.progress import say
from slmbench.publish import load_record, load_samples, report
from slmbench.publish.comparison import MOST, comparison_page, side_of, told_apart
from slmbench.publish.lm_eval import Answered, lm_eval_files, task_name
from slmbench.publish.record import Record, test_set
from slmbench.publish.stored import FINISHED
from slmbench.publish.tables import side_name


def rewrite_report(folder: Path) -> Path:
    """The `report` verb: the report of a finished run, anew from its stored samples."""
    record = load_record(folder)
    samples = load_samples(folder, record)
    recipe = recipe_of(record["recipe"], str(folder / "record.json"))
    task = load_task(recipe.task)
    examples = {test.name: asked_examples(recipe, task, test) for test in recipe.data.tests}
    write_atomic(folder / "report.html", report(record, samples, examples, *beside(folder)))
    return folder / "report.html"


def export_results(place: Path, out: Path) -> list[Path]:
    """The `export-results` verb: a result as lm-eval writes its own, a folder for the tuned model and one for its base.

    `place` is a run's folder or a file of `results/`. A test set whose data is not here is left out and said so. Raises
    BadInput where none is left, and where data is not what was answered.
    """
    record = load_record(place)
    samples = load_samples(place, record)
    recipe = recipe_of(record["recipe"], str(place))
    own = load_task(recipe.task)
    answered: dict[str, list[Answered]] = {"tuned": [], "base": []}
    for test in recipe.data.tests:
        try:
            examples = asked_examples(recipe, own, test)
        except BadInput as error:
            say(f"{test.name} is left out: {error}")
            continue
        if data_hash(examples) != record["hashes"]["data"].get(test.name):
            raise BadInput(f"{place}: {test.name} is not the data that was answered; give the run's own command again.")
        name = task_name(own, test)
        if any(name == part.name for parts in answered.values() for part in parts):
            raise BadInput(
                f"{place}: two of its test sets are {name} to lm-eval; rename a file, or publish them apart."
            )
        for stage, parts in answered.items():
            found = samples.get(test.name, {}).get(stage)
            if not found:
                continue
            if [sample["id"] for sample in found] != [example.id for example in examples]:
                raise BadInput(
                    f"{place}: the {stage} answers of {test.name} are not those of its documents; {FINISHED}."
                )
            parts.append(Answered(name, task_of(own, test), test, examples, found))
    if not any(answered.values()):
        raise BadInput(f"{place}: the data of none of its test sets is here; put it where the recipe names it.")
    files: dict[str, str] = {}
    for stage, parts in answered.items():
        files |= lm_eval_files(record, stage, parts) if parts else {}
    for name, text in files.items():
        write_atomic(out / name, text)
    return [out / name for name in files]


def compare_runs(places: Sequence[Path], split: str | None) -> tuple[list[str], list[dict[str, Any]]]:
    """The `compare` verb: (names, comparisons), a comparison for each but the first, which it is with.

    Compared are the tuned samples of two to six results, or base and tuned of one; each is a run's folder or a file of
    `results/`. Raises BadInput for more, and where they did not answer the same documents.
    """
    _, who = compared(places, split)
    return [one.called for one in who], [compare(who[0].samples, one.samples) for one in who[1:]]


def write_comparison(places: Sequence[Path], split: str | None, out: Path) -> Path:
    """The same as one HTML file, with the documents whose data is here."""
    name, who = compared(places, split)
    sides = [side_of(one.record, name, one.stage, one.samples, one.called) for one in who]
    write_atomic(out, comparison_page(name, sides, answered_examples(who[0].record, name, who[0].samples)))
    return out


class Compared(NamedTuple):
    """One of those that are compared: a record, whose answers of it, and what it is called."""

    record: Record
    stage: Literal["tuned", "base"]
    called: str
    samples: Sequence[Sample]


def compared(places: Sequence[Path], split: str | None) -> tuple[str, list[Compared]]:
    """(the test set, who is compared on it). Raises BadInput as `compare_runs` does."""
    if len(places) > MOST:
        raise BadInput(f"compare takes {MOST} runs at most, not {len(places)}; compare fewer at once.")
    records = [load_record(place) for place in places]
    samples = [load_samples(place, record) for place, record in zip(places, records, strict=True)]
    name = split or next(iter(records[0]["tests"]))
    stages: list[tuple[int, Literal["tuned", "base"], str]]
    if len(places) == 1:
        stages = [(0, "base", "base"), (0, "tuned", side_name(records[0]))]
    else:
        names = told_apart([str(record["name"]) for record in records])
        stages = [(i, "tuned", called) for i, called in enumerate(names)]
    who = []
    for i, stage, called in stages:
        found = samples[i].get(name, {})
        if stage not in found or name not in records[i]["tests"]:
            raise BadInput(
                f"{places[i]}: no {stage} samples of {name}; give a --split of {', '.join(records[i]['tests'])}."
            )
        who.append(Compared(records[i], stage, called, found[stage]))
    return name, who


def answered_examples(record: Record, name: str, samples: Sequence[Sample]) -> list[Example]:
    """The documents of a test set in their order, if its data is here and is what was answered; else none."""
    recipe = recipe_of(record["recipe"], f"{record['name']}, recipe")
    test = next((test for test in recipe.data.tests if test.name == name), None)
    if test is None:
        return []
    try:
        by_id = {example.id: example for example in asked_examples(recipe, load_task(recipe.task), test)}
    except BadInput:
        return []
    examples = [by_id[sample["id"]] for sample in samples if sample["id"] in by_id]
    whole = len(examples) == len(samples) and data_hash(examples) == test_set(record, test)[2]
    return examples if whole else []
