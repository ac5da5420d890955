"""The same model and documents by slmbench and by lm-eval: whether prompts, answers and scores are the same.

    slmbench export runs/edge_json_135m --to merged
    python benchmarks/lm_eval_agreement.py runs/edge_json_135m --rows 100

Both read the weights of one folder with transformers; lm-eval asks the task of integrations/lm_eval, one document at a
time. Of every answer that differs it is said by what: the first token at which the two part, and how near to each other
the model held both. In bf16, products of other sizes round otherwise, so near ties fall to either side; in fp32, the
default, hardly any does.
"""

from __future__ import annotations

import argparse
import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmbench.bench import answers
from slmbench.config import Evaluation
from slmbench.core import Backend, BadInput, Completion, Example, Request, SlmbenchError, load_task
from slmbench.evaluate import request, spread
from slmbench.files import json_text, write_atomic
from slmbench.metrics import Sample, proportion
from slmbench.progress import say
from slmbench.publish.lm_eval import SHARES, field_f1, measured
from slmbench.publish.tables import full, markdown_table
from slmbench.template import Encoded, encode

CONFIGURATION = Path(__file__).resolve().parents[1] / "integrations" / "lm_eval"
TASKS = ("edge_json", "edge_intent", "edge_func_call")


@dataclass
class Kept:
    """A backend that keeps what it answered, with the tokens."""

    backend: Backend
    answers: dict[str, Completion] = field(default_factory=dict)

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """What the backend answers."""
        for completion in self.backend.generate(requests):
            self.answers[completion.id] = completion
            yield completion


def main(argv: Sequence[str] | None = None) -> int:
    """Answer with both, print the table and every difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "model", type=Path, help="folder of a model as transformers reads it, or of a run exported to it"
    )
    parser.add_argument("--task", choices=TASKS, default=TASKS[0], help=f"default: {TASKS[0]}")
    parser.add_argument(
        "--rows", type=int, default=100, metavar="N", help="of its test split, evenly spread (default: 100)"
    )
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of both (default: fp32)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write figures and answers there, as JSON")
    parser.add_argument("--json", action="store_true", help="print that instead of the table")
    arguments = parser.parse_args(argv)
    try:
        result = compared(model_folder(arguments.model), arguments.task, arguments.rows, arguments.precision)
    except SlmbenchError as error:
        say(f"lm_eval_agreement: {error}")
        return error.exit_code
    print(json_text(result, indent=None) if arguments.json else "\n".join(lines(result)))
    if arguments.out:
        write_atomic(arguments.out, json_text(result))
    return 0


def model_folder(place: Path) -> Path:
    """The folder itself, or a run's model with its adapter merged. Raises BadInput where that was not exported."""
    if not (place / "recipe.yaml").is_file():
        return place
    if not (merged := place / "export" / "merged").is_dir():
        raise BadInput(f"{place}: not exported yet; give slmbench export {place} --to merged first.")
    return merged


def compared(folder: Path, name: str, rows: int, precision: Any) -> dict[str, Any]:
    """Figures of both, and each document whose answers or scores differ."""
    from slmbench import models

    task = load_task(name)
    all_examples = task.load("test")
    places = spread(len(all_examples), rows)
    if not places:
        raise BadInput(f"--rows {rows}: give 1 or more.")
    examples = [all_examples[i] for i in places]
    base = models.find(str(folder), offline=True)
    tokenizer = models.load_tokenizer(base)
    encoded = [encode(example, tokenizer, "schema") for example in examples]
    theirs, tokens, seconds = asked_of_lm_eval(folder, name, places, precision)
    model = models.load_model(base, precision)
    started = time.perf_counter()
    ours, completions = asked_of_slmbench(name, model, tokenizer, examples, encoded)
    sides = {"slmbench": side(ours, time.perf_counter() - started), "lm-eval": side(theirs, seconds)}
    differing = []
    for row, own, other in zip(encoded, ours, theirs, strict=True):
        if own["output"] != other["output"] or measured(own["score"]) != measured(other["score"]):
            reason = why(model, row, completions[row.id], tokens.get(row.ids[: row.prompt_tokens]), tokenizer)
            differing.append({"id": row.id, "reason": reason, "slmbench": own["output"], "lm-eval": other["output"]})
    prompts = sum(row.ids[: row.prompt_tokens] in tokens for row in encoded)
    return {"task": name, "rows": len(examples), "precision": precision, "same_prompts": prompts, "sides": sides,
            "differing": differing}  # fmt: skip


def asked_of_slmbench(
    name: str, model: Any, tokenizer: Any, examples: Sequence[Example], encoded: Sequence[Encoded]
) -> tuple[list[Sample], dict[str, Completion]]:
    """Samples of slmbench's own, and the completions they were made of, by id."""
    from slmbench.backends.hf import HfBackend

    kept = Kept(HfBackend(model, tokenizer, rows=1))  # as lm-eval asks them, and no products of rows of nothing
    asked = [request(row, Evaluation()) for row in encoded]
    return answers(load_task(name), kept, examples, asked, "slmbench"), kept.answers


