"""Runs from outside, at work and finished."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from slmbench.commands import RUNS, json_option


def add(verbs: Any) -> None:
    """Add these verbs to the parser."""
    _add_operating_verbs(verbs)
    _add_run_verbs(verbs)


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
        json_option(made[name])
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
    json_option(show)
    _add_compare(verbs)
    _add_verify(verbs)
    publish = verbs.add_parser("publish", help="put runs into results/ and write the README's table anew")
    publish.add_argument("run", type=Path, nargs="*", help="folders of finished runs")
    publish.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="default: results")
    publish.add_argument("--readme", type=Path, default=Path("README.md"), metavar="FILE", help="default: README.md")
    publish.set_defaults(call=_publish)
    _add_export_results(verbs)


def _add_compare(verbs: Any) -> None:
    verb = verbs.add_parser(
        "compare",
        help="runs on the same rows, or the base and adapter of one, paired",
        description="Up to six runs on the same rows, each in pairs with the first, or the base and adapter of one.",
    )
    verb.add_argument("run", type=Path, nargs="+", help="a folder of a run, or a file of results/")
    verb.add_argument("--split", help="the test set (default: the first)")
    output = verb.add_mutually_exclusive_group()
    output.add_argument(
        "--html", type=Path, metavar="FILE",
        help="write a page that opens offline instead: figures, slices, times, and the documents on which they differ",
    )  # fmt: skip
    json_option(output)
    verb.set_defaults(call=_compare)


def _add_export_results(verbs: Any) -> None:
    verb = verbs.add_parser(
        "export-results",
        help="a result in the format of another program: lm-eval's results and samples",
        description="Write a result, and every sample of it, as another program writes its own. lm-eval:"
        " MODEL/results_DATE.json and MODEL/samples_TASK_DATE.jsonl, for the tuned model and for its base.",
    )
    verb.add_argument("result", type=Path, help="a file of results/, or the folder of a finished run")
    verb.add_argument("--format", choices=("lm-eval",), default="lm-eval", help="default: lm-eval")
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write into")
    verb.set_defaults(call=_export_results)


def _add_verify(verbs: Any) -> None:
    verify = verbs.add_parser(
        "verify",
        help="every figure of a result anew from its stored answers; exit code 1 where anything differs",
        description="Every figure of a result anew, from its stored answers and the data. Exit code 1 where anything "
        "differs.",
    )
    verify.add_argument(
        "result", type=Path, nargs="+", help="a file of results/, a folder of them, or the folder of a finished run"
    )
    verify.add_argument(
        "--training-data", action="store_true", help="make what was trained on again as well, and compare its hash"
    )
    verify.add_argument(
        "--rerun",
        type=Path,
        metavar="RUN",
        help="answer a part of each test set again, with the adapter and without: a run's folder, or an export",
    )
    verify.add_argument("--rows", type=int, metavar="N", help="of each test set (default: a tenth)")
    verify.add_argument(
        "--seed", type=int, metavar="N", help="draws the rows (default: another each time, which is said)"
    )
    json_option(verify)
    verify.set_defaults(call=_verify)


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
    from slmbench.publish import load_record, summary

    record = load_record(arguments.run)
    print(json.dumps(record, ensure_ascii=False, indent=1) if arguments.json else summary(record))


def _card(arguments: argparse.Namespace) -> None:
    from slmbench.publish import card, load_record

    print(card(load_record(arguments.run)), end="")


def _report(arguments: argparse.Namespace) -> None:
    from slmbench.finished import rewrite_report

    print(rewrite_report(arguments.run))


def _compare(arguments: argparse.Namespace) -> None:
    from slmbench.compare import table
    from slmbench.finished import compare_runs, write_comparison

    if arguments.html:
        print(write_comparison(arguments.run, arguments.split, arguments.html))
        return
    (first, *others), found = compare_runs(arguments.run, arguments.split)
    if arguments.json:
        print(json.dumps(found if len(found) > 1 else found[0], ensure_ascii=False, indent=1))
    else:
        print("\n\n".join(table(one, first, name) for name, one in zip(others, found, strict=True)))


def _verify(arguments: argparse.Namespace) -> int:
    from slmbench.verify import verify_all

    verdicts = []
    for verdict in verify_all(
        arguments.result, training=arguments.training_data, rerun=arguments.rerun, rows=arguments.rows,
        seed=arguments.seed,
    ):  # fmt: skip
        verdicts.append(verdict)
        if not arguments.json:
            print(*verdict.lines(), sep="\n", flush=True)
    if arguments.json:
        print(json.dumps([verdict.to_json() for verdict in verdicts], ensure_ascii=False, indent=1))
    return int(not all(verdict.ok for verdict in verdicts))


def _publish(arguments: argparse.Namespace) -> None:
    from slmbench.verify import publish_runs

    for line in publish_runs(arguments.run, arguments.results, arguments.readme):
        print(line)


def _export_results(arguments: argparse.Namespace) -> None:
    from slmbench.finished import export_results

    print(*export_results(arguments.result, arguments.out), sep="\n")
