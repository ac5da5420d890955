"""Base models, and exported ones: what they are, how fast, and put to use."""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmbench.commands import json_option
from slmbench.core import BadInput

if TYPE_CHECKING:
    from slmbench.extract import Opener


def add(verbs: Any) -> None:
    """Add these verbs to the parser."""
    _add_model_verbs(verbs)
    _add_extract(verbs)
    _add_label(verbs)
    _add_serve(verbs)
    models = verbs.add_parser("models", help="list the base models: what is here, where from, its hash")
    models.add_argument("--fetch", metavar="NAME", help="make this one ready now: a name, a Hub id or a folder")
    json_option(models)
    models.set_defaults(call=_models)


def _add_model_verbs(verbs: Any) -> None:
    from slmbench.forms import FORMS

    listed = "; ".join(f"{name}: {form.says}" for name, form in FORMS.items())
    verb = verbs.add_parser(
        "export",
        help="a finished run's model as one folder that runs without torch",
        description=f"Merge, quantise and check a finished run's model, then write it as one folder. {listed}.",
    )
    verb.add_argument("run", type=Path, help="folder of a finished run, such as runs/edge_json_135m")
    verb.add_argument("--to", action="append", choices=list(FORMS), help="again for more forms (default: int8)")
    verb.add_argument("--out", type=Path, metavar="DIR", help="default: export/FORM in the run's folder")
    verb.add_argument(
        "--may-lose", type=float, metavar="POINTS",
        help="of JSONExact on the validation split; what loses more is not kept (default: 0.5, or a document)",
    )  # fmt: skip
    json_option(verb)
    verb.set_defaults(call=_export)
    verb = verbs.add_parser(
        "bench",
        help="how fast an exported model answers on this machine, how well, and what bounds it; or one on a server",
        description="Answer documents, one after the other or several at once; say how long each took, what it took,"
        " and how good it was.",
    )
    verb.add_argument("model", help="folder that slmbench export wrote; with --backend the server's name for a model")
    _backend_option(verb)
    verb.add_argument("--task", metavar="TASK", help="with --backend: what the answers are of")
    verb.add_argument("--split", default="test", metavar="NAME|FILE", help="a split of its task or a file of examples")
    verb.add_argument("--schemas", type=Path, metavar="DIR", help="folder of the schemas that a file names")
    verb.add_argument("--rows", type=int, metavar="N", help="so many documents, evenly spread (default: all)")
    verb.add_argument(
        "--constraint",
        choices=("free", "schema", "grounded"),
        default="schema",
        help="grounded: under the schema, and strings only say what stands in the document (default: schema)",
    )
    _batch_option(verb)
    verb.add_argument("--confidence", action="store_true", help="how right the confidences of extract are, too")
    verb.add_argument("--draft-tokens", type=int, metavar="N", help="longest draft a pass; 0: one token a pass")
    verb.add_argument("--threads", type=int, metavar="N", help="default: one for each core, or OMP_NUM_THREADS")
    verb.add_argument("--results", type=Path, metavar="DIR", help="keep figures and answers there, as `publish` does")
    json_option(verb)
    verb.set_defaults(call=_bench)


def _add_extract(verbs: Any) -> None:
    verb = verbs.add_parser(
        "extract",
        help="documents in, rows out, under a schema",
        description="Turn documents into JSON with an exported model, or one on a server. Text files, JSONL, CSV,"
        " Parquet, folders of them, or - for standard input; rows in their order, as JSONL to standard output or into"
        " --out (.jsonl, .csv, .parquet). A document that cannot be read is a row with an error. Killed with --out, the"
        " same command goes on.",
        epilog="Example: cat mails.jsonl | slmbench extract runs/x/export/int8 - --schema order.json | jq .json",
    )
    verb.add_argument("model", help="folder that slmbench export wrote; with --backend the server's name for a model")
    verb.add_argument("documents", nargs="+", metavar="FILE", help="files, folders, or - for standard input")
    _backend_option(verb)
    verb.add_argument("--schema", type=Path, metavar="FILE", help="a JSON Schema (default: the one it was trained on)")
    verb.add_argument("--column", metavar="NAME", help="where rows hold the document (default: text, document, ...)")
    verb.add_argument("--out", type=Path, metavar="FILE", help="by its ending: .csv, .parquet, else JSONL")
    verb.add_argument("--explain", action="store_true", help="for every value where it was read, and how sure it is")
    verb.add_argument(
        "--min-confidence", type=float, metavar="P", help="with --review: rows less sure than this go there"
    )
    verb.add_argument("--review", type=Path, metavar="FILE", help="JSONL of doubtful rows, each with its document")
    verb.add_argument("--constraint", choices=("schema", "grounded", "free"), default="schema", help="default: schema")
    _batch_option(verb)
    verb.add_argument("--threads", type=int, metavar="N", help="default: one for each core, or OMP_NUM_THREADS")
    verb.add_argument(
        "--engine", choices=("local", "ray"), default="local",
        help="ray: many workers, on this machine or on the cluster that RAY_ADDRESS names; all of them must see files"
        " and model under the same path (default: local, this process)",
    )  # fmt: skip
    verb.add_argument(
        "--workers", type=int, metavar="N", help="of ray, each with a model of its own (default: cores / threads)"
    )
    verb.set_defaults(call=_extract)


