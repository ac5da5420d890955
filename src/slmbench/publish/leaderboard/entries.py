"""What a leaderboard is made of: published results, and for each test set the rows that answered its documents.

A board holds the entries of one test set: those whose records have the same hash of its rows. An entry is one record's
answers to it, tuned or base. Nothing is measured here: figures are those of the records, held to the counts of the
samples beside them; `slmbench verify` recomputes them.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmbench.config import Recipe, Test, recipe_of
from slmbench.core import BadInput, find_split, load_task, source_rows, source_times, tasks
from slmbench.data import data_hash
from slmbench.metrics import LABELS, PROPORTIONS, SLICE_KEYS, Figure, Sample
from slmbench.publish.record import Record, SamplesBySplit, kind_of, machine_of, seal, test_set, value_sha256
from slmbench.publish.report import LATENCIES
from slmbench.publish.stored import load_record, load_samples
from slmbench.schema import strict_loads

SIDES = {"tuned": "metrics", "base": "base"}
"""Whose answers -> where a record has their figures."""
FILES = "other data"
"""The task of a test set that is a file and no split of one of our tasks."""
UNKNOWN = "unknown"
TRACKS = {
    "zero-shot": "the base model as it is, nothing trained",
    "own data": "tuned on rows that belong to the test set: its task's training rows, or a file of labelled rows",
    "generated": "tuned on documents that a generator made of schemas or templates, no labelled one among them",
    "own + generated": "tuned on both",
    "transfer": "tuned, but on nothing that belongs to the test set",
    UNKNOWN: "a model on a server, which does not say what it was trained on",
}
"""What was trained on, seen from the test set."""
COUNTS = ("hits", "predicted", "gold")
"""Of leaves, in a sample's score."""
_REMEDY = "give the run's own command again and publish it"


@dataclass(frozen=True)
class Result:
    """One published result: its record, the samples, and the recipe as it is read."""

    path: Path
    page: str
    """The name of its files within the site."""
    record: Record
    samples: SamplesBySplit
    recipe: Recipe

    @property
    def name(self) -> str:
        """What the model is called."""
        return str(self.record["name"])

    @property
    def base(self) -> str:
        """What its base model is called."""
        return str(self.record["weights"].get("name", "unknown"))

    @property
    def size(self) -> int | None:
        """The number of the base's parameters, where the record has it."""
        size = self.record["weights"].get("parameters")
        return size if isinstance(size, int) else None

    @property
    def learnt(self) -> tuple[str, ...]:
        """The sources whose rows it has seen. A baseline is not trained as recipes say, but may have seen some."""
        seen = self.record["training"].get("learnt")
        return self.recipe.data.train if self.recipe.trains else tuple(seen if isinstance(seen, list) else ())

    def track(self, test: Test, side: str) -> str:
        """The track of a side's answers to a test set: one of `TRACKS`."""
        return UNKNOWN if kind_of(self.record) == "server" else track(self.recipe, test, side, self.learnt)

    @property
    def machine(self) -> str:
        """The machine in a few words."""
        return machine_of(self.record)


@dataclass(frozen=True)
class Entry:
    """A row of a board: `side` ("tuned" or "base") of a result on the test set that its record calls `test`."""

    key: str
    result: Result
    test: str
    side: str
    track: str

    @property
    def part(self) -> dict[str, Any]:
        """All that the record has of the test set."""
        part: dict[str, Any] = self.result.record["tests"][self.test]
        return part

    @property
    def figures(self) -> dict[str, Figure]:
        """The metrics of this side."""
        figures: dict[str, Figure] = self.part[SIDES[self.side]]
        return figures

    @property
    def measures(self) -> dict[str, Figure]:
        """The task's own measures of this side."""
        return self.part.get("measures" if self.side == "tuned" else "base_measures") or {}

    @property
    def slices(self) -> dict[str, dict[str, Any]]:
        """Slice key -> slice -> {n, json_exact, field_f1} of this side."""
        return self.part["slices" if self.side == "tuned" else "base_slices"] or {}

    @property
    def latency(self) -> dict[str, Any]:
        """The times of this side, empty where there are none."""
        return self.part["latency" if self.side == "tuned" else "base_latency"] or {}

    @property
    def bytes(self) -> int | None:
        """What its weights take: an export's files; two bytes a parameter elsewhere, in bf16. None of what has none."""
        exported = self.result.record.get("export", {}).get("bytes")
        if isinstance(exported, int):
            return exported
        return None if self.result.size is None else 2 * self.result.size

    @property
    def samples(self) -> Sequence[Sample]:
        """This side's answers, in the order of the documents."""
        return self.result.samples[self.test][self.side]

    @property
    def name(self) -> str:
        """What the row is called: the model's name; a base's own."""
        return self.result.name if self.side == "tuned" else self.result.base

    @property
    def about(self) -> str:
        """What the row is, beside its name."""
        record, kind = self.result.record, kind_of(self.result.record)
        if kind == "baseline":
            return str(record["weights"]["origin"])
        if kind == "server":
            return f"{self.result.base}, on a server"
        if self.side == "base":
            return f"base, beside {self.result.name}"
        base, form = self.result.base, record.get("export", {}).get("form")
        said = f"tuned {base}" if kind == "tuned" else f"{base}, as it is"
        return f"{said}, exported as {form}" if form else said

    @property
    def own(self) -> tuple[str, Figure, str]:
        """(label, figure, name) of the task's headline measure; FieldF1 where it has none of its own."""
        for name, figure in self.measures.items():
            return figure["label"], figure, name
        return "FieldF1", self.figures["field_f1"], "field_f1"


