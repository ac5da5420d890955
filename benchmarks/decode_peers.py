"""How fast one document is answered here, beside the ways it is commonly done: same weights, documents and schemas.

    hf_generate  transformers' generate, bf16, greedy, one document at a time, no constraint
    hf_lookup    the same with prompt lookup, 10 tokens
    hf_guided    the same under the schema: llguidance masks the logits of every step
    onnx         ONNX Runtime, int8, our loop under the schema, one token a pass (where such an export is given)
    plain        our kernels under the schema, one token a pass
    ours         our kernels under the schema, with drafts

Each answers in a process of its own, one after the other. Timed is a document from its prompt's tokens to its end;
every schema has been seen before. An answer may be 1.5 times the gold's tokens and 32 more.

    python benchmarks/decode_peers.py runs/edge_json_135m_large --quick --json
    python benchmarks/decode_peers.py runs/edge_json_135m_large --out results/speed/decode_edge_json.json
    python benchmarks/decode_peers.py --show results/speed/decode_edge_json.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slmbench import bench, memory, models
from slmbench.core import BadInput, Completion, Example, Finish, Request, SlmbenchError
from slmbench.evaluate import make_sample
from slmbench.exported import Exported, load_exported
from slmbench.files import json_text, read_json, write_atomic
from slmbench.metrics import Sample, figure, percentile, shown
from slmbench.pipeline import load_task
from slmbench.progress import progress, say
from slmbench.publish.tables import markdown_table

CONSTRAINING = ("hf_guided",)
"""The peers, not ours, that enforce the schema."""
LOOKUP_TOKENS = 10
QUICK_ROWS = 16


def by_transformers(run: Path, exported: Exported, requests: Sequence[Request], how: str) -> list[Completion]:
    """Answers of transformers' own generate."""
    import torch
    from transformers import LogitsProcessor, LogitsProcessorList

    from slmbench.decode.grammar import Grammars, Vocabulary, allowed

    base = models.find(read_json(exported.folder / "manifest.json", "export it again")["base"]["name"])
    model = models.load_merged(base, run / "adapter", memory.precision("auto"))
    tokenizer = models.load_tokenizer(base)
    stops: list[int] = exported.manifest["stops"]
    grammars = Grammars(Vocabulary(exported.folder / "tokenizer.json", model.config.vocab_size, stops))

    class Guide(LogitsProcessor):  # type: ignore[misc]
        """Only what the grammar allows."""

        def __init__(self, request: Request) -> None:
            assert request.schema is not None
            self.matcher, self.seen = grammars.of(request.schema).start(), len(request.prompt_ids)

        def __call__(self, ids: Any, scores: Any) -> Any:
            for token in ids[0, self.seen :].tolist():
                self.matcher.consume_token(token)
            self.seen = ids.shape[1]
            mask = torch.from_numpy(allowed(self.matcher, scores.shape[-1]))
            return scores.masked_fill(~mask, float("-inf"))

    for request in requests:
        if request.schema is not None:
            grammars.of(request.schema)
    found = []
    with progress(how, len(requests), "documents") as advance:
        for request in requests:
            started = time.perf_counter()
            settings: dict[str, Any] = {"prompt_lookup_num_tokens": LOOKUP_TOKENS} if how == "hf_lookup" else {}
            if how == "hf_guided":
                settings["logits_processor"] = LogitsProcessorList([Guide(request)])
            ids = torch.tensor([request.prompt_ids])
            with torch.inference_mode():
                out = model.generate(
                    ids, attention_mask=torch.ones_like(ids), max_new_tokens=request.max_new_tokens, do_sample=False,
                    eos_token_id=stops, pad_token_id=exported.manifest["pad"], **settings,
                )  # fmt: skip
            seconds = time.perf_counter() - started
            tokens = out[0, ids.shape[1] :].tolist()
            ended = bool(tokens) and tokens[-1] in stops
            text = tokenizer.decode(tokens[:-1] if ended else tokens, clean_up_tokenization_spaces=False)
            constraint = "schema" if how == "hf_guided" else "free"
            finish: Finish = "stop" if ended else "length"
            read, written = len(request.prompt_ids), len(tokens)
            found.append(
                Completion(request.id, text, tuple(tokens), finish, read, written, None, seconds, 1, constraint)
            )
            advance(1, "")
    return found


def measured(run: Path, exported: Exported, examples: Sequence[Example], how: str) -> dict[str, Any]:
    """The figures of one way."""
    if how.startswith("hf_"):
        task = load_task(exported.manifest["task"])
        budgets = bench.budgets(exported, examples)
        asked = [exported.request(e, b) for e, b in zip(examples, budgets, strict=True)]
        completions = by_transformers(run, exported, asked, how)
        samples: list[Sample] = [make_sample(task, e, c) for e, c in zip(examples, completions, strict=True)]
        total = [1000 * sample["total_s"] for sample in samples]
        return {
            "mean_ms": sum(total) / len(total),
            "p50_ms": percentile(total, 50),
            "p95_ms": percentile(total, 95),
            "peak_memory_gib": memory.peak_rss_gib(),
            **{name: figure(samples, name) for name in ("json_exact", "schema_compliance", "truncated")},
        }
    result, _ = bench.bench(exported, examples, draft_tokens=None if how == "ours" else 0)
    return result


