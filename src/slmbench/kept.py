"""A result of answers that no run wrote: an export's, those of a model on a server, a baseline's.

It has what a run's result has, so `verify` recomputes it and `leaderboard build` shows it. Whatever may refuse it is
looked at before anything is asked.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slmbench import bench
from slmbench.config import Recipe, recipe_of
from slmbench.core import BadInput, Example, Model, Task, find_split, load_task
from slmbench.data import data_hash
from slmbench.exported import AGAIN, Exported
from slmbench.memory import machine
from slmbench.metrics import Sample
from slmbench.pipeline import asked_examples, now
from slmbench.publish import build_record, load_record, split_record, value_sha256, write_result
from slmbench.runs import code_hash
from slmbench.template import prompt_hash

STYLE = "schema"
"""The prompt that a server is sent, and that a baseline, which reads none, goes by."""
LONGEST_NAME = 120


@dataclass(frozen=True)
class Kept:
    """A result that is yet to be written: where to, and all of it that does not follow from answers."""

    path: Path
    recipe: Recipe
    examples: Mapping[str, Sequence[Example]]
    """Of each test set."""
    weights: Mapping[str, Any]
    hashes: Mapping[str, Any]
    data: Mapping[str, Any]
    more: Mapping[str, Any]
    """What the record has beyond a run's: how it was asked, of an export its form and size."""
    learnt: Sequence[str] = ()
    here: bool = True
    """Whether this machine's are the times."""

    def write(
        self, samples: Mapping[str, Sequence[Sample]], seconds: float, peak_memory_gib: float | None = None
    ) -> Path:
        """Write the answers, by test set, and their figures; the record's path."""
        recipe, own = self.recipe, load_task(self.recipe.task)
        tests, data, hashes = {}, dict(self.data), dict(self.hashes)
        digests = dict(hashes.pop("data", {}))
        for test in recipe.data.tests:
            found, examples = find_split(own, test.split), self.examples[test.name]
            tests[test.name] = split_record(test.prompt, {"tuned": samples[test.name]}, found[0] if found else own)
            data[test.name] = {"rows": len(examples), "skipped": 0}
            digests[test.name] = data_hash(examples)
        styles = {recipe.prompt, *(test.prompt for test in recipe.data.tests)}
        record = build_record(
            name=recipe.name, created=now(), recipe=recipe.to_dict(), machine=machine() if self.here else {},
            weights=self.weights, adapter={}, data=data, prompt={"style": recipe.prompt}, tests=tests,
            training={"learnt": list(self.learnt)} if self.learnt else {}, seconds={"bench": seconds},
            peak_memory_gib=peak_memory_gib,
            hashes={
                "recipe": value_sha256(recipe.to_dict()), "data": digests,
                "prompt": {style: prompt_hash(style) for style in sorted(styles)}, "weights": None, "tokenizer": None,
                "adapter": None, "code": code_hash(), **hashes,
            },
        )  # fmt: skip
        write_result(self.path, {**record, **self.more}, {name: {"tuned": part} for name, part in samples.items()})
        return self.path


def kept_answers(
    folder: Path, model: Model, split: str, examples: Sequence[Example], *, rows: int | None = None,
    schemas: Path | None = None, constraint: str = "schema", batch: int = 1, threads: int | None = None,
) -> Kept:  # fmt: skip
    """The result that answers of a model will be; the arguments are those of `bench`.

    Of an export the recipe is its run's with this test set alone; that of a model on a server trains nothing, and may
    be of any model. Raises BadInput for an export that does not say how it was trained, for rows that the recipe's own
    words would not find again, for a folder that takes no files, and where another result has the name.
    """
    asked = {
        "batch": batch, "threads": threads, "constraint": constraint, "rows": rows, "split": split,
        "schemas": None if schemas is None else str(schemas),
    }  # fmt: skip
    made = _of_export if isinstance(model, Exported) else _of_server
    wanted = data_hash(examples)
    # As many rows as there are, or more, are the split itself.
    for test, given in ((split, {**asked, "rows": None}), *([(f"{split}:{rows}", asked)] if rows else [])):
        kept = made(folder, model, test, given)
        (only,) = kept.recipe.data.tests
        if data_hash(asked_examples(kept.recipe, load_task(kept.recipe.task), only)) == wanted:
            return _checked(replace(kept, examples={only.name: examples}))
    raise BadInput(
        "--results: verify would not find these documents again; give a whole split, or a file under the schemas of the"
        " run's own recipe, which must have no data.limit."
    )


