"""The command line: parse, call, print. What a verb does is in the module that it calls."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slmbench import __version__
from slmbench.core import BadInput, SlmbenchError

RUNS = Path("runs")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 for a failure, 2 for bad input."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = parser().parse_args(words, argparse.Namespace(words=words))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return int(arguments.call(arguments) or 0)
    except SlmbenchError as error:
        print(f"slmbench: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("slmbench: interrupted; give the same command again to go on where it was.", file=sys.stderr)
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except (OSError, MemoryError) as error:
        print(f"slmbench: {type(error).__name__}: {error}; nothing written before is lost.", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = _Parser(
        prog="slmbench",
        description="Small language models that turn text into JSON under a schema: trained and measured on a CPU.",
        epilog="Start with: slmbench run recipes/edge_json_135m.yaml --smoke",
    )
    top.add_argument("--version", action="version", version=f"slmbench {__version__}")
    verbs = top.add_subparsers(metavar="VERB", required=True)
    _add_recipe_verbs(verbs)
    _add_operating_verbs(verbs)
    _add_run_verbs(verbs)
    _add_model_verbs(verbs)
    _add_extract(verbs)
    _add_serve(verbs)
    _add_label(verbs)
    _add_new(verbs)
    _add_synth(verbs)
    _add_data_verbs(verbs)
    models = verbs.add_parser("models", help="list the base models: what is here, where from, its hash")
    models.add_argument("--fetch", metavar="NAME", help="make this one ready now: a name, a Hub id or a folder")
    _json(models)
    models.set_defaults(call=_models)
    return top


class _Parser(argparse.ArgumentParser):
    """Flags are written out: an abbreviation that works today would change its meaning with the next flag."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{**settings, "allow_abbrev": False})