WAYS = ("hf_generate", "hf_lookup", "hf_guided", "onnx", "plain", "ours")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 where every way has answered."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="a run whose model has been exported to int8")
    parser.add_argument("--split", default="test", metavar="NAME|FILE", help="documents (default: test)")
    parser.add_argument("--schemas", type=Path, metavar="DIR", help="folder of the schemas that a file names")
    parser.add_argument("--rows", type=int, metavar="N", help="so many documents, evenly spread (default: all)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS} documents, within minutes")
    parser.add_argument("--only", action="append", choices=WAYS, help="this way, again for more (all)")
    parser.add_argument("--json", action="store_true", help="JSON on standard output, the table on standard error")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the JSON there")
    parser.add_argument("--show", type=Path, metavar="FILE", help="print the table of such a file, and end")
    parser.add_argument("--process", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    try:
        if arguments.show:
            print(table(read_json(arguments.show, "give a file that --out wrote")))
            return 0
        if arguments.run is None:
            raise BadInput("no run is given; name the folder of one, such as runs/edge_json_135m.")
        form = "onnx-int8" if arguments.process == "onnx" else "int8"
        exported = load_exported(arguments.run / "export" / form)
        rows = QUICK_ROWS if arguments.quick else arguments.rows
        if arguments.process:
            examples = bench.examples_of(exported, arguments.split, arguments.schemas, rows)
            print(json.dumps(measured(arguments.run, exported, examples, arguments.process)))
            return 0
        return compare(arguments, sys.argv[1:] if argv is None else list(argv))
    except SlmbenchError as error:
        say(f"decode_peers: {error}")
        return error.exit_code


def compare(arguments: argparse.Namespace, words: Sequence[str]) -> int:
    """Run every way in a process of its own and print how they compare."""
    ways = [way for way in WAYS if not arguments.only or way in arguments.only]
    if not (arguments.run / "export" / "onnx-int8").is_dir() and "onnx" in ways:
        say(f"decode_peers: no onnx: slmbench export {arguments.run} --to onnx-int8 would add it")
        ways.remove("onnx")
    found: dict[str, Any] = {}
    for way in ways:
        say(f"decode_peers: {way}")
        command = [sys.executable, os.path.abspath(__file__), *words, "--process", way]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
        if done.returncode:
            return done.returncode
        found[way] = json.loads(done.stdout)
    result = {
        "run": arguments.run.name,
        "split": Path(arguments.split).name,
        "machine": memory.machine(),
        **found,
        "ratio": ratios(found),
    }
    if arguments.out:
        write_atomic(arguments.out, json_text(result))
    show: Callable[[str], None] = say if arguments.json else print
    show(table(result))
    if arguments.json:
        print(json.dumps(result))
    return 0


def ratios(found: dict[str, Any]) -> dict[str, float]:
    """How many times our mean time each way's is, and that of the best that enforces the schema."""
    if "ours" not in found:
        return {}
    times = {way: part["mean_ms"] / found["ours"]["mean_ms"] for way, part in found.items() if way != "ours"}
    constraining = [times[way] for way in CONSTRAINING if way in times]
    return {**times, **({"best_constraining": min(constraining)} if constraining else {})}


def table(result: dict[str, Any]) -> str:
    """The ways as a Markdown table."""
    head = ["", "mean ms", "p50", "p95", "tokens a pass", "peak GiB", "JSONExact", "valid", "truncated", "ours, faster"]
    rows = []
    for way in WAYS:
        if way in result:
            part = result[way]
            passes = part.get("tokens_a_pass")
            rows.append(
                [
                    way,
                    *(f"{part[key]:,.0f}" for key in ("mean_ms", "p50_ms", "p95_ms")),
                    "–" if passes is None else f"{passes:.2f}",
                    f"{part['peak_memory_gib']:.2f}",
                    *(shown(part[name]["value"], name) for name in ("json_exact", "schema_compliance", "truncated")),
                    f"{result['ratio'][way]:.1f}" if way in result["ratio"] else "–",
                ]
            )
    count = next(result[way]["json_exact"]["n"] for way in WAYS if way in result)
    where = f"{count} documents of {result['split']}, {result['run']}; {result['machine']['cpu']}."
    return f"{markdown_table(head, rows)}\n\n{where}"


if __name__ == "__main__":
    sys.exit(main())
