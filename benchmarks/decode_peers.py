"""How fast one document is answered here, beside the ways it is commonly done: same weights, documents and schemas.

{ways}

Each answers in a process of its own, one after the other. Timed is a document from its prompt's tokens to its end;
every schema has been seen before. An answer may be 1.5 times the gold's tokens and 32 more. The run is exported first:
to int8 for ours, merged for transformers and onnxruntime-genai, gguf-q8_0 for llama.cpp and OpenVINO, onnx-int8 for
our loop on ONNX Runtime. What is not installed, or not exported, is said and left out.

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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmbench import bench, memory
from slmbench.core import Backend, BadInput, Example, SlmbenchError, load_task
from slmbench.exported import Exported, load_exported
from slmbench.files import json_text, read_json, write_atomic
from slmbench.metrics import shown
from slmbench.progress import say
from slmbench.publish.tables import markdown_table

QUICK_ROWS = 16


@dataclass(frozen=True)
class Way:
    """How documents are answered: what that is, the export it reads, the class of _decode_backends.py and its settings
    (None: our loop, with drafts or without), and whether the schema is enforced."""

    says: str
    form: str
    peer: str | None = None
    settings: tuple[tuple[str, Any], ...] = ()
    guided: bool = True


def _peer(says: str, form: str, peer: str, guided: bool, **settings: Any) -> Way:
    return Way(says, form, peer, tuple(settings.items()), guided)


WAYS = {
    "hf_generate": _peer("transformers' generate, bf16", "merged", "Transformers", False),
    "hf_lookup": _peer("the same with prompt lookup", "merged", "Transformers", False, lookup=True),
    "hf_guided": _peer("the same under the schema, by llguidance", "merged", "Transformers", True),
    "ort_genai": _peer("onnxruntime-genai, int8, with its own guidance", "merged", "OnnxGenai", True),
    "ort_genai_ngram": _peer("the same with its n-gram drafts", "merged", "OnnxGenai", True, ngram=True),
    "openvino": _peer("openvino-genai, 8 bits, with its own guidance", "gguf-q8_0", "OpenVino", True),
    "openvino_lookup": _peer("the same with its prompt lookup", "gguf-q8_0", "OpenVino", True, lookup=True),
    "llama_cpp": _peer("llama.cpp from a wheel, 8 bits, with its own guidance", "gguf-q8_0", "LlamaCppWheel", True),
    "llama_cpp_ngram": _peer(
        "the same with its n-gram drafts", "gguf-q8_0", "LlamaCppWheel", True, speculative="NGRAM_SIMPLE"
    ),
    "llama_cpp_built": _peer("llama.cpp built for this processor", "gguf-q8_0", "LlamaCppPython", True),
    "llama_cpp_built_lookup": _peer(
        "the same with its prompt lookup", "gguf-q8_0", "LlamaCppPython", True, lookup=True
    ),
    "onnx": Way("our loop without drafts on ONNX Runtime, int8", "onnx-int8"),
    "onnx_drafts": Way("our loop with drafts on ONNX Runtime, int8", "onnx-int8", settings=(("drafts", True),)),
    "plain": Way("our loop without drafts on our kernels, int8", "int8"),
    "ours": Way("our loop with drafts on our kernels, int8", "int8", settings=(("drafts", True),)),
}
"""In the order in which they are run and shown."""
OURS = tuple(name for name, way in WAYS.items() if way.peer is None)
assert __doc__ is not None
__doc__ = __doc__.replace("{ways}", "\n".join(f"    {name:23}{way.says}" for name, way in WAYS.items()))


def measured(run: Path, examples: Sequence[Example], name: str) -> dict[str, Any]:
    """The figures of one way. Raises ImportError where its library is not installed."""
    way = WAYS[name]
    folder = run / "export" / way.form
    exported = load_exported(folder)
    if way.peer is None:
        return bench.bench(exported, examples, draft_tokens=None if dict(way.settings).get("drafts") else 0)[0]
    backend = opened(exported, way, folder)
    task = load_task(exported.manifest["task"])
    budgets = bench.budgets(exported, examples)
    constraint = "schema" if way.guided else "free"
    asked = [exported.request(e, b, constraint) for e, b in zip(examples, budgets, strict=True)]
    bench.warm_up(backend, asked)
    samples = bench.answers(task, backend, examples, asked, name)
    return {**bench.figures(samples), "weights_bytes": bench.weights_bytes(exported)}


def opened(exported: Exported, way: Way, folder: Path) -> Backend:
    """The library's backend."""
    import _decode_backends

    threads, settings = memory.usable_cores(), dict(way.settings)
    path = folder / "model.gguf" if way.form == "gguf-q8_0" else folder
    if way.peer == "LlamaCppWheel":
        from slmbench.backends.llama_cpp import LlamaCpp

        return LlamaCpp(path, threads, **settings)
    backend: Backend = getattr(_decode_backends, str(way.peer))(exported, path, threads, way.guided, **settings)
    return backend


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 where every way has answered."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="a run whose model has been exported")
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
        rows = QUICK_ROWS if arguments.quick else arguments.rows
        if arguments.process:
            exported = load_exported(arguments.run / "export" / WAYS[arguments.process].form)
            examples = bench.examples_of(exported, arguments.split, arguments.schemas, rows)
            try:
                print(json.dumps(measured(arguments.run, examples, arguments.process)))
            except ImportError as error:
                print(json.dumps({"error": f"{error}: pip install 'slmbench[decode-peers]'"}))
            except SlmbenchError as error:
                print(json.dumps({"error": str(error)}))
            return 0
        return compare(arguments, sys.argv[1:] if argv is None else list(argv))
    except SlmbenchError as error:
        say(f"decode_peers: {error}")
        return error.exit_code