def _json(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--json", action="store_true", help="print JSON for a script to parse")


def _add_recipe_verbs(verbs: Any) -> None:
    texts = {
        "run": "all stages: check, preflight, base, training, tuned, comparison, card, report",
        "preflight": "check data, disk, memory and time, and try three updates; spends about a minute",
        "train": "train the adapter only",
        "evaluate": "answer the test sets with the base and, where it is trained, the adapter",
        "plan": "what a run will need: memory by part, tokens a pass, time, and whether it fits; spends nothing",
    }
    for name, text in texts.items():
        again = "" if name == "plan" else " Killed, it goes on where it was when given again."
        verb = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.{again}")
        verb.add_argument("recipe", type=Path, help="a recipe file, such as recipes/edge_json_135m.yaml")
        verb.add_argument(
            "--set", action="append", metavar="KEY=VALUE", default=[], help="change a setting: train.epochs=1"
        )
        verb.add_argument("--name", help="name of the run's folder, instead of the recipe's own")
        verb.add_argument("--runs", type=Path, default=RUNS, metavar="DIR", help="folder of all runs (default: runs)")
        verb.add_argument("--smoke", action="store_true", help="everything on 24 examples, in about two minutes")
        verb.add_argument(
            "--memory", metavar="SIZE", help="keep under this much memory, such as 10GiB (default: what is there)"
        )
        if name == "plan":
            verb.add_argument(
                "--device", metavar="KIND:SIZE", help="plan for another machine: cuda:16GiB, cpu:8GiB (no time then)"
            )
            _json(verb)
        if name in ("run", "train"):
            verb.add_argument(
                "--detach",
                action="store_true",
                help="in the background: it outlives this terminal, its output goes to the run's log",
            )
            verb.add_argument(
                "--track",
                action="append",
                metavar="NAME",
                default=[],
                help="show the updates in wandb, mlflow or trackio too (TensorBoard always: runs/NAME/tensorboard)",
            )
        if name == "run":
            verb.add_argument("--dry-run", action="store_true", help="stop behind the preflight")
        if name == "evaluate":
            verb.add_argument("--split", action="append", help="only this test set (may be given more than once)")
        verb.set_defaults(call=globals()[f"_{name}"])


def _add_operating_verbs(verbs: Any) -> None:
    texts = {
        "status": "what a run is doing: stage, update, loss, time left, checkpoints, disk, hardware",
        "watch": "the same, live, until the run ends; Ctrl-C leaves the run alone",
        "logs": "what a detached run said",
        "stop": "end a run cleanly at its next update; the same command goes on from there",
    }
    listed = verbs.add_parser("runs", help="all runs: state, stage, update, loss, result, age")
    listed.set_defaults(call=_runs)
    made = {"runs": listed}
    for name, text in texts.items():
        made[name] = verb = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        optional = {"nargs": "?"} if name == "status" else {}
        verb.add_argument("run", help="a run's name or folder" + " (default: the latest)" * bool(optional), **optional)
        verb.set_defaults(call=globals()[f"_{name}"])
    for verb in made.values():
        verb.add_argument("--runs", type=Path, default=RUNS, metavar="DIR", help="folder of all runs (default: runs)")
    for name in ("runs", "status"):
        _json(made[name])
    made["logs"].add_argument("-f", "--follow", action="store_true", help="go on until the run ends or Ctrl-C")
    made["logs"].add_argument(
        "-n", "--lines", type=int, default=40, metavar="LINES", help="the last ones (default: 40)"
    )
    made["stop"].add_argument(
        "--timeout", type=float, default=300, metavar="SECONDS", help="give up waiting after so long (default: 300)"
    )
    made["stop"].add_argument("--kill", action="store_true", help="after the timeout, kill it: what is unsaved is lost")


def _add_run_verbs(verbs: Any) -> None:
    show = verbs.add_parser("show", help="a run's figures")
    card = verbs.add_parser("card", help="print a run's model card")
    report = verbs.add_parser("report", help="say where a run's report is, written anew from its samples")
    for verb, call in ((show, _show), (card, _card), (report, _report)):
        verb.add_argument("run", type=Path, help="folder of a run, such as runs/edge_json_135m")
        verb.set_defaults(call=call)
    _json(show)
    compare = verbs.add_parser("compare", help="two runs on the same rows, or the base and adapter of one, paired")
    compare.add_argument("run", type=Path, nargs="+", help="one or two folders of runs")
    compare.add_argument("--split", help="the test set (default: the first)")
    _json(compare)
    compare.set_defaults(call=_compare)
    publish = verbs.add_parser("publish", help="put runs into results/ and write the README's table anew")
    publish.add_argument("run", type=Path, nargs="*", help="folders of finished runs")
    publish.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="default: results")
    publish.add_argument("--readme", type=Path, default=Path("README.md"), metavar="FILE", help="default: README.md")
    publish.set_defaults(call=_publish)


def _add_data_verbs(verbs: Any) -> None:
    data = verbs.add_parser("data", help="build, check and split examples").add_subparsers(
        metavar="WHAT", required=True
    )
    build = data.add_parser("build", help="write a task's frozen files again, byte for byte, or more of them")
    build.add_argument("task", help="such as edge_json")
    build.add_argument("--split", help="one split; train_large takes any -n (default: all frozen splits)")
    build.add_argument("-n", type=int, help="rows, for train_large")
    build.add_argument("--out", type=Path, metavar="DIR", help="folder to write to (default: data/TASK)")
    build.set_defaults(call=_data_build)
    check = data.add_parser("check", help="the gate: every violation as file:line: rule: what")
    check.add_argument("file", type=Path)
    check.add_argument(
        "--against", type=Path, action="append", default=[], metavar="FILE", help="look for leaks from FILE"
    )
    check.add_argument("--schemas", type=Path, metavar="DIR", help="folder of <schema_id>.json (default: inferred)")
    check.add_argument("--max-characters", type=int, metavar="N", help="rows longer than this are violations")
    _json(check)
    check.set_defaults(call=_data_check)
    _add_import(data)
    split = data.add_parser("split", help="part a file into train and test, the same way everywhere")
    split.add_argument("file", type=Path)
    split.add_argument("--test", type=float, default=0.2, help="share of the rows, or their number (default: 0.2)")
    split.add_argument("--seed", type=int, default=42)
    split.add_argument("--schemas", type=Path, metavar="DIR", help="folder of <schema_id>.json (default: inferred)")
    split.add_argument(
        "--out",
        type=Path,
        default=Path("data"),
        metavar="DIR",
        help="for both halves and their schemas (default: data)",
    )
    _json(split)
    split.set_defaults(call=_data_split)