@dataclass(frozen=True)
class Board:
    """One test set and its entries; `texts` are the documents where this version has them, None elsewhere."""

    key: str
    label: str
    task: str
    digest: str
    entries: tuple[Entry, ...]
    texts: tuple[str | None, ...]

    @property
    def rows(self) -> Sequence[Sample]:
        """A sample of every document: ids, labels and gold are those of all entries."""
        return self.entries[0].samples


def load(folder: Path) -> list[Result]:
    """The results of a folder, by name. Raises BadInput where there is none, or where one is broken."""
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise BadInput(f"{folder}: holds no results (NAME.json, NAME.samples.jsonl.gz); publish a run into it first.")
    taken: set[str] = set()
    return [_result(path, slug(path.stem, taken)) for path in paths]


def _result(path: Path, page: str) -> Result:
    record = load_record(path)
    if record["recipe"].get("task", "edge_json") not in tasks():
        raise BadInput(f"{path}: there is no task {record['recipe']['task']}; take the result away, or {_REMEDY}.")
    result = Result(path, page, record, load_samples(path, record), recipe_of(record["recipe"], f"{path}, recipe"))
    names = [test.name for test in result.recipe.data.tests]
    if not names or not sorted(names) == sorted(record["tests"]) == sorted(result.samples):
        raise BadInput(f"{path}: its test sets are not those of its recipe; {_REMEDY}.")
    for name in names:
        _check(result, name)
    if seal(record) != record["hashes"].get("record"):
        raise BadInput(f"{path}: not as it was published (hashes.record); {_REMEDY}.")
    return result


