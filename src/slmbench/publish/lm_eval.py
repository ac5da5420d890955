"""Results as lm-eval (EleutherAI's lm-evaluation-harness) writes its own, and what its tasks share with ours.

MODEL/results_DATE.json        figures, what was asked and how, numbers of documents
MODEL/samples_TASK_DATE.jsonl  a line a document: what was asked, what was answered, how that was scored

`integrations/lm_eval` has lm-eval ask the same of a model. Documents and scores are made here for both, so two such
files of one model differ only where its answers do.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slmbench.config import Test
from slmbench.core import Example, Task, find_split
from slmbench.files import json_text
from slmbench.metrics import PROPORTIONS, Sample, f1
from slmbench.publish.record import Record, kind_of
from slmbench.template import prompt_text, target_text

SHARES = ("json_exact", "schema_compliance")
METRICS = (*SHARES, "field_f1")
FILTER = "none"
"""What lm-eval calls answers as they are."""
GENERATION = {"until": [], "do_sample": False}
"""Greedy, until the model ends."""


@dataclass(frozen=True)
class Answered:
    """A test set and what one model answered: `samples` are of `examples`, in their order; `task` scores them."""

    name: str
    """The task's name in lm-eval."""
    task: Task
    test: Test
    examples: Sequence[Example]
    samples: Sequence[Sample]


def task_name(own: Task, test: Test) -> str:
    """What a test set of a recipe of the task `own` is called: `slmbench_edge_json` is its split `test`, asked with
    the schema; other splits, files and plain prompts say so."""
    if found := find_split(own, test.split):
        task, split = found
        name = task.name if split == "test" else f"{task.name}_{split}"
    else:
        name = f"file_{test.name}"
    prompt = "" if test.prompt == "schema" else f"_{test.prompt}"
    return re.sub(r"\W", "_", f"slmbench_{name}{prompt}")


def document(task: str, example: Example) -> dict[str, str]:
    """An example of a task as lm-eval's row; schema and target are JSON."""
    return {
        "task": task,
        "id": example.id,
        "schema_id": example.schema_id,
        "complexity": example.tags.get("complexity", "unlabelled"),
        "style": example.tags.get("style", "unlabelled"),
        "text": example.text,
        "schema": json.dumps(example.schema, ensure_ascii=False),
        "target": target_text(example),
    }


def example_of(row: Mapping[str, str]) -> Example:
    """The example that `document` made a row of."""
    tags = {"complexity": row["complexity"], "style": row["style"]}
    schema, target = json.loads(row["schema"]), json.loads(row["target"])
    return Example(row["id"], row["text"], row["schema_id"], schema, target, tags)


def measured(score: Mapping[str, Any]) -> dict[str, Any]:
    """What lm-eval collects of one answer's score: `json_exact` and `schema_compliance` are 0 or 1, `field_f1` the
    numbers of leaves (hit, predicted, gold), which `field_f1` pools."""
    shares = {name: float(score[PROPORTIONS[name]]) for name in SHARES}
    return {**shares, "field_f1": [score["hits"], score["predicted"], score["gold"]]}


def field_f1(counts: Sequence[Sequence[int]]) -> float:
    """FieldF1 (micro) of the counts that `measured` gave of each answer."""
    return f1(*(sum(column) for column in zip(*counts, strict=True)))


def _seconds(record: Record, stages: Sequence[str]) -> str | None:
    """What answering took; that of answers which no run wrote is known as a whole only."""
    seconds = record["seconds"]
    if "bench" in seconds:
        return str(seconds["bench"])
    return str(sum(seconds[stage] for stage in stages)) if all(stage in seconds for stage in stages) else None


