"""A result of answers that no run wrote: an export's, those of a model on a server, a baseline's.

It has what a run's result has, so `verify` recomputes it and `leaderboard build` shows it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slmbench.config import recipe_of
from slmbench.core import BadInput, Example, Model, Task, find_split, load_task
from slmbench.data import data_hash
from slmbench.exported import AGAIN, Exported
from slmbench.memory import machine
from slmbench.metrics import Sample
from slmbench.pipeline import now
from slmbench.publish import build_record, split_record, value_sha256, write_result
from slmbench.runs import code_hash
from slmbench.template import prompt_hash

Answered = tuple[Sequence[Example], Sequence[Sample]]
"""Documents and their answers."""
STYLE = "schema"
"""The prompt that a server is sent, and that a baseline, which reads none, goes by."""


def keep_answers(
    folder: Path, model: Model, split: str, answered: Answered, *, rows: int | None = None,
    schemas: Path | None = None, seconds: float = 0.0, peak_memory_gib: float | None = None,
) -> Path:  # fmt: skip
    """Write what a model answered as a result into `folder`: the record's path.

    `rows` is how many of the split's documents were asked, None for all. Of an export the recipe is its run's with this
    test set alone; that of a model on a server trains nothing. Raises BadInput for an export that does not say how it
    was trained.
    """
    manifest = dict(model.manifest)
    test = f"{split}:{rows}" if rows else split
    if not isinstance(model, Exported):
        name = str(manifest["name"])
        raw = _untrained(_plain(name), name, manifest["task"], [test], schemas)
        again = [f"{_asked(name, split, rows, schemas, answered)} --backend openai:URL --task {manifest['task']}"]
        weights = {"name": name, "origin": model.where}
        return _write(folder, raw, [answered], weights, again, seconds=seconds)
    if "recipe" not in manifest:
        raise BadInput(f"{model.where}: written by an older version, which did not say how it was trained; {AGAIN}.")
    recipe, base, trained = manifest["recipe"], dict(manifest["base"]), dict(manifest["data"])
    tests = [{"split": test, "prompt": model.style, "base": False}]
    data = {**recipe["data"], "tests": tests}
    if schemas is not None:
        data["schemas"] = str(schemas)
    name, form = str(manifest["name"]), str(manifest["form"])
    # The same export asked otherwise is another row.
    asked = "" if (constraint := answered[1][0]["constraint"]) == "schema" else f"_{constraint}"
    raw = {**recipe, "name": f"{_plain(name)}_{_plain(form)}{asked}", "data": data}
    raw["evaluate"] = {**recipe["evaluate"], "latency_rows": 0}
    hashes = {
        "weights": base.pop("sha256"), "tokenizer": base.pop("tokenizer_sha256"), "adapter": manifest["adapter_sha256"],
        "export": value_sha256(manifest["files"]),
    }  # fmt: skip
    hashes["data"] = {name: part.pop("sha256") for name, part in trained.items()}
    export = {"form": form, "bytes": sum(part["bytes"] for part in manifest["files"].values())}
    again = [
        f"slmbench run {raw['name']}.yaml --name {name}", f"slmbench export runs/{name} --to {form}",
        _asked(f"runs/{name}/export/{form}", split, rows, schemas, answered),
    ]  # fmt: skip
    return _write(
        folder, raw, [answered], base, again, hashes=hashes, data=trained, export=export, seconds=seconds,
        peak_memory_gib=peak_memory_gib,
    )  # fmt: skip


def keep_baseline(
    folder: Path, name: str, says: str, task: Task, answered: Mapping[str, Answered], again: str, *,
    learnt: Sequence[str] = (), seconds: float = 0.0,
) -> Path:  # fmt: skip
    """Write what a baseline answered to splits of a task as a result into `folder`: the record's path.

    `says` is what it is, in a few words, `again` the command that asks it; `learnt` are the splits whose rows it has
    seen.
    """
    raw = _untrained(name, name, task.name, list(answered))
    weights = {"name": name, "origin": says, "baseline": True}
    return _write(folder, raw, list(answered.values()), weights, [again], learnt=learnt, seconds=seconds)


def _asked(model: str, split: str, rows: int | None, schemas: Path | None, answered: Answered) -> str:
    """The command that asks a model so."""
    given = {"split": split, "rows": rows, "schemas": schemas, "constraint": answered[1][0]["constraint"]}
    return " ".join([
        "slmbench bench", model, *(f"--{name} {value}" for name, value in given.items() if value is not None),
        "--results results",
    ])  # fmt: skip


def _untrained(name: str, base: str, task: str, tests: Sequence[str], schemas: Path | None = None) -> dict[str, Any]:
    """The recipe of what was asked as it is."""
    asked = [{"split": test, "prompt": STYLE, "base": False} for test in tests]
    return {
        "name": name, "base": base, "task": task, "prompt": STYLE, "train": {"epochs": 0},
        "data": {"validation": 0, "tests": asked, "schemas": None if schemas is None else str(schemas)},
        "evaluate": {"latency_rows": 0},
    }  # fmt: skip


def _write(
    folder: Path, raw: Mapping[str, Any], answered: Sequence[Answered], weights: Mapping[str, Any],
    again: Sequence[str], *, hashes: Mapping[str, Any] | None = None, data: Mapping[str, Any] | None = None,
    export: Mapping[str, Any] | None = None, learnt: Sequence[str] = (), seconds: float,
    peak_memory_gib: float | None = None,
) -> Path:  # fmt: skip
    known = dict(hashes or {})
    recipe = recipe_of(dict(raw), "kept answers")
    own = load_task(recipe.task)
    tests, facts, samples, digests = {}, dict(data or {}), {}, dict(known.pop("data", {}))
    for test, (examples, said) in zip(recipe.data.tests, answered, strict=True):
        found = find_split(own, test.split)
        tests[test.name] = split_record(test.prompt, {"tuned": said}, found[0] if found else own)
        facts[test.name] = {"rows": len(examples), "skipped": 0}
        digests[test.name] = data_hash(examples)
        samples[test.name] = {"tuned": said}
    styles = {recipe.prompt, *(test.prompt for test in recipe.data.tests)}
    record = build_record(
        name=recipe.name, created=now(), recipe=recipe.to_dict(), machine=machine(), weights=weights,
        adapter={}, data=facts, prompt={"style": recipe.prompt}, tests=tests,
        training={"learnt": list(learnt)} if learnt else {}, seconds={"bench": seconds},
        peak_memory_gib=peak_memory_gib,
        hashes={
            "recipe": value_sha256(recipe.to_dict()), "data": digests,
            "prompt": {style: prompt_hash(style) for style in sorted(styles)}, "weights": None, "tokenizer": None,
            "adapter": None, "code": code_hash(), **known,
        },
    )  # fmt: skip
    record["again"] = list(again)
    if export:
        record["export"] = dict(export)
    path = folder / f"{recipe.name}.json"
    write_result(path, record, samples)
    return path


def _plain(name: object) -> str:
    """A name for a file out of any other."""
    return re.sub(r"[^\w.-]+", "_", str(name)).strip("._-") or "model"
