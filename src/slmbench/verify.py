"""A result checked by somebody who did not make it: every figure from the stored answers, the answers against the data.

Nothing that a record or its samples say is believed where it follows from something else: outputs are scored anew
against the data that this version has, figures are folded anew from those scores, hashes are taken anew. With weights
at hand a part of the answers is written again as well.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmbench import memory, models
from slmbench.config import Recipe, Test, recipe_of
from slmbench.core import (
    BadInput,
    Completion,
    Example,
    Request,
    SlmbenchError,
    Task,
    find_split,
    load_task,
    source_rows,
)
from slmbench.data import data_hash
from slmbench.evaluate import make_sample, request, spread
from slmbench.exported import MANIFEST, load_exported
from slmbench.files import file_sha256
from slmbench.metrics import Sample
from slmbench.pipeline import asked_examples, task_of, training_examples
from slmbench.progress import progress
from slmbench.publish import load_record, load_samples, samples_path, split_record, update_readme, write_result
from slmbench.publish.record import Record, SamplesBySplit, seal, value_sha256
from slmbench.publish.stored import read_samples, record_path, unpack
from slmbench.runs import code_hash
from slmbench.schema import Path_, leaves, strict_loads
from slmbench.template import encode, prompt_hash

if TYPE_CHECKING:
    from slmbench.core import Backend

ABSENT = "absent"
FIGURES = ("metrics", "base", "tests")
"""What of a record follows from its samples alone."""
WHOLE = (*FIGURES, "name", "samples")
"""What of a record is recomputed to the last leaf: one more than there should be is a difference too."""
RELATIVE = 1e-9
NOISE = 1e-12
"""Two floats nearer than this are the same: a difference of two equal means may be a rounding away from zero. Not so
for p-values, which may be as small as they like."""
SHARE = 10
"""Of so many rows one is answered again."""
LISTED = 20
"""Differences that are printed of one result."""
ADAPTER = Path("adapter") / models.ADAPTER
Ask = Callable[[Example, Test, str], Request]


@dataclass(frozen=True)
class Difference:
    """One thing that is not what it should be: where, what is stored there, and what was found instead."""

    place: str
    stored: Any
    found: Any

    def __str__(self) -> str:
        stored, found = (json.dumps(value, ensure_ascii=False) for value in (self.stored, self.found))
        return f"{self.place}: stored {stored}, recomputed {found}"


@dataclass
class Verdict:
    """What became of one result: how much was recomputed, how much could not be, what differs, what to know.

    `again` is test set -> {rows, same} of the answers that were written once more, those of a base under "SET, base".
    """

    result: str
    figures: int = 0
    samples: int = 0
    unchecked: int = 0
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    again: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def to_json(self) -> dict[str, Any]:
        """Plain values for a script."""
        return {"ok": self.ok, **asdict(self)}

    def lines(self) -> list[str]:
        """As text for a terminal: a line where all is well, else one for each difference, and one for each note."""
        listed = None if self.again else LISTED  # of answers that differ, every one is shown
        said = [f"{self.result}: {difference}" for difference in self.differences[:listed]]
        if not self.again and (more := len(self.differences) - LISTED) > 0:
            said.append(f"{self.result}: and {more} more differences; --json lists them all")
        done = f"{self.figures} figures recomputed from {self.samples} samples"
        left = f"{self.unchecked} that follow from none (docs/method.md) not checked"
        count = len(self.differences)
        said.append(f"{self.result}: {'ok' if self.ok else f'{count} wrong'}, {done}, {left}")
        for test, part in self.again.items():
            share = f"{part['same']} of {part['rows']} ({100 * part['same'] / part['rows']:.1f} %)"
            said.append(f"  {test}: answered again, the same {share}")
        return said + [f"  {note}" for note in self.notes]


def verify(place: Path, *, training: bool = False) -> Verdict:
    """Check a file of `results/`, or the folder of a finished run.

    With `training`, what was trained on and held back is made or read again too, which takes a while for data that is
    made. Raises BadInput where there is no record, or no samples beside it.
    """
    record = load_record(place)
    path = samples_path(record_path(place))
    content = read_samples(path)
    found: dict[Path_, Any] = {("hashes", "samples"): hashlib.sha256(content).hexdigest()}
    if place.is_dir() and (place / ADAPTER).is_file():
        found["hashes", "adapter"] = file_sha256(place / ADAPTER)
    try:
        samples: SamplesBySplit = unpack(content, path)
    except BadInput as error:
        if not (differing := differences(record, found)):
            raise
        return Verdict(str(place), differences=differing, notes=[str(error)])
    verdict = check(record, samples, str(place), training=training)
    verdict.differences[:0] = differences(record, found)
    return verdict


def check(record: Record, samples: SamplesBySplit, where: str, *, training: bool = False) -> Verdict:
    """Check a record and the samples that it was read with; `verify` without files and their hashes."""
    verdict = Verdict(where)
    found = {**own_hashes(record), **recomputed(record, samples, verdict, training=training)}
    verdict.differences += differences(record, found, WHOLE)
    verdict.figures = sum(path[0] in FIGURES and is_number(value) for path, value in found.items())
    # A recipe's numbers are checked by its hash.
    rest = {path: value for path, value in leaves(record) if path not in found and path[0] not in (*WHOLE, "recipe")}
    verdict.unchecked = sum(map(is_number, rest.values()))
    verdict.samples = sum(len(part) for stages in samples.values() for part in stages.values())
    if record["hashes"]["code"] != code_hash():
        known = record["hashes"]["code"] is not None
        what = "was another version than this" if known else "has no hash in the record"
        verdict.notes.append(f"the code that trained and answered {what}")
    return verdict


def own_hashes(record: Record) -> dict[Path_, Any]:
    """The hashes that a record has of its own parts, taken anew."""
    return {("hashes", "recipe"): value_sha256(record["recipe"]), ("hashes", "record"): seal(record)}


def recomputed(
    record: Record, samples: SamplesBySplit, verdict: Verdict, *, training: bool = False
) -> dict[Path_, Any]:
    """The leaves of a record that follow from its samples, its recipe and the data, by path.

    What of the samples themselves is not as it should be goes into `verdict`, and what could not be looked at.
    """
    whole: Record = {"samples": {"rows": sum(len(part) for stages in samples.values() for part in stages.values())}}
    try:
        recipe = recipe_of(record["recipe"], f"{verdict.result}, recipe")
        own = load_task(recipe.task)
    except BadInput as error:
        verdict.notes.append(f"{error} Nothing that depends on it was recomputed.")
        verdict.differences.append(Difference("recipe", "as it is", "one that can be read"))
        return dict(leaves(whole))
    styles = {recipe.prompt, *(test.prompt for test in recipe.data.tests)}
    whole["hashes"] = {"prompt": {style: prompt_hash(style) for style in styles}}
    for test in recipe.data.tests:
        examples = examples_here(recipe, own, test, verdict)
        stages = scored(recipe, own, test, examples, samples.get(test.name, {}), verdict)
        if examples is not None:
            whole["hashes"].setdefault("data", {})[test.name] = data_hash(examples)
        rows = len(stages.get("tuned", ())) if examples is None else len(examples)
        whole.setdefault("data", {})[test.name] = {"rows": rows, "skipped": 0}
        try:
            whole.setdefault("tests", {})[test.name] = split_record(test.prompt, stages, task_of(own, test))
        except (BadInput, KeyError) as error:
            verdict.differences.append(Difference(f"tests.{test.name}", "figures", f"none: {error}"))
    for name in samples.keys() - {test.name for test in recipe.data.tests}:
        verdict.differences.append(Difference(f"samples.{name}", "samples", ABSENT))
    whole["name"] = recipe.name
    if headline := whole.get("tests", {}).get(recipe.data.tests[0].name):
        whole |= {"metrics": headline["metrics"], "base": headline["base"]}
    if not recipe.trains:
        whole["hashes"]["adapter"] = None
    elif training:
        training_data(recipe, own, record, whole, verdict)
    return dict(leaves(whole))


def examples_here(recipe: Recipe, own: Task, test: Test, verdict: Verdict) -> list[Example] | None:
    """The rows of a test set as they are today; None for those of a file, or under schemas, that is not here."""
    if not find_split(own, test.split):
        needed = [Path(source_rows(test.split)[0]), *([Path(recipe.data.schemas)] if recipe.data.schemas else [])]
        if gone := [path for path in needed if not path.exists()]:
            verdict.notes.append(
                f"{test.name}: {gone[0]} is not here: its answers were scored against the targets stored with them,"
                f" and whether those that are JSON satisfy their schema is as stored"
            )
            return None
    return asked_examples(recipe, own, test)


def scored(
    recipe: Recipe, own: Task, test: Test, examples: Sequence[Example] | None,
    stages: Mapping[str, Sequence[Sample]], verdict: Verdict,
) -> dict[str, list[Sample]]:  # fmt: skip
    """The samples of a test set, scored anew; what differs from them as they are stored goes into `verdict`."""
    by_id = {example.id: example for example in examples or ()}
    ids = list(by_id) if examples is not None else list(dict.fromkeys(s["id"] for s in stages.get("tuned", ())))
    timed = [ids[i] for i in spread(len(ids), recipe.evaluate.latency_rows)] if ids else []
    anew: dict[str, list[Sample]] = {}
    wanted = ["tuned", *(["base"] if test.base else []), *(["timed"] if timed and test == recipe.data.tests[0] else [])]
    for stage in sorted({*stages, *wanted}):
        place, part = f"samples.{test.name}.{stage}", stages.get(stage, ())
        verdict.differences += misplaced(place, part, timed if stage.endswith("timed") else ids)
        for sample in part:
            example = by_id.get(sample["id"])
            if example is None and examples is not None:
                continue  # misplaced, and said to be so
            again = scored_anew(own, example, sample)
            if again != sample:
                verdict.differences += differences(sample, dict(leaves(again)), sample, f"{place}.{sample['id']}.")
            anew.setdefault(stage, []).append(again)
    return anew


def misplaced(place: str, samples: Sequence[Sample], ids: Sequence[str]) -> list[Difference]:
    """Where samples are not one of each of `ids`, in their order."""
    got, wanted = Counter(sample["id"] for sample in samples), Counter(ids)
    found = [
        Difference(f"{place}.{id}", f"{got[id]} times", f"{wanted[id]} times")
        for id in {**wanted, **got}
        if got[id] != wanted[id]
    ]
    if not found and [sample["id"] for sample in samples] != list(ids):
        found.append(Difference(place, "in another order", "in the order of the data"))
    return found


def scored_anew(own: Task, example: Example | None, sample: Sample) -> Sample:
    """A sample as evaluation would write it today; without its example, against the target that is stored."""
    asked = example
    if asked is None:
        tags = {"complexity": sample["complexity"], "style": sample["style"]}
        try:
            target = strict_loads(sample["target"])
        except ValueError:
            target = None
        asked = Example(sample["id"], "", sample["schema_id"], {}, target, tags)
    completion = Completion(
        sample["id"], sample["output"], (), sample["finish"], sample["prompt_tokens"], sample["output_tokens"],
        sample["first_token_s"], sample["total_s"], sample["batch"], sample["constraint"],
        **{name: sample[name] for name in ("server", "model", "error") if name in sample},
    )  # fmt: skip
    anew = make_sample(own, asked, completion)
    if example is None and anew["score"]["parsed_lenient"]:
        # The schema is not here. What holds without it: a value that is broken nowhere complies.
        errors = sample["score"].get("errors")
        anew["score"] |= {"compliant": not errors, "errors": errors}
    return anew


def training_data(recipe: Recipe, own: Task, record: Record, whole: Record, verdict: Verdict) -> None:
    """Adds the hashes of what was trained on and held back to `whole`, as far as the data is here."""
    try:
        parts = training_examples(recipe, own)
    except BadInput as error:
        verdict.notes.append(f"what was trained on cannot be hashed again: {error}")
        return
    for name, part in zip(("train", "validation"), parts, strict=True):
        if record["data"].get(name, {}).get("skipped"):
            verdict.notes.append(f"{name}: rows over the length limit were left out of it; not hashed again")
        elif part or name in record["data"]:
            whole["data"][name] = {"rows": len(part), "skipped": 0}
            whole["hashes"].setdefault("data", {})[name] = data_hash(part)


def differences(
    stored: Mapping[str, Any], found: Mapping[Path_, Any], whole: Collection[str] = (), begin: str = ""
) -> list[Difference]:
    """Where a record, or a sample, is not what was found: at every path of `found`, and at all others under `whole`."""
    there = {path: value for path, value in leaves(dict(stored)) if path in found or path[0] in whole}
    return [
        Difference(begin + ".".join(map(str, path)), there.get(path, ABSENT), found.get(path, ABSENT))
        for path in {**found, **there}
        if path not in found or path not in there or not equal(there[path], found[path], path)
    ]


def equal(stored: Any, found: Any, path: Path_) -> bool:
    """Counts and words exactly, floats as nearly as another machine's sums allow."""
    if type(stored) is not type(found):
        return False
    if isinstance(found, float):
        return math.isclose(stored, found, rel_tol=RELATIVE, abs_tol=0.0 if path[-1] == "p" else NOISE)
    return bool(stored == found)


