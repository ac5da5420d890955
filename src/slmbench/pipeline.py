"""From a recipe to a finished run, one stage after another; every stage is skipped where it was done before."""

from __future__ import annotations

import datetime
import gc
import importlib.util
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from slmbench import checkpoint, memory, models
from slmbench.compare import table
from slmbench.config import Recipe, Test
from slmbench.core import BadInput, Example, Task, find_split, load_task, source_rows, source_times
from slmbench.data import data_hash, read_examples, train_validation
from slmbench.evaluate import evaluate, request, spread
from slmbench.files import file_sha256, json_text, read_json, read_jsonl_tolerant, write_atomic
from slmbench.metrics import LABELS, Sample, shown, summarize
from slmbench.monitor import read_lines, summary
from slmbench.progress import say
from slmbench.publish import (
    build_record,
    card,
    report,
    split_record,
    value_sha256,
    write_result,
)
from slmbench.publish.stored import FINISHED
from slmbench.publish.tables import side_name
from slmbench.runs import Run
from slmbench.template import Encoded, PromptStyle, encode, prompt_hash
from slmbench.trackers import Trackers, check
from slmbench.weights import BaseModel

if TYPE_CHECKING:
    from slmbench.forecast import Forecast
    from slmbench.train import Trainer


@dataclass(frozen=True)
class Split:
    """Examples and their token ids, in one order; `skipped` were over the length limit and left out, as asked.

    `task` is the one that scores them, for a test set.
    """

    examples: list[Example]
    encoded: list[Encoded]
    skipped: int = 0
    task: Task | None = None

    def facts(self) -> dict[str, Any]:
        """What a record says of a split."""
        return {"sha256": data_hash(self.examples), "rows": len(self.examples), "skipped": self.skipped}


@dataclass(frozen=True)
class Plan:
    """A recipe with everything it names found, read and hashed."""

    recipe: Recipe
    base: BaseModel
    tokenizer: Any
    task: Task
    train: Split
    validation: Split
    tests: dict[str, Split]
    run: Run
    track: tuple[str, ...] = ()
    """Where training shows its updates beside TensorBoard."""
    memory: int | None = None
    """Bytes that the run keeps under; None for all there is."""

    def test(self, name: str) -> Test:
        """The recipe's settings of a test set."""
        return next(test for test in self.recipe.data.tests if test.name == name)


def smoke(recipe: Recipe) -> Recipe:
    """The same recipe on 24 examples: every stage, no meaningful figure."""
    return replace(
        recipe,
        name=f"{recipe.name}-smoke",
        data=replace(recipe.data, limit=24, validation=4 if recipe.data.validation else 0, tests=recipe.data.tests[:1]),
        train=replace(
            recipe.train, epochs=min(1, recipe.train.epochs), update_examples=8, together=min(8, recipe.train.together)
        ),
        evaluate=replace(recipe.evaluate, latency_rows=2),
    )


def make_plan(recipe: Recipe, runs: Path, track: Sequence[str] = (), memory_limit: int | None = None) -> Plan:
    """Find the base weights, read and encode the data. Raises BadInput for whatever is wrong with either."""
    check(track)
    base = models.find(recipe.base)
    say(f"base      {base.name}: {base.origin}, {base.parameters / 1e6:.0f} M parameters, sha256 {base.sha256[:12]}")
    tokenizer = models.load_tokenizer(base)
    task = load_task(recipe.task)
    examples, held = training_examples(recipe, task)
    train = encoded_split(recipe, tokenizer, examples, recipe.prompt, "train")
    validation = encoded_split(recipe, tokenizer, held, recipe.prompt, "validation")
    tests = {}
    for test in recipe.data.tests:
        split = encoded_split(recipe, tokenizer, asked_examples(recipe, task, test), test.prompt, test.name)
        tests[test.name] = replace(split, task=task_of(task, test))
    parts = {"train": train, "validation": validation, **tests}
    for name, part in parts.items():
        tokens = sum(len(row.ids) for row in part.encoded)
        left_out = f", {part.skipped} over {recipe.data.max_tokens} tokens left out" if part.skipped else ""
        say(f"data      {name}: {len(part.examples)} examples, {tokens:,} tokens{left_out}")
    facts = {name: part.facts() for name, part in parts.items()}
    run = Run(runs / recipe.name, {"recipe": recipe.to_dict(), "base": base.sha256, "data": facts})
    return Plan(recipe, base, tokenizer, task, train, validation, tests, run, tuple(track), memory_limit)


