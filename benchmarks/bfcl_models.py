"""What a base and its adapter answer to questions of BFCL: free, and the adapter's export under a grammar.

    slmbench data import bfcl bfcl_multiple.jsonl --answers bfcl_multiple_answers.jsonl
    python benchmarks/bfcl_models.py runs/edge_func_call_135m data/bfcl_multiple.jsonl

Nothing of these questions was trained on. `strict` is the first accepted answer, value by value; `BFCL` what the
leaderboard's checker takes. Answers stay in RUN/bfcl, so a run that was ended goes on where it was; the export is read
from RUN/export/int8.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from slmbench import memory, models
from slmbench.bench import answers, budgets, warm_up
from slmbench.bfcl.check import check
from slmbench.calls import calls_of, tools_of
from slmbench.config import Recipe, load_recipe
from slmbench.core import BadInput, Example, SlmbenchError, load_task
from slmbench.data import read_examples
from slmbench.evaluate import evaluate
from slmbench.exported import load_exported
from slmbench.files import json_text, write_atomic
from slmbench.metrics import Sample, proportion
from slmbench.progress import say
from slmbench.publish.stored import pack, samples_path
from slmbench.publish.tables import full, markdown_table
from slmbench.template import encode

WAYS = ("base", "tuned", "tuned, grammar")


def main(argv: Sequence[str] | None = None) -> int:
    """Answer, score, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("rows", type=Path, nargs="+", help="files that slmbench data import bfcl wrote")
    parser.add_argument("--way", action="append", choices=WAYS, help="again for more (default: all)")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N questions of each file")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write figures there and samples beside it")
    parser.add_argument("--json", action="store_true", help="print both instead of the table")
    arguments = parser.parse_args(argv)
    try:
        recipe = load_recipe(arguments.run / "recipe.yaml")
        files = {path.stem: read_examples(path)[: arguments.limit] for path in arguments.rows}
        accepted = {path.stem: dict(answers_of(path)) for path in arguments.rows}
        result: dict[str, Any] = {}
        for way in arguments.way or WAYS:
            for name, samples in ask(arguments.run, recipe, files, way):
                result[f"{name}, {way}"] = {"figures": scored(files[name], samples, accepted[name]), "samples": samples}
    except SlmbenchError as error:
        say(f"bfcl_models: {error}")
        return error.exit_code
    print(json_text(result, indent=None) if arguments.json else table(result))
    if arguments.out:
        keep(arguments.out, result)
    return 0


def keep(path: Path, result: Mapping[str, Any]) -> None:
    """Write the figures to a file, and all samples beside it as a result's are."""
    samples = {name: {"base" if name.endswith(", base") else "tuned": part["samples"]} for name, part in result.items()}
    write_atomic(samples_path(path), pack(samples))
    write_atomic(path, json_text({name: {"figures": part["figures"]} for name, part in result.items()}))


def table(result: Mapping[str, Any]) -> str:
    """Markdown: a row for each file of questions and way to answer."""
    rows = [[name, *(full(figure, "") for figure in part["figures"].values())] for name, part in sorted(result.items())]
    return markdown_table(["questions, model", "BFCL", "strict", "functions right", "no list of calls"], rows)


def answers_of(path: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """(id, accepted answers) of each row."""
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if "answers" not in row:
            raise BadInput(f"{path}: {row['id']} has no answers; make the file with slmbench data import bfcl.")
        yield row["id"], row["answers"]


def ask(run: Path, recipe: Recipe, files: dict[str, list[Example]], way: str) -> Iterator[tuple[str, list[Sample]]]:
    """(file, samples) in one of the ways."""
    task = load_task(recipe.task)
    if way == "tuned, grammar":
        exported = load_exported(run / "export" / "int8")
        backend = exported.backend()
        for name, examples in files.items():
            asked = [exported.request(e, b) for e, b in zip(examples, budgets(exported, examples), strict=True)]
            warm_up(backend, asked[:1])
            yield name, answers(task, backend, examples, asked, f"{name}, {way}")
        return
    from slmbench.backends.hf import HfBackend  # torch, which scoring does without

    base = models.find(recipe.base)
    tokenizer, dtype = models.load_tokenizer(base), memory.precision(recipe.evaluate.precision)
    model = models.load_model(base, dtype) if way == "base" else models.load_merged(base, run / "adapter", dtype)
    for name, examples in files.items():
        encoded = [encode(example, tokenizer, recipe.prompt) for example in examples]
        path = run / "bfcl" / way / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        yield (
            name,
            evaluate(task, HfBackend(model, tokenizer), examples, encoded, recipe.evaluate, path, f"{name}, {way}"),
        )


def scored(examples: Sequence[Example], samples: Sequence[Sample], accepted: dict[str, Any]) -> dict[str, Any]:
    """Figures by BFCL's checker and by ours."""
    n, right, named, none = len(samples), 0, 0, 0
    for example, sample in zip(examples, samples, strict=True):
        calls = calls_of(sample["output"])
        none += calls is None
        gold = accepted[example.id]
        right += calls is not None and not check(list(calls), tools_of(example.schema), gold)
        wanted = sorted(name for answer in gold for name in answer)
        named += calls is not None and sorted(call["name"] for call in calls) == wanted
    exact = sum(sample["score"]["exact"] for sample in samples)
    return {
        "bfcl": proportion(right, n, "BFCL"),
        "strict": proportion(exact, n, "strict"),
        "functions": proportion(named, n, "functions right"),
        "unparseable": proportion(none, n, "no list of calls"),
    }


if __name__ == "__main__":
    raise SystemExit(main())