def _backend_option(verb: Any) -> None:
    verb.add_argument(
        "--backend", metavar="openai:URL",
        help="ask a server that speaks as OpenAI's do (vLLM, llama.cpp, Ollama, slmbench serve); its key, where it asks"
        " for one, is in SLMBENCH_API_KEY",
    )  # fmt: skip


def _batch_option(verb: Any) -> None:
    verb.add_argument(
        "--batch", type=int, default=1, metavar="N", help="documents in one pass, or asked at a time (default: 1)"
    )


def _add_label(verbs: Any) -> None:
    verb = verbs.add_parser(
        "label",
        help="look at a model's answers, correct them, and keep them as rows",
        description="Show each document with the model's answer; what is accepted or corrected (in $EDITOR) becomes a"
        " row for training or tests. Stop at any time: the same command goes on behind what has a row.",
    )
    verb.add_argument("model", type=Path, help="folder that slmbench export wrote")
    verb.add_argument("documents", nargs="+", metavar="FILE", help="files or folders")
    verb.add_argument("--schema", type=Path, metavar="FILE", help="a JSON Schema (default: the one it was trained on)")
    verb.add_argument("--column", metavar="NAME", help="where rows hold the document")
    verb.add_argument(
        "--out", type=Path, default=Path("labelled.jsonl"), metavar="FILE", help="default: labelled.jsonl"
    )
    verb.set_defaults(call=_label)


def _add_serve(verbs: Any) -> None:
    verb = verbs.add_parser(
        "serve",
        help="a model behind HTTP, in OpenAI's shapes, and a page to try it on",
        description="Serve an exported model until Ctrl-C: /v1/chat/completions, /v1/completions, /v1/extract,"
        " /v1/models, /healthz, /metrics, and a playground at /. What is being answered is finished before it ends.",
    )
    verb.add_argument("model", type=Path, help="folder that slmbench export wrote")
    verb.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, which only this machine reaches")
    verb.add_argument("--port", type=int, default=8077, help="0 for any that is free (default: 8077)")
    verb.add_argument(
        "--api-key", metavar="KEY", help="what clients must show; better in SLMBENCH_API_KEY, as others see arguments"
    )
    verb.add_argument("--workers", type=int, default=1, metavar="N", help="answers at a time (default: 1)")
    verb.add_argument("--threads", type=int, metavar="N", help="for each worker (default: all cores divided)")
    verb.add_argument("--queue", type=int, default=32, metavar="N", help="requests that may wait (default: 32)")
    verb.add_argument("--seconds", type=float, default=120, metavar="S", help="for one request (default: 120)")
    verb.set_defaults(call=_serve)


def _export(arguments: argparse.Namespace) -> None:
    from slmbench.export import export

    wanted = list(dict.fromkeys(arguments.to or ["int8"]))
    for folder, manifest in export(arguments.run, wanted, arguments.out, arguments.may_lose):
        print(json.dumps(manifest, ensure_ascii=False) if arguments.json else folder)