def training_examples(recipe: Recipe, task: Task) -> tuple[list[Example], list[Example]]:
    """What an epoch takes and what is held back of it, rows over the length limit among them. Raises BadInput."""
    sources, limit = [source_times(source) for source in recipe.data.train], recipe.data.limit
    # A limit is on all sources together, and then each row counts once.
    share = limit and max(1, limit // len(sources))
    rows = [(e, 1 if limit else times) for name, times in sources for e in load_examples(recipe, task, name, share)]
    held: list[Example] = []
    if recipe.data.validation:
        _, held = train_validation([e for e, _ in rows], recipe.data.validation, recipe.seed)
    out = {id(example) for example in held}
    return [e for e, times in rows if id(e) not in out for _ in range(times)], held


def asked_examples(recipe: Recipe, task: Task, test: Test) -> list[Example]:
    """The rows of a test set, as many as the recipe takes. Raises BadInput."""
    return load_examples(recipe, task, test.split, recipe.data.limit and recipe.data.limit // 3)


def task_of(task: Task, test: Test) -> Task:
    """The task whose split a test set is; the recipe's own, `task`, for a file."""
    found = find_split(task, test.split)
    return found[0] if found else task


def load_examples(recipe: Recipe, task: Task, source: str, limit: int | None) -> list[Example]:
    """A split of the task or of another, else a file; at most `limit` rows, evenly spaced."""
    if found := find_split(task, source):
        examples = load_split(*found)
    elif not Path(source).suffix and not Path(source).exists():
        raise BadInput(f"{source}: neither a split of {task.name} ({', '.join(task.splits())}) nor a file; give one.")
    else:
        schemas = Path(recipe.data.schemas) if recipe.data.schemas else None
        path, rows = source_rows(source)
        examples = read_examples(Path(path), schemas=schemas, split=Path(path).stem)
        examples = _spread(path, examples, rows)
    return [examples[i] for i in spread(len(examples), limit)] if limit else examples


def load_split(task: Task, split: str) -> list[Example]:
    """A split, or as SPLIT:ROWS so many of its rows, evenly spaced. Raises BadInput for another number of them."""
    name, rows = source_rows(split)
    if not rows or name in task.made:
        return task.load(split)
    return _spread(f"{task.name}: {name}", task.load(name), rows)


def _spread(name: str, examples: list[Example], rows: str) -> list[Example]:
    if not rows:
        return examples
    if not (rows.isascii() and rows.isdigit() and 0 < int(rows) <= len(examples)):
        raise BadInput(f"{name}:{rows}: give 1 to {len(examples)} rows after the colon.")
    return [examples[i] for i in spread(len(examples), int(rows))]


def encoded_split(recipe: Recipe, tokenizer: Any, examples: Sequence[Example], style: PromptStyle, name: str) -> Split:
    """Tokenise; rows over `data.max_tokens` are an error naming the first, or left out where training says `skip`."""
    rows = [encode(example, tokenizer, style) for example in examples]
    long = [row for row in rows if len(row.ids) > recipe.data.max_tokens]
    if long and recipe.data.over_long == "error":
        raise BadInput(
            f"{name}: {long[0].id} has {len(long[0].ids)} tokens, over data.max_tokens = {recipe.data.max_tokens}"
            f" ({len(long)} such rows); raise it, or set data.over_long: skip to leave them out."
        )
    if not long or name not in ("train", "validation"):  # a test set is never thinned: its long rows count
        return Split(list(examples), rows)
    kept = [(e, r) for e, r in zip(examples, rows, strict=True) if len(r.ids) <= recipe.data.max_tokens]
    if not kept:
        raise BadInput(f"{name}: every row is over data.max_tokens = {recipe.data.max_tokens}; raise it.")
    return Split([e for e, _ in kept], [r for _, r in kept], len(long))


def train_stage(plan: Plan) -> None:
    """Train the adapter and write it with its tokenizer; the best by validation stands beside the last."""
    if plan.run.done("train") or not plan.recipe.trains:
        checkpoint.remove(plan.run.folder / "train")  # a kill may have come between the end and this
        return
    memory.forget_peak()
    with plan.run.stage("train"), closing(Trackers(plan.run.folder, plan.track, plan.recipe.to_dict())) as trackers:
        told = forecast_of(plan)
        trainer, model = trainer_of(plan, told, trackers)
        plan.run.note("total_updates", trainer.updates)
        figures = trainer.run()
        models.save_adapter(model, plan.run.folder / "adapter", plan.base)
        plan.tokenizer.save_pretrained(plan.run.folder / "tokenizer")
        plan.run.note("training", figures)
    note_plan(plan, told, figures)
    note_memory(plan)
    del model, trainer
    gc.collect()
    checkpoint.remove(plan.run.folder / "train")


def train_recipe(plan: Plan) -> Path | None:
    """The `train` verb: the folder of the adapter; None in a process of several that is not the first.

    Raises BadInput for a recipe that trains nothing.
    """
    if not plan.recipe.trains:
        raise BadInput("train.epochs is 0: there is nothing to train; give `slmbench run`, or more epochs.")
    from slmbench.train import is_first_process

    if not is_first_process():
        if not plan.run.done("train"):
            trainer_of(plan, forecast_of(plan))[0].run()
        return None
    with plan.run.locked():
        train_stage(plan)
    return plan.run.folder / "adapter"


def forecast_of(plan: Plan) -> Forecast:
    """What is foretold of a plan's training. Raises SlmbenchError where it does not fit the memory that is there."""
    from slmbench.forecast import allowed, check_fit, forecast

    told = forecast(plan, limit=allowed(plan), measure=False)
    check_fit(told, ["training"])
    return told


def trainer_of(plan: Plan, told: Forecast, trackers: Trackers | None = None) -> tuple[Trainer, Any]:
    """The training of a plan and the model it trains, nothing of it done yet."""
    from slmbench import train

    dtype, folder = memory.precision(plan.recipe.train.precision), plan.run.folder
    model = train.attach_adapter(models.load_model(plan.base, dtype, train.own_device()), plan.recipe)

    def keep_best() -> None:
        models.save_adapter(model, folder / "adapter_best", plan.base)

    trainer = train.Trainer(
        plan.recipe, model, plan.train.encoded, plan.validation.encoded, plan.tokenizer.pad_token_id,
        folder / "train", plan.run.made_of, keep_best, trackers,
    )  # fmt: skip
    trainer.budget, trainer.step.recompute = told.pass_tokens, told.recompute
    if plan.memory:
        memory.limit_data(plan.memory)
    return trainer, model


def evaluate_stage(plan: Plan, kind: str, splits: Sequence[str] | None = None) -> None:
    """Answer every test set with the base (`kind` "base") or the adapter ("tuned"), as far as that is not done.

    Of a recipe that trains nothing the base answers as "tuned"."""
    asked = [name for name in (splits or plan.tests) if kind == "tuned" or plan.test(name).base]
    wanted = [name for name in asked if not plan.run.done(f"{kind}/{name}")]
    first, settings = next(iter(plan.tests)), plan.recipe.evaluate
    # The base decodes at the same speed and only writes for longer: its latency would say nothing.
    timed = settings.latency_rows > 0 and kind == "tuned" and first in asked and not plan.run.done("tuned/latency")
    if not wanted and not timed:
        return
    from slmbench.backends.hf import HfBackend
    from slmbench.forecast import allowed, forecast

    dtype, device = memory.precision(settings.precision), memory.best_device()
    adapter = adapter_of(plan.run.folder, plan.recipe) if kind == "tuned" else None
    told = forecast(plan, limit=allowed(plan), measure=False)
    model = models.load_merged(plan.base, adapter, dtype, device)
    many = HfBackend(model, plan.tokenizer, told.evaluation_positions)
    single = HfBackend(model, plan.tokenizer, rows=1)
    for name in wanted:
        split, path = plan.tests[name], plan.run.folder / kind / f"{name}.jsonl"
        with plan.run.stage(f"{kind}/{name}", len(split.examples)):
            evaluate(plan.task, many, split.examples, split.encoded, settings, path, f"{kind} {name}")
    if timed:
        split, path = plan.tests[first], plan.run.folder / "tuned" / f"{first}.timed.jsonl"
        rows = spread(len(split.examples), settings.latency_rows)
        with plan.run.stage("tuned/latency"):
            # A warm-up: the first answer of a process pays for allocations that no later one does.
            list(single.generate([replace(request(split.encoded[0], settings), max_new_tokens=8)]))
            evaluate(
                plan.task, single, [split.examples[i] for i in rows], [split.encoded[i] for i in rows], settings,
                path, "tuned one at a time",
            )  # fmt: skip
    if timed or (kind == "tuned" and "machine" not in plan.run.state):
        plan.run.note("machine", memory.machine())  # whose the times are, wherever the rest is done
    note_memory(plan)
    del model, many, single
    gc.collect()


def note_plan(plan: Plan, told: Forecast, figures: Mapping[str, Any]) -> None:
    """Write what training took beside what was foretold of it, in plan.json."""
    path = plan.run.folder / "plan.json"
    record = read_json(path, FINISHED) if path.exists() else {"foretold": told.to_json()}
    measured = {key: figures[key] for key in ("peak_memory_gib", "peak_gpu_memory_gib", "seconds", "pass_tokens")}
    write_atomic(path, json_text({**record, "measured": measured}))


def note_memory(plan: Plan) -> None:
    """Keep the most memory that any process of this run has held."""
    plan.run.note("peak_memory_gib", round(max(memory.peak_rss_gib(), plan.run.state.get("peak_memory_gib", 0)), 3))


def samples_of(folder: Path, split: str) -> dict[str, list[Sample]]:
    """The stored samples of one test set: `tuned`, and `base` and `timed` where they were taken."""
    places = {
        "tuned": f"tuned/{split}.jsonl",
        "base": f"base/{split}.jsonl",
        "timed": f"tuned/{split}.timed.jsonl",
    }
    found = {stage: read_jsonl_tolerant(folder / place) for stage, place in places.items()}
    return {stage: samples for stage, samples in found.items() if samples}


def adapter_of(run: Path, recipe: Recipe) -> Path | None:
    """The folder of a run's adapter; None of a recipe that trains none. Raises BadInput where there should be one."""
    if not recipe.trains:
        return None
    if not (run / "adapter" / models.ADAPTER).is_file():
        raise BadInput(f"{run}: no trained adapter in it; give the folder of a run that has been trained.")
    return run / "adapter"


def publish_stage(plan: Plan) -> dict[str, Any]:
    """Fold the stored samples into record, card, report and results; cheap, so done anew each time."""
    run = plan.run
    samples = {name: in_order(samples_of(run.folder, name), plan.tests[name]) for name in plan.tests}
    tests = {
        name: split_record(plan.test(name).prompt, parts, plan.tests[name].task or plan.task)
        for name, parts in samples.items()
    }
    training = run.state["training"] if plan.recipe.trains else {"trainable_parameters": 0}
    weights = plan.base.facts()
    learnt = {"train": plan.train, "validation": plan.validation} if plan.recipe.trains else {}
    data = {**learnt, **plan.tests}
    facts = {name: part.facts() for name, part in data.items() if part.examples}
    styles = {plan.recipe.prompt, *(test.prompt for test in plan.recipe.data.tests)}
    hashes = {
        "recipe": value_sha256(plan.recipe.to_dict()),
        "data": {name: part.pop("sha256") for name, part in facts.items()},
        "prompt": {style: prompt_hash(style) for style in sorted(styles)},
        "weights": weights.pop("sha256"),
        "tokenizer": weights.pop("tokenizer_sha256"),
        "adapter": file_sha256(run.folder / "adapter" / models.ADAPTER) if plan.recipe.trains else None,
        "code": run.code(stage for stage in run.state["stages"] if stage != "preflight"),
    }
    record = build_record(
        name=plan.recipe.name,
        created=run.state.get("created") or now(),
        recipe=plan.recipe.to_dict(),
        machine=run.state.get("machine") or memory.machine(),
        weights=weights,
        adapter={"parameters": training["trainable_parameters"]},
        data=facts,
        prompt={"style": plan.recipe.prompt},
        tests=tests,
        training=training,
        seconds=run.seconds(),
        peak_memory_gib=run.state.get("peak_memory_gib"),
        hashes=hashes,
    )
    record["evaluation"] = {"precision": memory.precision(plan.recipe.evaluate.precision)}
    record["hardware"] = summary(run.folder / "hardware.jsonl")
    run.note("created", record["created"])
    examples = {name: split.examples for name, split in plan.tests.items()}
    record = write_result(run.folder / "record.json", record, samples)
    run.write("training_metadata.json", json_text({key: record[key] for key in METADATA}))
    run.write("README.md", card(record))
    run.write("report.html", report(record, samples, examples, *beside(run.folder)))
    return record


def beside(folder: Path) -> tuple[list[Any], list[Any], dict[str, Any], dict[str, Any] | None]:
    """What a run's folder has for its report besides the record: the history of its training, samples of the hardware,
    what each of its exports says of its confidences, and the plan it was begun with."""
    calibration = {
        path.parent.name: read_json(path, FINISHED).get("calibration")
        for path in sorted(folder.glob("export/[!.]*/manifest.json"))
    }
    history = read_jsonl_tolerant(folder / "train" / "history.jsonl")
    plan = folder / "plan.json"
    told = read_json(plan, FINISHED) if plan.is_file() else None
    return history, read_lines(folder / "hardware.jsonl"), calibration, told


METADATA = (
    *("name", "created", "slmbench", "recipe", "machine", "weights", "adapter", "data", "prompt", "training"),
    "hashes",
)


def in_order(parts: Mapping[str, list[Sample]], split: Split) -> dict[str, list[Sample]]:
    """Samples in the order of their examples, as they would stand had nothing been interrupted."""
    place = {example.id: i for i, example in enumerate(split.examples)}
    return {stage: sorted(samples, key=lambda s: place[s["id"]]) for stage, samples in parts.items()}


def now() -> str:
    """The time, ISO 8601, UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0).isoformat()


def run_recipe(
    recipe: Recipe, runs: Path, *, dry_run: bool = False, track: Sequence[str] = (), memory_limit: int | None = None
) -> dict[str, Any] | None:
    """All stages. Returns the record, or None after a dry run, which stops behind the preflight."""
    from slmbench.preflight import check_data, preflight_stage

    plan = make_plan(recipe, runs, track, memory_limit)
    with plan.run.locked():
        plan.run.write("recipe.yaml", yaml.safe_dump(recipe.to_dict(), sort_keys=False, allow_unicode=True))
        check_data(plan)
        preflight_stage(plan)
        if dry_run:
            say("dry run: stopping before anything is spent")
            return None
        evaluate_stage(plan, "base")
        train_stage(plan)
        evaluate_stage(plan, "tuned")
        record = publish_stage(plan)
    for name, test in record["tests"].items():
        if test["comparison"]:
            side = side_name(record)
            say(f"\n{name}, base against {side} on the same {test['comparison']['n']} rows:")
            say(table(test["comparison"], b=side))
    adapter = ", adapter/" if recipe.trains else ""
    say(f"\nwritten to {plan.run.folder}: report.html, README.md (the model card), record.json{adapter}")
    return record


def evaluate_recipe(plan: Plan, splits: Sequence[str] | None) -> str:
    """The `evaluate` verb: base, then the adapter where it is trained; returns the figures as text."""
    for name in splits or []:
        if name not in plan.tests:
            raise BadInput(f"--split {name}: the recipe has {', '.join(plan.tests)}.")
    with plan.run.locked():
        evaluate_stage(plan, "base", splits)
        if (plan.run.folder / "adapter").is_dir() or not plan.recipe.trains:
            evaluate_stage(plan, "tuned", splits)
    lines = []
    for name in splits or plan.tests:
        for kind, samples in samples_of(plan.run.folder, name).items():
            if kind in ("base", "tuned"):
                own = (plan.tests[name].task or plan.task).measures(samples)
                told = "  ".join(f"{LABELS[m]} {shown(f['value'], m)}" for m, f in summarize(samples).items())
                told += "".join(f"  {f['label']} {shown(f['value'], m, 'share' in f)}" for m, f in own.items())
                called = kind if kind == "base" or plan.recipe.trains else "model"
                lines.append(f"{name} {called} (n = {len(samples)}): {told}")
    return "\n".join(lines)


def build_data(task: str, split: str | None, rows: int | None, out: Path | None) -> list[str]:
    """The `data build` verb: a task's files, made by its own generator."""
    load_task(task)
    if importlib.util.find_spec(f"slmbench.tasks.{task}.generate") is None:
        raise BadInput(f"task {task}: its files are written by hand; there is nothing to build them from.")
    generate = importlib.import_module(f"slmbench.tasks.{task}.generate")
    folder = out or Path("data") / task
    return [str(generate.write(name, folder, rows)) for name in ([split] if split else generate.SIZES)]