def _made_plan(arguments: argparse.Namespace) -> Any:
    from slmbench.pipeline import make_plan

    return make_plan(_recipe(arguments), arguments.runs, getattr(arguments, "track", ()), _limit(arguments))


def _limit(arguments: argparse.Namespace) -> int | None:
    from slmbench.memory import bytes_of

    return bytes_of(arguments.memory) if arguments.memory else None


def _plan(arguments: argparse.Namespace) -> int:
    from slmbench.forecast import device_of, forecast, table

    device, size = device_of(arguments.device) if arguments.device else (None, None)
    told = forecast(_made_plan(arguments), device=device, limit=_limit(arguments) or size)
    print(json.dumps(told.to_json(), indent=1) if arguments.json else table(told))
    return 0 if told.fits else 1


def _recipe(arguments: argparse.Namespace) -> Any:
    from slmbench.config import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.set + ([f"name={arguments.name}"] if arguments.name else []))
    if arguments.smoke:
        from slmbench.pipeline import smoke

        recipe = smoke(recipe)
    return recipe


def _run(arguments: argparse.Namespace) -> int:
    if arguments.detach:
        return _detach(arguments)
    from slmbench.pipeline import run_recipe

    run_recipe(
        _recipe(arguments),
        arguments.runs,
        dry_run=arguments.dry_run,
        track=arguments.track,
        memory_limit=_limit(arguments),
    )
    return 0


def _detach(arguments: argparse.Namespace) -> int:
    from slmbench.operate import detach

    recipe = _recipe(arguments)
    code = detach(arguments.words, arguments.runs / recipe.name)
    if code == 0:
        print(recipe.name)
    return code


def _preflight(arguments: argparse.Namespace) -> None:
    from slmbench.pipeline import run_recipe

    run_recipe(_recipe(arguments), arguments.runs, dry_run=True, memory_limit=_limit(arguments))


def _train(arguments: argparse.Namespace) -> int:
    if arguments.detach:
        return _detach(arguments)
    from slmbench.pipeline import train_recipe

    if adapter := train_recipe(_made_plan(arguments)):
        print(adapter)
    return 0


def _evaluate(arguments: argparse.Namespace) -> None:
    from slmbench.pipeline import evaluate_recipe

    print(evaluate_recipe(_made_plan(arguments), arguments.split))


def _runs(arguments: argparse.Namespace) -> None:
    from slmbench.operate import all_runs, runs_table, status

    listed = [status(folder) for folder in all_runs(arguments.runs)]
    print(json.dumps(listed, indent=1) if arguments.json else "\n".join(runs_table(listed)))


def _status(arguments: argparse.Namespace) -> None:
    from slmbench.operate import find_run, status, status_lines

    facts = status(find_run(arguments.run, arguments.runs))
    print(json.dumps(facts, indent=1) if arguments.json else "\n".join(status_lines(facts)))


def _watch(arguments: argparse.Namespace) -> None:
    from slmbench.operate import find_run, watch

    watch(find_run(arguments.run, arguments.runs))


def _logs(arguments: argparse.Namespace) -> None:
    from slmbench.operate import find_run, logs

    logs(find_run(arguments.run, arguments.runs), arguments.lines, arguments.follow)


def _stop(arguments: argparse.Namespace) -> None:
    from slmbench.operate import find_run, stop

    print(stop(find_run(arguments.run, arguments.runs), arguments.timeout, arguments.kill))