def is_number(value: Any) -> bool:
    """Whether a leaf is a figure."""
    return isinstance(value, int | float) and not isinstance(value, bool)


# ---- answers written again


def answer_again(
    place: Path, weights: Path, verdict: Verdict, *, rows: int | None = None, seed: int | None = None
) -> None:
    """Ask a part of each test set again and add to `verdict` what the answers are: the model's, and its base's.

    `weights` is the folder of a run with its adapter, or an export, which is asked for the model's own answers only;
    its hashes are looked at first, and nothing is asked of others. `rows` of each test set are drawn by `seed`, by
    default a tenth by a seed that nobody could know beforehand, which the verdict names. Raises BadInput where there
    are no weights in the folder.
    """
    if rows is not None and rows < 1:
        raise BadInput(f"--rows {rows}: give 1 or more.")
    record = load_record(place)
    if record["hashes"]["weights"] is None:
        raise BadInput(f"{place}: of no weights that are known, so none can answer again.")
    recipe = recipe_of(record["recipe"], str(record_path(place)))
    own, samples = load_task(recipe.task), load_samples(place, record)
    found, opened = opened_weights(weights, recipe, record)
    exported = (weights / MANIFEST).is_file()
    if differing := differences(record, found):
        verdict.differences += differing
        verdict.notes.append(f"{weights}: other weights than those of the result; nothing was asked of them")
        return
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    asked: list[tuple[Test, list[Example]]] = []
    not_asked = []
    for test in recipe.data.tests:
        examples = examples_here(recipe, own, test, Verdict(""))
        constraint = record["tests"][test.name]["constraint"]
        if examples is None or data_hash(examples) != record["hashes"]["data"].get(test.name):
            not_asked.append(f"{test.name}: its data is not here")
        elif constraint != "free" and not exported:
            not_asked.append(f"{test.name}: decoded under {constraint}, which takes the folder of its export")
        else:
            asked.append((test, drawn(examples, rows, f"{seed}/{test.name}")))
    if not asked:
        raise BadInput(f"{place}: none of its answers can be written again ({'; '.join(not_asked)}).")
    verdict.notes += [f"{reason}; none of it was asked again" for reason in not_asked]
    verdict.notes.append(f"the documents were drawn by --seed {seed}")
    for stage in ("tuned",) if exported else ("tuned", "base"):
        parts = [(test, examples) for test, examples in asked if stage in samples[test.name]]
        if not parts:
            continue
        backend, ask = opened(stage == "tuned")
        for test, examples in parts:
            called = test.name if stage == "tuned" else f"{test.name}, base"
            stored = {sample["id"]: sample["output"] for sample in samples[test.name][stage]}
            requests = [ask(example, test, record["tests"][test.name]["constraint"]) for example in examples]
            changed = []
            with progress(f"again {called}", len(requests), "documents") as advance:
                for completion in backend.generate(requests):
                    if completion.text != stored[completion.id]:
                        name = f"answer.{called}.{completion.id}"
                        changed.append(Difference(name, stored[completion.id], completion.text))
                    advance(1, "")
            verdict.again[called] = {"rows": len(requests), "same": len(requests) - len(changed)}
            verdict.differences += changed
        del backend, ask  # before the next model is loaded


