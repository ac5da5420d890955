"""Two ways to tell an intent with an exported model: writing it under the schema, and weighing every label.

Writing is decoding as anywhere else. Weighing reads the prompt once and all labels beside each other behind it, in a
few passes, and ranks them by their likelihood; it also says whether the right one is among the first three. Both answer
the same utterances in one run, in turn; the rankings go into the file of --out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slmbench.bench import answers, budgets, figures, warm_up
from slmbench.core import Example, SlmbenchError
from slmbench.decode.labels import log_likelihoods
from slmbench.decode.loop import Decoder
from slmbench.exported import Exported, load_exported
from slmbench.files import json_text, write_atomic
from slmbench.metrics import percentile, proportion
from slmbench.progress import progress, say
from slmbench.publish.tables import full
from slmbench.schema import canonical
from slmbench.tasks.edge_intent import TASK

SLOTS = 16
FIRST = 3
"""Labels that are kept of each ranking."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run both, print what they gave, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder that slmbench export wrote")
    parser.add_argument("--split", default="test", choices=TASK.splits())
    parser.add_argument("--rows", type=int, metavar="N", help="the first N utterances (default: all)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="for the figures and rankings, as JSON")
    parser.add_argument("--json", action="store_true", help="print that instead of a summary")
    arguments = parser.parse_args(argv)
    try:
        run(arguments)
    except SlmbenchError as error:
        say(f"intent_ways: {error}")
        return error.exit_code
    return 0


def run(arguments: argparse.Namespace) -> None:
    """Both ways, one after the other."""
    exported = load_exported(arguments.model)
    examples = TASK.load(arguments.split)[: arguments.rows]
    result = {"split": arguments.split, "written": written(exported, examples), "weighed": weighed(exported, examples)}
    print(json_text(result, indent=None) if arguments.json else "\n".join(lines(result)))
    if arguments.out:
        write_atomic(arguments.out, json_text(result, indent=None))


def lines(result: dict[str, Any]) -> list[str]:
    """The figures as text for a terminal."""
    said = []
    for name in ("written", "weighed"):
        part = result[name]
        times = f"mean {part['mean_ms']:.0f} ms, p95 {part['p95_ms']:.0f} ms"
        said.append(f"{name}: accuracy {full(part['accuracy'], '')}, {times}")
    return [*said, f"among the first {FIRST}: {full(result['weighed']['top'], '')}"]


def written(exported: Exported, examples: Sequence[Example]) -> dict[str, Any]:
    """Accuracy and times of decoding under the schema."""
    backend = exported.backend()
    asked = [exported.request(e, b) for e, b in zip(examples, budgets(exported, examples), strict=True)]
    warm_up(backend, asked)
    found = figures(answers(TASK, backend, examples, asked, "written"))
    accuracy = proportion(found["json_exact"]["k"], len(examples), "accuracy")
    return {"accuracy": accuracy, **{key: found[key] for key in ("mean_ms", "p50_ms", "p95_ms")}}


def weighed(exported: Exported, examples: Sequence[Example]) -> dict[str, Any]:
    """Accuracy, share of gold labels among the first, times, and the rankings {id: [label, ...]}."""
    backend = exported.backend(batch=SLOTS)
    assert isinstance(backend, Decoder)
    end, times, ranked = exported.manifest["stops"][0], [], {}
    with progress("weighed", len(examples), "utterances") as advance:
        for example in examples:
            labels = options(example)
            texts = [canonical({"intent": label}, example.schema) for label in labels]
            tokens = [[*exported.tokens(text)["input_ids"], end] for text in texts]
            started = time.perf_counter()
            likely = log_likelihoods(backend.engine, exported.request(example, 1).prompt_ids, tokens)
            times.append(1000 * (time.perf_counter() - started))
            ranked[example.id] = [labels[i] for i in np.argsort(-likely)[:FIRST]]
            advance(1, "")
    golds = {example.id: example.target["intent"] for example in examples}
    n = len(examples)
    return {
        "accuracy": proportion(sum(names[0] == golds[id] for id, names in ranked.items()), n, "accuracy"),
        "top": proportion(sum(golds[id] in names for id, names in ranked.items()), n, f"among the first {FIRST}"),
        "mean_ms": sum(times) / n,
        "p50_ms": percentile(times, 50),
        "p95_ms": percentile(times, 95),
        "ranked": ranked,
    }


def options(example: Example) -> list[str]:
    """The labels that an example's schema offers."""
    listed = example.schema["properties"]["intent"]
    return [branch["const"] for branch in listed["oneOf"]] if "oneOf" in listed else list(listed["enum"])


if __name__ == "__main__":
    raise SystemExit(main())