def asked_of_lm_eval(
    folder: Path, name: str, places: Sequence[int], precision: str
) -> tuple[list[Sample], dict[tuple[int, ...], tuple[int, ...]], float]:
    """(samples, prompt tokens -> answer's tokens, seconds) of lm-eval. A sample has `output` and `score` only.

    Raises BadInput where lm-eval is not installed.
    """
    try:
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise BadInput(f"lm-eval is not installed ({error}); pip install 'slmbench[lm-eval]'.") from None
    tokens: dict[tuple[int, ...], tuple[int, ...]] = {}

    class Recording(HFLM):  # type: ignore[misc]
        def _model_generate(self, context: Any, **settings: Any) -> Any:
            out = super()._model_generate(context, **settings)
            tokens[tuple(context[0].tolist())] = tuple(out[0, context.shape[1] :].tolist())
            return out

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    dtype = {"fp32": "float32", "bf16": "bfloat16"}[precision]
    model = Recording(pretrained=str(folder), dtype=dtype, device="cpu", batch_size=1, add_bos_token=False)
    metadata = {"pretrained": str(folder)}
    manager = TaskManager(include_path=str(CONFIGURATION), include_defaults=False, metadata=metadata)
    started = time.perf_counter()
    task = f"slmbench_{name}"
    results = simple_evaluate(
        model=model, tasks=[task], task_manager=manager, samples={task: list(places)}, bootstrap_iters=0
    )
    seconds = time.perf_counter() - started
    logged = sorted(results["samples"][task], key=lambda sample: sample["doc_id"])
    names = ("hits", "predicted", "gold")
    samples = [
        {
            "output": sample["resps"][0][0],
            "score": {
                "exact": bool(sample["json_exact"]),
                "compliant": bool(sample["schema_compliance"]),
                **dict(zip(names, sample["field_f1"], strict=True)),
            },
        }
        for sample in logged
    ]
    return samples, tokens, seconds


def side(samples: Sequence[Sample], seconds: float) -> dict[str, Any]:
    """The figures of one of the two."""
    values = [measured(sample["score"]) for sample in samples]
    shares = {name: proportion(sum(int(v[name]) for v in values), len(values), name) for name in SHARES}
    return {**shares, "field_f1": field_f1([v["field_f1"] for v in values]), "seconds": round(seconds, 1)}


def why(model: Any, row: Encoded, own: Completion, other: tuple[int, ...] | None, tokenizer: Any) -> str:
    """By what two answers to one prompt differ."""
    import torch

    if other is None:
        return "asked with another prompt"
    stops = {tokenizer.eos_token_id, tokenizer.pad_token_id}
    both = zip(own.token_ids, other, strict=False)
    place = next((i for i, (a, b) in enumerate(both) if a != b and not {a, b} <= stops), None)
    if place is None:
        if len(own.token_ids) == len(other):
            return "the same tokens, decoded otherwise"
        return f"the same tokens as far as both go: {len(own.token_ids)} and {len(other)} of them"
    ids = torch.tensor([[*row.ids[: row.prompt_tokens], *own.token_ids[:place]]])
    with torch.inference_mode():
        positions = torch.arange(ids.shape[1]).unsqueeze(0)
        logits = model(input_ids=ids, position_ids=positions, use_cache=False, logits_to_keep=1).logits[0, -1].float()
    mine, theirs = own.token_ids[place], other[place]
    words = [repr(tokenizer.decode([token])) for token in (mine, theirs)]
    first, second = float(logits[mine]), float(logits[theirs])
    precision = str(model.dtype).removeprefix("torch.")
    step = torch.finfo(model.dtype).eps * 2 ** (math.frexp(max(abs(first), abs(second)))[1] - 1)
    return (
        f"token {place + 1}: {words[0]} or {words[1]}, logits {first:.4f} and {second:.4f},"
        f" {abs(first - second):.4f} apart, where a step of {precision} is {step:.2g}"
    )


def lines(result: dict[str, Any]) -> list[str]:
    """As text: the table, the numbers of what differs, and each difference with both answers."""
    sides, rows = result["sides"], result["rows"]
    table = markdown_table(
        ["", "JSONExact", "SchemaCompliance", "FieldF1", "seconds"],
        [
            [name, *(full(part[share], "") for share in SHARES), f"{part['field_f1']:.4f}", f"{part['seconds']:.0f}"]
            for name, part in sides.items()
        ],
    )
    said = [
        f"{result['task']}, {rows} documents, {result['precision']}\n",
        table,
        f"\nprompts of the same tokens: {result['same_prompts']} of {rows}",
        f"samples that differ: {len(result['differing'])} of {rows}",
    ]
    for part in result["differing"]:
        said += [f"\n{part['id']}: {part['reason']}", *(f"  {name:9}{part[name]}" for name in sides)]
    return said


if __name__ == "__main__":
    raise SystemExit(main())