def drawn(examples: Sequence[Example], rows: int | None, seed: str) -> list[Example]:
    """So many of the rows, by default a tenth of them, in their order."""
    count = min(len(examples), math.ceil(len(examples) / SHARE) if rows is None else rows)
    return [examples[i] for i in sorted(random.Random(seed).sample(range(len(examples)), count))]


def opened_weights(
    folder: Path, recipe: Recipe, record: Record
) -> tuple[dict[Path_, Any], Callable[[bool], tuple[Backend, Ask]]]:
    """The hashes of the weights in a folder, as a record has them, and what opens them: (whether with the adapter) ->
    (backend, what it is asked for an example of a test set under a constraint). An export has its adapter in it."""
    if (folder / MANIFEST).is_file():
        exported = load_exported(folder)
        manifest = exported.manifest
        base, adapter = manifest["base"], manifest.get("adapter_sha256")
        hashes = (base.get("sha256"), base.get("tokenizer_sha256"), adapter)
        files = value_sha256(manifest["files"])

        def opened(tuned: bool) -> tuple[Backend, Ask]:
            def ask(example: Example, test: Test, constraint: str) -> Request:
                freely = request(encode(example, exported.tokens, test.prompt), recipe.evaluate)
                if constraint == "free":
                    return freely
                return exported.request(example, freely.max_new_tokens, constraint)

            return exported.backend(), ask

    elif (adapter_file := folder / ADAPTER).is_file() or (not recipe.trains and record_path(folder).is_file()):
        found, files = models.find(recipe.base), None
        has_adapter = adapter_file.is_file()
        hashes = (found.sha256, found.tokenizer_sha256, file_sha256(adapter_file) if has_adapter else None)
        # As it was answered, whatever this machine would choose.
        asked = record.get("evaluation", {}).get("precision", recipe.evaluate.precision)

        def opened(tuned: bool) -> tuple[Backend, Ask]:
            from slmbench.backends.hf import HfBackend

            device = memory.best_device()
            model = models.load_merged(
                found, adapter_file.parent if tuned and has_adapter else None, memory.precision(asked), device
            )
            tokenizer = models.load_tokenizer(found)

            def ask(example: Example, test: Test, constraint: str) -> Request:
                return request(encode(example, tokenizer, test.prompt), recipe.evaluate)

            return HfBackend(model, tokenizer), ask

    else:
        raise BadInput(f"{folder}: neither an adapter nor an export in it; give the folder of a run, or of an export.")
    names = ("weights", "tokenizer", "adapter")
    known: dict[Path_, Any] = {("hashes", name): value for name, value in zip(names, hashes, strict=True)}
    if "export" in record["hashes"]:  # what was answered by an export, none but that export answers again
        known["hashes", "export"] = files
    return known, opened