def _show(arguments: argparse.Namespace) -> None:
    from slmbench.pipeline import load_record

    record = load_record(arguments.run)
    if arguments.json:
        print(json.dumps({k: v for k, v in record.items() if k != "samples"}, ensure_ascii=False, indent=1))
        return
    from slmbench.publish import summary

    print(summary(record))


def _card(arguments: argparse.Namespace) -> None:
    from slmbench.pipeline import load_record
    from slmbench.publish import card

    print(card(load_record(arguments.run)), end="")


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
    _json(verb)
    verb.set_defaults(call=_export)
    verb = verbs.add_parser(
        "bench",
        help="how fast an exported model answers on this machine, how well, and what bounds it",
        description="Answer documents, one after the other or several at once; say how long each took, what it took,"
        " and how good it was.",
    )
    verb.add_argument("model", type=Path, help="folder that slmbench export wrote")
    verb.add_argument("--split", default="test", metavar="NAME|FILE", help="a split of its task or a file of examples")
    verb.add_argument("--schemas", type=Path, metavar="DIR", help="folder of the schemas that a file names")
    verb.add_argument("--rows", type=int, metavar="N", help="so many documents, evenly spread (default: all)")
    verb.add_argument(
        "--constraint",
        choices=("free", "schema", "grounded"),
        default="schema",
        help="grounded: under the schema, and strings only say what stands in the document (default: schema)",
    )
    verb.add_argument("--batch", type=int, default=1, metavar="N", help="documents in one pass (default: 1)")
    verb.add_argument("--confidence", action="store_true", help="how right the confidences of extract are, too")
    verb.add_argument("--draft-tokens", type=int, metavar="N", help="longest draft a pass; 0: one token a pass")
    verb.add_argument("--threads", type=int, metavar="N", help="default: one for each core")
    _json(verb)
    verb.set_defaults(call=_bench)


def _add_new(verbs: Any) -> None:
    verb = verbs.add_parser(
        "new",
        help="a project folder for your own schema",
        description="Write a folder with the schema, a recipe and a README that says how to go on. An example object is"
        " turned into a schema, which is shown before anything is written.",
    )
    verb.add_argument("schema", help="a JSON Schema, an example object (.json), or a Pydantic class as module:Class")
    verb.add_argument("--out", type=Path, metavar="DIR", help="default: the schema's name")
    verb.add_argument(
        "--labelled", type=Path, metavar="FILE", help="your own documents: JSONL or CSV of text and target"
    )
    verb.add_argument("--yes", action="store_true", help="take an inferred schema without asking")
    verb.set_defaults(call=_new)