def lm_eval_files(record: Record, stage: str, answered: Sequence[Answered]) -> dict[str, str]:
    """The files of one model, by their places: of the tuned model (`stage` "tuned") or of its base ("base").

    The same record gives the same bytes. Settings that lm-eval has and we do not are left out or None.
    """
    model = record["name"] if stage == "tuned" else record["weights"]["name"]
    if stage == "base" and model == record["name"]:
        model += "_base"
    folder = re.sub(r"[\"<>:/|\\?*\[\]]+", "__", model).lstrip(".") or "model"
    created = datetime.datetime.fromisoformat(record["created"])
    created = created if created.tzinfo else created.replace(tzinfo=datetime.UTC)
    date = created.astimezone(datetime.UTC).replace(tzinfo=None).isoformat().replace(":", "-")
    lines = {part.name: [_line(i, *pair, part) for i, pair in enumerate(_pairs(part))] for part in answered}
    results = {
        "results": {part.name: _figures(part) for part in answered},
        "group_subtasks": {},
        "configs": {part.name: _config(record, part) for part in answered},
        "versions": {part.name: part.task.version for part in answered},
        "n-shot": {part.name: 0 for part in answered},
        "higher_is_better": {part.name: dict.fromkeys(METRICS, True) for part in answered},
        "n-samples": {part.name: {"original": len(part.examples), "effective": len(part.samples)} for part in answered},
        "config": _model(record, stage),
        "git_hash": None,
        "date": created.timestamp(),
        "pretty_env_info": "\n".join(f"{key}: {value}" for key, value in record["machine"].items()),
        "transformers_version": record["machine"].get("versions", {}).get("transformers"),
        "lm_eval_version": None,
        "upper_git_hash": None,
        "task_hashes": {
            name: _sha256("".join(line["doc_hash"] + line["prompt_hash"] + line["target_hash"] for line in part))
            for name, part in lines.items()
        },
        "model_source": "slmbench",
        "model_name": model,
        "model_name_sanitized": folder,
        **dict.fromkeys(("system_instruction", "system_instruction_sha", "fewshot_as_multiturn")),
        **dict.fromkeys(("chat_template", "chat_template_sha")),
        "total_evaluation_time_seconds": _seconds(record, [f"{stage}/{part.test.name}" for part in answered]),
    }
    return {
        f"{folder}/results_{date}.json": json_text(results, indent=2),
        **{
            f"{folder}/samples_{name}_{date}.jsonl": "".join(
                json.dumps(line, ensure_ascii=False) + "\n" for line in part
            )
            for name, part in lines.items()
        },
    }


def _pairs(part: Answered) -> list[tuple[Example, Sample]]:
    return list(zip(part.examples, part.samples, strict=True))


def _line(number: int, example: Example, sample: Sample, part: Answered) -> dict[str, Any]:
    """A line of samples, with its keys in lm-eval's order."""
    row = document(part.task.name, example)
    prompt = prompt_text(example.text, example.schema, part.test.prompt)
    return {
        "doc_id": number,
        "doc": row,
        "target": row["target"],
        "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": GENERATION}},
        "resps": [[sample["output"]]],
        "filtered_resps": [sample["output"]],
        "filter": FILTER,
        "metrics": list(METRICS),
        "doc_hash": _sha256(json.dumps(row, indent=2, ensure_ascii=False)),
        "prompt_hash": _sha256(prompt),
        "target_hash": _sha256(row["target"]),
        **measured(sample["score"]),
    }


def _figures(part: Answered) -> dict[str, Any]:
    """The figures of a test set. A share's error is that of a mean; lm-eval has none for a figure of ours."""
    values = [measured(sample["score"]) for sample in part.samples]
    n = len(values)
    figures: dict[str, Any] = {"name": part.name, "alias": part.name, "sample_len": n}
    for name in SHARES:
        mean = sum(value[name] for value in values) / n
        figures[f"{name},{FILTER}"] = mean
        figures[f"{name}_stderr,{FILTER}"] = math.sqrt(mean * (1 - mean) / (n - 1)) if n > 1 else "N/A"
    figures[f"field_f1,{FILTER}"] = field_f1([value["field_f1"] for value in values])
    figures[f"field_f1_stderr,{FILTER}"] = "N/A"
    return figures


def _config(record: Record, part: Answered) -> dict[str, Any]:
    """What was asked and how; an answer's budget follows from the gold's tokens, so the rule stands here."""
    evaluation = record["recipe"].get("evaluate", {})
    budget = {key: evaluation[key] for key in ("budget_factor", "budget_extra") if key in evaluation}
    return {
        "task": part.name,
        "dataset_kwargs": {"task": part.task.name, "split": part.test.split},
        "test_split": "test",
        "num_fewshot": 0,
        "metric_list": [{"metric": name, "higher_is_better": True} for name in METRICS],
        "output_type": "generate_until",
        "generation_kwargs": GENERATION,
        "repeats": 1,
        "metadata": {
            "version": part.task.version,
            "prompt": part.test.prompt,
            "prompt_sha256": record["hashes"]["prompt"].get(part.test.prompt),
            "constraint": part.samples[0]["constraint"],
            **budget,
        },
    }


def _model(record: Record, stage: str) -> dict[str, Any]:
    """The model and how it was run."""
    weights, tuned = record["weights"], stage == "tuned" and kind_of(record) == "tuned"
    extra = (record["adapter"].get("parameters") or 0) if tuned else 0
    return {
        "model": "slmbench",
        "model_args": {"pretrained": weights["name"], **({"peft": record["name"]} if tuned else {})},
        "model_num_parameters": weights["parameters"] + extra if weights.get("parameters") else None,
        "model_dtype": record.get("evaluation", {}).get("precision"),
        "model_revision": weights.get("revision"),
        "model_sha": record["hashes"]["weights"],
        **({"peft_sha": record["hashes"]["adapter"]} if tuned else {}),
        **dict.fromkeys(("batch_size", "device", "use_cache", "limit", "gen_kwargs")),
        "batch_sizes": [],
        "bootstrap_iters": 0,
        **dict.fromkeys(("random_seed", "numpy_seed", "torch_seed", "fewshot_seed")),
    }


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
