"""What is done with a recipe: plan, preflight, train, evaluate, run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from slmbench.commands import RUNS, json_option


def add(verbs: Any) -> None:
    """Add these verbs to the parser."""
    texts = {
        "run": "all stages: check, preflight, base, training, tuned, comparison, card, report",
        "preflight": "check data, disk, memory and time, and try three updates; seconds, longer where data is made",
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
            json_option(verb)
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

    # Quoted, for a name may look like a number or a date.
    name = [f"name={json.dumps(arguments.name)}"] if arguments.name else []
    recipe = load_recipe(arguments.recipe, arguments.set + name)
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