def compare(arguments: argparse.Namespace, words: Sequence[str]) -> int:
    """Run every way in a process of its own and print how they compare."""
    found: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for way in [way for way in WAYS if not arguments.only or way in arguments.only]:
        form = WAYS[way].form
        if not (arguments.run / "export" / form).is_dir():
            missing[way] = f"slmbench export {arguments.run} --to {form} would add it"
            say(f"decode_peers: no {way}: {missing[way]}")
            continue
        say(f"decode_peers: {way}")
        command = [sys.executable, os.path.abspath(__file__), *words, "--process", way]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        lines = done.stdout.strip().splitlines()
        answer = (
            json.loads(lines[-1]) if lines and not done.returncode else {"error": f"it ended with {done.returncode}"}
        )
        if "error" in answer:
            missing[way] = answer["error"]
            say(f"decode_peers: no {way}: {missing[way]}")
        else:
            found[way] = answer
    if not found:
        raise BadInput(f"{arguments.run}: none of these ways could be measured; export the run first.")
    result = {
        "run": arguments.run.name,
        "split": Path(arguments.split).name,
        "machine": memory.machine(),
        **found,
        "missing": missing,
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
    constraining = [times[way] for way in times if way not in OURS and WAYS[way].guided]
    return {**times, **({"best_constraining": min(constraining)} if constraining else {})}


def table(result: dict[str, Any]) -> str:
    """The ways as a Markdown table."""
    head = [
        "", "mean ms", "p50", "p95", "first token", "tokens a pass", "peak GiB", "model MB", "JSONExact", "valid",
        "truncated", "ours, faster",
    ]  # fmt: skip
    rows = []
    for way in WAYS:
        if way in result:
            part = result[way]
            passes = part.get("tokens_a_pass")
            rows.append(
                [
                    way,
                    *(f"{part[key]:,.0f}" for key in ("mean_ms", "p50_ms", "p95_ms")),
                    "–" if part["first_token_p50_ms"] is None else f"{part['first_token_p50_ms']:,.0f}",
                    "–" if passes is None else f"{passes:.2f}",
                    f"{part['peak_memory_gib']:.2f}",
                    f"{part['weights_bytes'] / 1e6:.0f}",
                    *(shown(part[name]["value"], name) for name in ("json_exact", "schema_compliance", "truncated")),
                    f"{result['ratio'][way]:.1f}" if way in result["ratio"] else "–",
                ]
            )
    count = next(result[way]["json_exact"]["n"] for way in WAYS if way in result)
    where = f"{count} documents of {result['split']}, {result['run']}; {result['machine']['cpu']}."
    return f"{markdown_table(head, rows)}\n\n{where}"


if __name__ == "__main__":
    sys.exit(main())