def _new(arguments: argparse.Namespace) -> int:
    from slmbench.new import new, schema_from, shown

    name, schema, inferred = schema_from(arguments.schema)
    if inferred and not arguments.yes:
        print(shown(schema), file=sys.stderr)
        print("Use this schema? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            print("nothing was written; correct the schema and give it as a file.", file=sys.stderr)
            return 1
    for path in new(name, schema, arguments.out or Path(name), arguments.labelled):
        print(path)
    return 0


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


def _serve(arguments: argparse.Namespace) -> None:
    from slmbench.serve import serve
    from slmbench.serving.limits import Limits

    limits = Limits(waiting=arguments.queue, request_seconds=arguments.seconds)
    serve(
        arguments.model, host=arguments.host, port=arguments.port, key=arguments.api_key, workers=arguments.workers,
        threads=arguments.threads, limits=limits,
    )  # fmt: skip


def _add_synth(verbs: Any) -> None:
    verb = verbs.add_parser(
        "synth",
        help="make documents for your own schema",
        description="Write rows of made documents under a JSON Schema, to train or test on. Names, formats, enums and"
        " descriptions say what a field holds; x-slmbench hints (values, labels, derive, grounded) say more.",
    )
    verb.add_argument("schema", type=Path, help="a JSON Schema of an object")
    verb.add_argument("-n", type=int, default=1000, metavar="ROWS", help="how many rows (default: 1000)")
    verb.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSONL file to write")
    verb.add_argument("--seed", type=int, default=42, help="another seed gives other rows (default: 42)")
    verb.set_defaults(call=_synth)


def _synth(arguments: argparse.Namespace) -> None:
    from slmbench.schema import load_schema
    from slmbench.synth.make import write

    rows = write(load_schema(arguments.schema), arguments.n, arguments.out, arguments.seed, arguments.schema.stem)
    print(f"{arguments.out}: {rows} rows")


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


def _add_extract(verbs: Any) -> None:
    verb = verbs.add_parser(
        "extract",
        help="documents in, rows out, under a schema",
        description="Turn documents into JSON with an exported model. Text files, JSONL, CSV, Parquet, folders of them,"
        " or - for standard input; rows in their order, as JSONL to standard output or into --out (.jsonl, .csv,"
        " .parquet). A document that cannot be read is a row with an error. Killed with --out, the same command goes"
        " on.",
        epilog="Example: cat mails.jsonl | slmbench extract runs/x/export/int8 - --schema order.json | jq .json",
    )
    verb.add_argument("model", type=Path, help="folder that slmbench export wrote")
    verb.add_argument("documents", nargs="+", metavar="FILE", help="files, folders, or - for standard input")
    verb.add_argument("--schema", type=Path, metavar="FILE", help="a JSON Schema (default: the one it was trained on)")
    verb.add_argument("--column", metavar="NAME", help="where rows hold the document (default: text, document, ...)")
    verb.add_argument("--out", type=Path, metavar="FILE", help="by its ending: .csv, .parquet, else JSONL")
    verb.add_argument("--explain", action="store_true", help="for every value where it was read, and how sure it is")
    verb.add_argument(
        "--min-confidence", type=float, metavar="P", help="with --review: rows less sure than this go there"
    )
    verb.add_argument("--review", type=Path, metavar="FILE", help="JSONL of doubtful rows, each with its document")
    verb.add_argument("--constraint", choices=("schema", "grounded", "free"), default="schema", help="default: schema")
    verb.add_argument("--batch", type=int, default=1, metavar="N", help="documents in one pass (default: 1)")
    verb.add_argument("--threads", type=int, metavar="N", help="default: one for each core")
    verb.set_defaults(call=_extract)


def _extract(arguments: argparse.Namespace) -> int:
    from slmbench.exported import load_exported
    from slmbench.extract import Asked, extract, schema_of

    exported = load_exported(arguments.model)
    asked = Asked(
        schema_of(exported, arguments.schema), arguments.constraint, arguments.explain, arguments.min_confidence,
        arguments.batch, arguments.threads,
    )  # fmt: skip
    counts = extract(
        exported, arguments.documents, asked, column=arguments.column, out=arguments.out, review=arguments.review
    )
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "documents")
    print(said, file=sys.stderr)
    return 1 if counts["failed"] and counts["failed"] == counts["documents"] else 0


def _export(arguments: argparse.Namespace) -> None:
    from slmbench.export import export

    for folder, manifest in export(arguments.run, list(dict.fromkeys(arguments.to or ["int8"])), arguments.out):
        print(json.dumps(manifest, ensure_ascii=False) if arguments.json else folder)


def _bench(arguments: argparse.Namespace) -> None:
    from slmbench.bench import bench, examples_of, lines
    from slmbench.exported import load_exported

    exported = load_exported(arguments.model)
    examples = examples_of(exported, arguments.split, arguments.schemas, arguments.rows)
    result, _ = bench(
        exported, examples, constraint=arguments.constraint, draft_tokens=arguments.draft_tokens,
        threads=arguments.threads, batch=arguments.batch,
    )  # fmt: skip
    said = lines(result)
    if arguments.confidence:
        from slmbench import calibrate

        result["confidence"] = calibrate.calibration(exported, examples)
        said += calibrate.lines(result["confidence"])
    print(json.dumps(result, indent=1) if arguments.json else "\n".join(said))