def _check(result: Result, test: str) -> None:
    """Raises BadInput where a test's figures are not shaped as they should be, or do not count its samples."""
    part = result.record["tests"][test]
    where = f"{result.path}: tests.{test}"
    stages = result.samples[test]
    try:
        for side in SIDES:
            if side == "base" and part["base"] is None and "base" not in stages:
                continue
            _check_side(part, side)
            if _stored_counts(part, side) != _counts(stages[side]):
                raise BadInput(f"{where}: its counts are not those of its samples; `slmbench verify` says where.")
            for sample in stages[side]:
                strict_loads(sample["target"])
        check_texts(part, ("prompt", "constraint"))
        for one in (part["comparison"] or {"metrics": {}})["metrics"].values():
            check_numbers(one, ("difference", "p"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"{where}: not as a record has it ({type(error).__name__}: {error}); {_REMEDY}.") from None


def _check_side(part: Mapping[str, Any], side: str) -> None:
    """Raises KeyError, TypeError or ValueError where a figure of a side is missing, or is none."""
    tuned = side == "tuned"
    measures = part["measures" if tuned else "base_measures"] or {}
    slices = [one for key in SLICE_KEYS for one in part["slices" if tuned else "base_slices"][key].values()]
    figures = [part[SIDES[side]][name] for name in LABELS] + list(measures.values())
    for figure in (*figures, *(one[name] for one in slices for name in ("json_exact", "field_f1"))):
        check_numbers(figure, ("k", "n", "value", "low", "high"))
    for figure in measures.values():
        check_texts(figure, ("label",))
    _ = [int(one["n"]) for one in slices]
    times = part["latency" if tuned else "base_latency"]
    check_numbers(times, ("n", "prompt_tokens", "output_tokens"))
    check_numbers(times, [name for name in (*LATENCIES, "tokens_per_s") if times[name] is not None])


def check_texts(values: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raises KeyError or TypeError where one of `names` is no text."""
    for name in names:
        if not isinstance(values[name], str):
            raise TypeError(f"{name} is no text")


def check_numbers(values: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raises KeyError, TypeError or ValueError where one of `names` is no finite number."""
    for name in names:
        if isinstance(values[name], bool) or not isinstance(values[name], int | float):
            raise TypeError(f"{name} is no number")
        if not math.isfinite(values[name]):
            raise ValueError(f"{name} is not finite")


Counted = tuple[list[tuple[int, int]], dict[str, dict[str, tuple[int, int]]]]
"""(k, n) of every share, and those of JSONExact by slice key and slice."""


def _stored_counts(part: Mapping[str, Any], side: str) -> Counted:
    figures, slices = part[SIDES[side]], part["slices" if side == "tuned" else "base_slices"]
    split = {
        key: {name: (one["json_exact"]["k"], one["json_exact"]["n"]) for name, one in slices[key].items()}
        for key in SLICE_KEYS
    }
    return [(figures[name]["k"], figures[name]["n"]) for name in PROPORTIONS], split


def _counts(samples: Sequence[Sample]) -> Counted:
    shares = [(sum(bool(s["score"][field]) for s in samples), len(samples)) for field in PROPORTIONS.values()]
    split = {}
    for key in SLICE_KEYS:
        exact: Counter[str] = Counter(s[key] for s in samples if s["score"]["exact"])
        split[key] = {name: (exact[name], n) for name, n in Counter(s[key] for s in samples).items()}
    return shares, split


def boards(results: Sequence[Result]) -> list[Board]:
    """The test sets of all results, those of our tasks first, with their entries best first.

    A base that gave the same answers beside several models, on one kind of machine, is there once: as it was timed, and
    last. Raises BadInput where two records hash a test set alike whose samples are of other documents.
    """
    found: dict[tuple[str, str, str], list[Entry]] = {}
    keys: set[str] = set()
    for result in results:
        for test in result.recipe.data.tests:
            for side in SIDES:
                if side in result.samples[test.name]:
                    key = slug(f"{result.page}.{test.name}.{side}", keys)
                    entry = Entry(key, result, test.name, side, result.track(test, side))
                    found.setdefault(_identity(result, test), []).append(entry)
    labels, taken = Counter(label for _, label, _ in found), set[str]()
    made = []
    for (task, label, digest), entries in sorted(found.items(), key=lambda part: (part[0][0] == FILES, part[0])):
        shown = label if labels[label] == 1 else f"{label} ({digest[:8]})"
        _check_same(entries)
        entries = _once(entries)
        entries.sort(key=lambda entry: (-entry.figures["json_exact"]["k"], entry.key))
        made.append(Board(slug(shown, taken), shown, task, digest, tuple(entries), _texts(entries[0], digest)))
    return made


def _once(entries: Sequence[Entry]) -> list[Entry]:
    """The entries without a base's answers that are there already: the same, asked alike on a machine of that kind."""
    last: dict[Any, Entry] = {}
    for entry in sorted(entries, key=lambda one: (one.latency["n"] > 0, one.result.record["created"], one.key)):
        weights = entry.result.record["hashes"]["weights"]
        asked = (str(weights), entry.part["prompt"], entry.part["constraint"], entry.result.machine)
        said = tuple(sample["output"] for sample in entry.samples)
        last[(asked, said) if entry.side == "base" and weights else entry.key] = entry
    return list(last.values())


def _identity(result: Result, test: Test) -> tuple[str, str, str]:
    """(task, label, hash of the rows): what makes two test sets one."""
    task, label, digest = test_set(result.record, test)
    if digest is None:
        digest = value_sha256([[s["id"], s["target"]] for s in result.samples[test.name]["tuned"]])
    return task or FILES, label, digest


def _check_same(entries: Sequence[Entry]) -> None:
    keys = ("id", "target", *SLICE_KEYS)
    first = [[s[key] for key in keys] for s in entries[0].samples]
    for entry in entries[1:]:
        if [[s[key] for key in keys] for s in entry.samples] != first:
            paths = f"{entries[0].result.path} and {entry.result.path}"
            raise BadInput(
                f"{paths}: the same hash of {entry.test}, other documents or labels; `slmbench verify` says where."
            )


def _texts(entry: Entry, digest: str) -> tuple[str | None, ...]:
    """The documents, from the task's own frozen rows: only if they are, by their hash, those that were answered."""
    recipe = entry.result.recipe
    split = next(test.split for test in recipe.data.tests if test.name == entry.test)
    found = find_split(load_task(recipe.task), split)
    if found and (name := source_rows(found[1])[0]) not in found[0].made:
        by_id = {example.id: example for example in found[0].load(name)}
        examples = [by_id[s["id"]] for s in entry.samples if s["id"] in by_id]
        if len(examples) == len(entry.samples) and data_hash(examples) == digest:
            return tuple(example.text for example in examples)
    return tuple(None for _ in entry.samples)


def track(recipe: Recipe, test: Test, side: str, learnt: Sequence[str]) -> str:
    """One of `TRACKS`, from the sources that were learnt from and where the test set comes from.

    A split of a task belongs to that task's test sets, a file to those that are files and to those of the recipe's own
    task. Generated are a task's splits of any size, and files that `slmbench synth` wrote, by the name that a project
    gives them: NAME.made.jsonl.
    """
    if side == "base" or not learnt:
        return "zero-shot"
    own = load_task(recipe.task)
    home = find_split(own, test.split)
    kinds = set()
    for written in learnt:
        source = source_times(written)[0]
        split = find_split(own, source)
        labelled = split is None and home is not None and home[0] is own
        if labelled or (split and split[0].name) == (home and home[0].name):
            made = source_rows(split[1])[0] in split[0].made if split else ".made." in Path(source).name
            kinds.add("generated" if made else "own data")
    return {0: "transfer", 1: next(iter(kinds), ""), 2: "own + generated"}[len(kinds)]


def slug(text: str, taken: set[str]) -> str:
    """A name for a file of the site, out of any text and not in `taken`, to which it is added."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip(".-")[:80] or "unnamed"
    while plain.lower() in taken:
        plain = f"{plain}-{hashlib.sha256(text.encode('utf-8')).hexdigest()[:8]}"
    taken.add(plain.lower())
    return plain