def _bench(arguments: argparse.Namespace) -> int:
    from slmbench.bench import bench, examples_of, lines
    from slmbench.calibrate import calibration
    from slmbench.calibrate import lines as calibrate_lines
    from slmbench.kept import kept_answers
    from slmbench.remote import open_model

    model = open_model(arguments.model, arguments.backend, task=arguments.task, constraint=arguments.constraint)
    examples = examples_of(model, arguments.split, arguments.schemas, arguments.rows)
    kept = None
    if arguments.results:
        kept = kept_answers(
            arguments.results, model, arguments.split, examples, rows=arguments.rows, schemas=arguments.schemas,
            constraint=arguments.constraint, batch=arguments.batch, threads=arguments.threads,
        )  # fmt: skip
    told = calibration(model, examples) if arguments.confidence else {}
    started = time.monotonic()
    result, samples = bench(
        model, examples, constraint=arguments.constraint, draft_tokens=arguments.draft_tokens,
        threads=arguments.threads, batch=arguments.batch,
    )  # fmt: skip
    said = [*lines(result), *calibrate_lines(told)]
    failed = result.get("failed") == result["documents"]
    if told:
        result["confidence"] = told
    try:
        if kept and not failed:
            (test,) = kept.recipe.data.tests
            path = kept.write({test.name: samples}, time.monotonic() - started, result["peak_memory_gib"])
            result["kept"] = str(path)
            said.append(f"kept           {path}")
    finally:
        print(json.dumps(result, indent=1) if arguments.json else "\n".join(said))
    return 1 if failed else 0


def _extract(arguments: argparse.Namespace) -> int:
    from slmbench.extract import Asked, extract, schema_of
    from slmbench.remote import open_model

    model = open_model(arguments.model, arguments.backend, constraint=arguments.constraint)
    asked = Asked(
        schema_of(model, arguments.schema), arguments.constraint, arguments.explain, arguments.min_confidence,
        arguments.batch, arguments.threads,
    )  # fmt: skip
    counts = extract(
        model, arguments.documents, asked, column=arguments.column, out=arguments.out, review=arguments.review,
        engine=_engine(arguments.engine, arguments.workers),
    )  # fmt: skip
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "documents")
    print(said, file=sys.stderr)
    return 1 if counts["failed"] and counts["failed"] == counts["documents"] else 0


def _engine(name: str, workers: int | None) -> Opener:
    """Where rows come from. Raises BadInput for workers where there is one process."""
    from slmbench.engine_ray import RayEngine
    from slmbench.extract import Extractor

    if name == "ray":
        return functools.partial(RayEngine, workers=workers)
    if workers is not None:
        raise BadInput("--workers: this process is the only one; they are of --engine ray.")
    return Extractor


def _label(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from slmbench.documents import documents
    from slmbench.exported import load_exported
    from slmbench.extract import Asked, Extractor, schema_of
    from slmbench.label import label
    from slmbench.new import name_of

    if "-" in arguments.documents:
        raise BadInput("standard input is where your answers are typed; give files of documents.")
    exported = load_exported(arguments.model)
    extractor = Extractor(exported, Asked(schema_of(exported, arguments.schema), explain=True))
    name = name_of(arguments.schema.name.split(".")[0]) if arguments.schema else exported.manifest["name"]
    found = documents(arguments.documents, arguments.column)
    counts = label(extractor, found, name, arguments.out, Console(stderr=True), sys.stdin.readline)
    print(f"{arguments.out}: " + ", ".join(f"{count} {what}" for what, count in counts.items()))


def _serve(arguments: argparse.Namespace) -> None:
    from slmbench.serve import serve
    from slmbench.serving.limits import Limits

    limits = Limits(waiting=arguments.queue, request_seconds=arguments.seconds)
    serve(
        arguments.model, host=arguments.host, port=arguments.port, key=arguments.api_key, workers=arguments.workers,
        threads=arguments.threads, limits=limits,
    )  # fmt: skip


def _models(arguments: argparse.Namespace) -> None:
    from slmbench import models

    if arguments.fetch:
        models.find(arguments.fetch)
    listed = models.available()
    if arguments.json:
        facts = [{"name": e.name, "repo": e.repo, **({} if e.model is None else e.model.facts())} for e in listed]
        print(json.dumps(facts, indent=1))
        return
    for entry in listed:
        here = (
            f"{entry.model.sha256[:12]}  {entry.model.origin}  {entry.model.folder}" if entry.model else "not here yet"
        )
        print(f"{entry.name:14} {here}")