# ---- the verbs


def results_of(places: Sequence[Path]) -> list[Path]:
    """The results among files and folders; of a folder that is no run's, all in it. Raises BadInput where none is."""
    found: list[Path] = []
    for place in places:
        inside = sorted(place.glob("*.json")) if place.is_dir() and not record_path(place).is_file() else [place]
        if not inside:
            raise BadInput(f"{place}: no results in it; give a file of results/, a folder of them, or a run's folder.")
        found += inside
    return found


def verify_all(
    places: Sequence[Path], *, training: bool = False, rerun: Path | None = None, rows: int | None = None,
    seed: int | None = None,
) -> Iterator[Verdict]:  # fmt: skip
    """The `verify` verb: a verdict for each result, as they are reached. Raises BadInput as `verify` does."""
    found = results_of(places)
    if rerun is None and rows is not None:
        raise BadInput(f"--rows {rows}: of answers that are written again; give --rerun RUN too.")
    if rerun is not None and len(found) > 1:
        raise BadInput(f"--rerun {rerun}: the weights of one result, and {len(found)} are given; give one.")
    for place in found:
        verdict = verify(place, training=training)
        if rerun is not None and verdict.ok:
            answer_again(place, rerun, verdict, rows=rows, seed=seed)
        elif rerun is not None:
            verdict.notes.append("nothing was asked again: the result itself is not right")
        yield verdict


def publish_runs(folders: Sequence[Path], results: Path, readme: Path) -> list[str]:
    """The `publish` verb: check each run's result and put it into `results`, then write the README's table anew.

    Raises SlmbenchError, and publishes nothing more, where a result is not what its samples give.
    """
    lines = []
    for folder in folders:
        record = load_record(folder)
        if not (verdict := verify(folder)).ok:
            raise SlmbenchError(f"{verdict.lines()[0]}; give the run's own command again.")
        path = results / f"{record['name']}.json"
        write_result(path, record, load_samples(folder, record))
        lines += [str(path), str(samples_path(path))]
    if update_readme(readme, results):
        lines.append(f"{readme}: table written anew")
    return lines