def _report(arguments: argparse.Namespace) -> None:
    from slmbench.pipeline import rewrite_report

    print(rewrite_report(arguments.run))


def _compare(arguments: argparse.Namespace) -> None:
    from slmbench.compare import table
    from slmbench.pipeline import compare_runs

    names, comparison = compare_runs(arguments.run, arguments.split)
    print(json.dumps(comparison, ensure_ascii=False, indent=1) if arguments.json else table(comparison, *names))


def _publish(arguments: argparse.Namespace) -> None:
    from slmbench.pipeline import publish_runs

    for line in publish_runs(arguments.run, arguments.results, arguments.readme):
        print(line)


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


def _data_build(arguments: argparse.Namespace) -> None:
    from slmbench.pipeline import build_data

    for line in build_data(arguments.task, arguments.split, arguments.n, arguments.out):
        print(line)


def _data_check(arguments: argparse.Namespace) -> int:
    from slmbench.synth.check import check_file

    report = check_file(
        arguments.file, against=arguments.against, schemas=arguments.schemas, limit=arguments.max_characters
    )
    if arguments.json:
        print(json.dumps(report.to_json(), ensure_ascii=False, indent=1))
    else:
        for line in report.lines():
            print(line)
        broken = ", ".join(f"{count} {rule}" for rule, count in report.counts().items() if count)
        print(f"{arguments.file}: {report.rows} rows, {broken or 'no violation'}", file=sys.stderr)
    return 0 if report.ok else 2


def _add_import(data: Any) -> None:
    from slmbench.formats import FORMATS

    formats = "\n".join(f"  {name:12} {kind.description}" for name, kind in FORMATS.items())
    verb = data.add_parser(
        "import",
        help="turn other people's files into rows, and say what could not be turned",
        description=f"Turn a file into rows; what cannot be turned is named with its reason.\n\nformats:\n{formats}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("format", metavar="FORMAT", help=", ".join(FORMATS))
    verb.add_argument("file", type=Path)
    verb.add_argument("--answers", type=Path, metavar="FILE", help="where a format keeps them in a file of their own")
    verb.add_argument("--out", type=Path, default=Path("data"), metavar="DIR", help="default: data")
    _json(verb)
    verb.set_defaults(call=_data_import)


def _data_import(arguments: argparse.Namespace) -> None:
    from slmbench.formats import import_file

    places, imported = import_file(arguments.format, arguments.file, arguments.answers, arguments.out)
    rows = {str(place): len(part) for place, part in zip(places, imported.splits.values(), strict=True)}
    lost = [{"where": where, "reason": reason} for where, reason in imported.lost]
    if arguments.json:
        print(json.dumps({"rows": rows, "schemas": len(imported.schemas), "lost": lost}, ensure_ascii=False, indent=1))
        return
    for place, count in rows.items():
        print(f"{place}  {count} rows")
    for part in lost[:20]:
        print(f"{part['where']}: {part['reason']}", file=sys.stderr)
    if lost:
        more = f", {len(lost) - 20} of them not shown (--json has all)" if len(lost) > 20 else ""
        print(f"{arguments.file}: {len(lost)} could not be turned{more}", file=sys.stderr)


def _data_split(arguments: argparse.Namespace) -> None:
    from slmbench.data import schemas_folder, split_rows

    if not arguments.test > 0:
        raise BadInput(f"--test {arguments.test}: give a share below 1 or a number of rows.")
    size = arguments.test if arguments.test < 1 else int(arguments.test)
    out = arguments.out
    train, test = split_rows(arguments.file, test=size, seed=arguments.seed, out=out, schemas=arguments.schemas)
    places = {"train": str(train), "test": str(test), "schemas": str(schemas_folder(arguments.file, out))}
    print(json.dumps(places) if arguments.json else "\n".join(f"{k:8} {v}" for k, v in places.items()))


if __name__ == "__main__":
    sys.exit(main())