def kept_baseline(
    folder: Path, name: str, says: str, script: str, task: Task, splits: Sequence[str], learnt: Sequence[str] = ()
) -> Kept:
    """The result that a baseline's answers to splits of a task will be.

    `says` is what it is, in a few words, `script` what asks it, and `learnt` are the splits whose rows it has seen.
    """
    recipe = _recipe(_untrained(name, name, task.name, splits, None))
    weights = {"name": name, "origin": says, "baseline": script}
    examples = {test.name: task.load(test.split) for test in recipe.data.tests}
    return _checked(Kept(folder / f"{name}.json", recipe, examples, weights, {}, {}, {}, learnt))


def _of_server(folder: Path, model: Model, test: str, asked: Mapping[str, Any]) -> Kept:
    called, task = str(model.manifest["name"]), str(model.manifest["task"])
    name = _name(called, "served", load_task(task), asked)
    recipe = _recipe(_untrained(name, called, task, [test], asked["schemas"]))
    weights = {"name": called, "origin": model.where, "server": model.identity.get("server", "")}
    return Kept(folder / f"{name}.json", recipe, {}, weights, {}, {}, {"asked": dict(asked)}, here=False)


def _of_export(folder: Path, model: Model, test: str, asked: Mapping[str, Any]) -> Kept:
    manifest = model.manifest
    if "recipe" not in manifest:
        raise BadInput(f"{model.where}: written by an older version, which did not say how it was trained; {AGAIN}.")
    recipe, base = manifest["recipe"], dict(manifest["base"])
    own = load_task(recipe["task"])
    name = _name(manifest["name"], str(manifest["form"]), own, asked)
    data = {**recipe["data"], "tests": [{"split": test, "prompt": manifest["prompt"]["style"], "base": False}]}
    if not find_split(own, test) and asked["schemas"]:
        data["schemas"] = asked["schemas"]
    # Answers are as long as `bench` lets them be.
    budget = {"budget_factor": bench.BUDGET_FACTOR, "budget_extra": bench.BUDGET_EXTRA, "latency_rows": 0}
    read = _recipe({**recipe, "name": name, "data": data, "evaluate": {**recipe["evaluate"], **budget}})
    trained = {part: dict(facts) for part, facts in manifest["data"].items()} if read.trains else {}
    hashes = {
        "weights": base.pop("sha256"), "tokenizer": base.pop("tokenizer_sha256"), "adapter": manifest["adapter_sha256"],
        "export": value_sha256(manifest["files"]),
        "data": {part: facts.pop("sha256") for part, facts in trained.items()},
    }  # fmt: skip
    size = sum(facts["bytes"] for facts in manifest["files"].values())
    more = {"asked": dict(asked), "export": {"form": manifest["form"], "bytes": size, "name": manifest["name"]}}
    return Kept(folder / f"{name}.json", read, {}, base, hashes, trained, more)


def _untrained(name: str, base: str, task: str, tests: Sequence[str], schemas: str | None) -> dict[str, Any]:
    """The recipe of what was asked as it is."""
    asked = [{"split": test, "prompt": STYLE, "base": False} for test in tests]
    return {
        "name": name, "base": base, "task": task, "prompt": STYLE, "train": {"epochs": 0},
        "data": {"validation": 0, "tests": asked, "schemas": schemas}, "evaluate": {"latency_rows": 0},
    }  # fmt: skip


def _recipe(raw: Mapping[str, Any]) -> Recipe:
    return recipe_of(dict(raw), "--results")


def _name(model: object, form: str, own: Task, asked: Mapping[str, Any]) -> str:
    """A name for a file: what was asked otherwise than usual is another row, and has another."""
    split = Path(asked["split"]).stem
    found = find_split(own, asked["split"])
    other = [found[0].name] if found and found[0].name != own.name else []
    words = [model, form, *other, *([split] if split != "test" else []), *([asked["rows"]] if asked["rows"] else [])]
    words += [asked["constraint"]] if asked["constraint"] != "schema" else []
    plain = "_".join(re.sub(r"[^\w.-]+", "_", str(word)).strip("._-") for word in words)
    return plain[:LONGEST_NAME].strip("._-") or form


def _checked(kept: Kept) -> Kept:
    """Raise BadInput where the result cannot be written, or another stands in its place; the same may be anew."""
    folder, path = kept.path.parent, kept.path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise BadInput(f"--results {folder}: cannot be written to ({error.strerror}); give another folder.") from None
    if path.exists():
        before = load_record(path)
        same = [before["weights"].get(key) == kept.weights.get(key) for key in ("name", "server", "baseline")]
        if before["recipe"] != kept.recipe.to_dict() or not all(same):
            raise BadInput(f"{path}: there is another result of this name; give another folder, or move it away.")
    return kept
