"""Our BFCL checker against that of the package bfcl-eval: mutated answers, where the two agree, and why where not.

Give the folder of BFCL's files (bfcl_simple_python.jsonl, bfcl_multiple.jsonl and their _answers) and where the
package is:

    python -m venv peer && peer/bin/pip install --no-deps bfcl-eval
    python benchmarks/bfcl_checker.py FOLDER --package peer/lib/python3*/site-packages

Only its checker is loaded: the module that lists models, and imports every vendor's client, is a stub here.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import sys
import types
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slmbench.bfcl import rows as bfcl
from slmbench.bfcl.check import check
from slmbench.calls import tools_of

FILES = ("simple_python", "multiple")
Calls = list[dict[str, Any]]
MODEL = "any"


def reference(package: Path) -> Callable[[Calls, list[dict[str, Any]], list[dict[str, Any]], str], str]:
    """bfcl-eval's checker as a function of (calls, tools, answers, category) -> "right", "wrong" or "raises X"."""
    if not (package / "bfcl_eval").is_dir():
        raise SystemExit(
            f"{package}: no bfcl_eval in it; install it there: pip install --no-deps --target DIR bfcl-eval"
        )
    sys.path.append(str(package))
    stub = types.ModuleType("bfcl_eval.constants.model_config")
    stub.MODEL_CONFIG_MAPPING = {MODEL: types.SimpleNamespace(underscore_to_dot=False)}  # type: ignore[attr-defined]
    sys.modules[stub.__name__] = stub
    from bfcl_eval.constants.enums import Language  # type: ignore[import-not-found]
    from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker  # type: ignore[import-not-found]

    def decide(calls: Calls, tools: list[dict[str, Any]], answers: list[dict[str, Any]], category: str) -> str:
        output = [{call["name"]: copy.deepcopy(call["arguments"])} for call in calls]
        try:
            found = ast_checker(tools, output, answers, Language.PYTHON, category, MODEL)
        except Exception as error:
            return f"raises {type(error).__name__}"
        return "right" if found["valid"] else "wrong"

    return decide


def ours(calls: Calls, tools: list[dict[str, Any]], answers: list[dict[str, Any]], category: str) -> str:
    return "wrong" if check(calls, tools, answers) else "right"


# ---- mutations: each takes (rng, calls, row) and changes `calls` in place; False where there is nothing to change


def target(rng: random.Random, calls: Calls) -> tuple[dict[str, Any], str] | None:
    """The arguments of some call, and the name of one of them."""
    arguments = rng.choice(calls)["arguments"] if calls else {}
    return (arguments, rng.choice(list(arguments))) if arguments else None


def mutate_at(change: Callable[[random.Random, Any], Any]) -> Callable[[random.Random, Calls, dict[str, Any]], bool]:
    def mutate(rng: random.Random, calls: Calls, row: dict[str, Any]) -> bool:
        found = target(rng, calls)
        if found is None:
            return False
        arguments, key = found
        before = copy.deepcopy(arguments[key])
        arguments[key] = change(rng, arguments[key])
        return json.dumps(before) != json.dumps(arguments[key])

    return mutate


def nested(change: Callable[[random.Random, Any], Any]) -> Callable[[random.Random, Any], Any]:
    """`change` at a random depth of lists and objects."""

    def deeper(rng: random.Random, value: Any) -> Any:
        if isinstance(value, dict) and value and rng.random() < 0.9:
            key = rng.choice(list(value))
            return {**value, key: deeper(rng, value[key])}
        if isinstance(value, list) and value and rng.random() < 0.9:
            at = rng.randrange(len(value))
            return [deeper(rng, item) if i == at else item for i, item in enumerate(value)]
        return change(rng, value)

    return deeper


def other_value(rng: random.Random, value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + rng.choice((1, -1, 0.5, 10))
    if isinstance(value, str):
        return rng.choice((value + "x", value[:-1], "something else", ""))
    if isinstance(value, list):
        return rng.choice((value[::-1], value[:-1], [*value, *value[:1]], [*value, "x"], [value]))
    if isinstance(value, dict):
        key = rng.choice(list(value)) if value else "key"
        return rng.choice(({k: v for k, v in value.items() if k != key}, {**value, "extra": 1}, {"a": value}))
    return 1


def other_type(rng: random.Random, value: Any) -> Any:
    options: list[Any] = [str(value), [value], None, True, False, 0, 1, 1.0, "", {}, [], [""], {"a": 1}, [{}], [[]]]
    if isinstance(value, int | float):
        options += [float(value), int(value), float(value), int(value), bool(value)]
    if isinstance(value, str) and value.lstrip("-").isdigit():
        options += [int(value)] * 4
    if isinstance(value, list):
        options += [tuple_like(value)] * 4
    return rng.choice(options)


def tuple_like(value: list[Any]) -> Any:
    """The items as an object by position, or each of another numeric type."""
    return [float(item) if type(item) is int else int(item) if type(item) is float else item for item in value]


def spelling(rng: random.Random, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    changes: list[Callable[[str], str]] = [
        str.upper, str.lower, str.title, str.swapcase,
        lambda s: s.replace(" ", ""),
        lambda s: s.replace(" ", "_"),
        lambda s: s + rng.choice(",./-_*^ "),
        lambda s: s + rng.choice("!?;:()[]{}+=&%$#@~`|\\<>\t\n"),
        lambda s: s.replace(",", ""),
        lambda s: s.replace(".", ""),
        lambda s: s.replace("-", ""),
        lambda s: "-".join(s),
        lambda s: f"'{s}'",
        lambda s: f'"{s}"',
        lambda s: s.replace("'", '"'),
        lambda s: s.replace("a", "á"),
        lambda s: s.replace("i", "İ").replace("s", "ß"),
    ]  # fmt: skip
    return rng.choice(changes)(value)


def drop(rng: random.Random, calls: Calls, row: dict[str, Any]) -> bool:
    found = target(rng, calls)
    return found is not None and found[0].pop(found[1], calls) is not calls


def rename(rng: random.Random, calls: Calls, row: dict[str, Any]) -> bool:
    found = target(rng, calls)
    if found is None:
        return False
    arguments, key = found
    arguments[rng.choice((key + "_", key.upper() + "x", "x"))] = arguments.pop(key)
    return True


def add(rng: random.Random, calls: Calls, row: dict[str, Any]) -> bool:
    """An argument that the document knows and the call leaves out, with some value, or one that nobody knows."""
    if not calls:
        return False
    call = rng.choice(calls)
    docs = bfcl.documents_of(bfcl.find_tool(row["tools"], call["name"]))
    names = [key for key in docs if key not in call["arguments"]] or ["unknown"]
    key = rng.choice([*names, "unknown"])
    accepted = next((next(iter(a.values())).get(key, []) for a in row["answers"] if call["name"] in a), [])
    call["arguments"][key] = rng.choice([*accepted, *accepted, "", None, 0, 1, True, [], {}, "x", [{}], 1.0])
    return True


def swap_function(rng: random.Random, calls: Calls, row: dict[str, Any]) -> bool:
    if not calls:
        return False
    call = rng.choice(calls)
    others = [tool["name"] for tool in row["tools"] if tool["name"] != call["name"]]
    call["name"] = rng.choice(
        [*others, call["name"] + "_", call["name"].replace(".", "_") + ".x", call["name"].upper()]
    )
    return True


def extra_call(rng: random.Random, calls: Calls, row: dict[str, Any]) -> bool:
    calls.insert(rng.randrange(len(calls) + 1), copy.deepcopy(rng.choice(calls)) if calls else {})
    return True


def no_calls(rng: random.Random, calls: Calls, row: dict[str, Any]) -> bool:
    calls.clear()
    return True


def no_arguments(rng: random.Random, calls: Calls, row: dict[str, Any]) -> bool:
    if not calls:
        return False
    rng.choice(calls)["arguments"] = {}
    return True


def shuffle(rng: random.Random, calls: Calls, row: dict[str, Any]) -> bool:
    rng.shuffle(calls)
    for call in calls:
        items = list(call["arguments"].items())
        rng.shuffle(items)
        call["arguments"] = dict(items)
    return True


def unchanged(rng: random.Random, calls: Calls, row: dict[str, Any]) -> bool:
    return True


MUTATIONS: dict[str, Callable[[random.Random, Calls, dict[str, Any]], bool]] = {
    "none: accepted values drawn": unchanged,
    "order of calls and arguments": shuffle,
    "argument dropped": drop,
    "argument renamed": rename,
    "argument added": add,
    "other value": mutate_at(nested(other_value)),
    "other type": mutate_at(nested(other_type)),
    "other type, whole argument": mutate_at(other_type),
    "case and punctuation": mutate_at(nested(spelling)),
    "function swapped": swap_function,
    "call too many": extra_call,
    "no call": no_calls,
    "no arguments": no_arguments,
}
WEIGHTS = (12, 3, 6, 4, 12, 14, 14, 12, 14, 4, 2, 1, 2)


def drawn(rng: random.Random, row: dict[str, Any], language: str = "python") -> Calls:
    """Calls of accepted values drawn at random; what may be left out is, now and then."""
    calls = []
    for name, accepted in bfcl.accepted_answers(row["answers"]):
        docs = bfcl.documents_of(bfcl.find_tool(row["tools"], name))
        arguments = {}
        for key, values in accepted.items():
            value = rng.choice(values) if values else ""
            if value == "" and isinstance(value, str):
                continue
            arguments[key] = copy.deepcopy(draw_inner(rng, value, docs.get(key, {}), language))
        calls.append({"name": name, "arguments": arguments})
    return calls


def draw_inner(rng: random.Random, value: Any, doc: dict[str, Any], language: str) -> Any:
    outer, inner = bfcl.classes_of(doc, language)

    def draw(accepted: dict[str, Any]) -> dict[str, Any]:
        chosen = {key: rng.choice(v) for key, v in accepted.items() if isinstance(v, list) and v}
        return {key: v for key, v in chosen.items() if v != ""}

    if outer is dict and isinstance(value, dict):
        return draw(value)
    if inner is dict and isinstance(value, list):
        return [draw(item) if isinstance(item, dict) else item for item in value]
    return value


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    def lines(path: Path) -> list[dict[str, Any]]:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]

    answers = {row["id"]: row["ground_truth"] for row in lines(folder / f"bfcl_{name}_answers.jsonl")}
    return [
        {"id": row["id"], "tools": row["function"], "answers": answers[row["id"]], "category": name}
        for row in lines(folder / f"bfcl_{name}.jsonl")
    ]


def parallel(rng: random.Random, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Two to four questions as one that asks for a call each, one of them twice now and then."""
    parts = rng.sample(rows, rng.randint(2, 3))
    calls = [*parts, parts[0]] if rng.random() < 0.4 else parts
    return {
        "id": "+".join(part["id"] for part in calls),
        "tools": [tool for part in parts for tool in part["tools"]],
        "answers": [answer for part in calls for answer in part["answers"]],
        "category": "parallel",
    }


def random_row(rng: random.Random) -> tuple[dict[str, Any], Calls]:
    """A document, accepted values and a call that no file holds: every pair of types, "" anywhere, odd nestings."""
    scalars: list[Any] = ["", "", "a", "A b", "name", 0, 1, 2, 1.0, 2.5, True, False, None]

    def value(depth: int) -> Any:
        roll = rng.random()
        if depth and roll < 0.25:
            return [value(depth - 1) for _ in range(rng.randint(0, 3))]
        if depth and roll < 0.45:
            return {rng.choice("abc"): value(depth - 1) for _ in range(rng.randint(0, 2))}
        return rng.choice(scalars)

    def options(depth: int) -> list[Any]:
        return [value(depth) for _ in range(rng.randint(1, 3))]

    def accepted(kind: str, inner: str) -> list[Any]:
        found: list[Any] = []
        for _ in range(rng.randint(1, 3)):
            if rng.random() < 0.3:
                found.append(value(2))
            elif kind == "dict":
                found.append({key: options(1) for key in rng.sample("abc", rng.randint(0, 3))})
            elif kind in ("array", "tuple") and inner == "dict":
                found.append([{key: options(1) for key in rng.sample("abc", 2)} for _ in range(rng.randint(0, 2))])
            elif kind in ("array", "tuple"):
                found.append([value(1) for _ in range(rng.randint(0, 3))])
            else:
                found.append(rng.choice(scalars))
        return found

    def near(doc: dict[str, Any], values: list[Any]) -> Any:
        if rng.random() < 0.2:
            return value(2)
        chosen = draw_inner(rng, copy.deepcopy(rng.choice(values)), doc, "python")
        return nested(rng.choice((other_type, other_value, spelling)))(rng, chosen) if rng.random() < 0.3 else chosen

    kinds = ("string", "integer", "float", "boolean", "array", "array", "array", "tuple", "dict", "dict", "any")
    docs: dict[str, dict[str, Any]] = {}
    answers: dict[str, list[Any]] = {}
    arguments: dict[str, Any] = {}
    for key in "xyz"[: rng.randint(1, 2)]:
        kind, inner = rng.choice(kinds), rng.choice(kinds)
        docs[key] = {"type": kind, **({"items": {"type": inner}} if kind in ("array", "tuple") else {})}
        answers[key] = accepted(kind, inner)
        if rng.random() < 0.95:
            arguments[key] = near(docs[key], answers[key])
    parameters = {"type": "dict", "properties": docs, "required": rng.sample(list(docs), rng.randint(0, len(docs)))}
    row = {"id": "random", "tools": [{"name": "f", "parameters": parameters}], "answers": [{"f": answers}]}
    return {**row, "category": "simple_python"}, [{"name": "f", "arguments": arguments}]


def explain(theirs: str, here: str) -> str:
    """Why the two may differ; "unexplained" is a fault of ours."""
    if theirs.startswith("raises"):
        return f"bfcl-eval {theirs}, a crash and not a decision; ours says {here}"
    return "unexplained"


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, print the table, and say by the exit code whether a difference has no explanation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of BFCL's files")
    parser.add_argument("--package", type=Path, required=True, metavar="DIR", help="site-packages that hold bfcl-eval")
    parser.add_argument("--count", type=int, default=2000, help="mutated answers (default: 2000)")
    parser.add_argument("--random", type=int, default=20000, help="answers to random documents, beyond the files")
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args(argv)
    decide = reference(options.package)
    rng = random.Random(options.seed)
    rows = {name: read(options.folder, name) for name in FILES}
    everything = [row for name in FILES for row in rows[name]]
    table: Counter[tuple[str, str, str, str]] = Counter()
    differences: list[tuple[str, str, str, Calls]] = []
    from_schema = 0
    gold: Counter[tuple[str, str]] = Counter()

    def compare(kind: str, row: dict[str, Any], calls: Calls) -> tuple[str, str]:
        nonlocal from_schema
        theirs, here = (judge(calls, row["tools"], row["answers"], row["category"]) for judge in (decide, ours))
        if theirs != here:
            differences.append((explain(theirs, here), kind, row["id"], calls))
        tools = tools_of(bfcl.documented(row["tools"]))
        from_schema += ours(calls, tools, row["answers"], row["category"]) != here
        return theirs, here

    for row in everything:
        calls = [bfcl.first_call(answer, row["tools"], "python") for answer in bfcl.accepted_answers(row["answers"])]
        gold[compare("gold", row, calls)] += 1
    done = 0
    while done < options.count + options.count // 4:
        # The files hold one call a question; a quarter more is made of several questions put together.
        row = rng.choice(everything) if done < options.count else parallel(rng, everything)
        calls = drawn(rng, row)
        kind = rng.choices(list(MUTATIONS), WEIGHTS)[0]
        if not MUTATIONS[kind](rng, calls, row):
            continue
        if rng.random() < 0.15 and kind not in ("none: accepted values drawn", "order of calls and arguments"):
            # A second change on top, so that faults meet.
            rng.choice(list(MUTATIONS.values())[:9])(rng, calls, row)
        theirs, here = compare(kind, row, calls)
        table["parallel" if done >= options.count else "files", kind, theirs, here] += 1
        done += 1

    for _ in range(options.random):
        row, calls = random_row(rng)
        theirs, here = compare("random documents", row, calls)
        table["random", "random documents", theirs, here] += 1

    print(f"gold, first accepted values, {len(everything)} rows: {dict(gold)}")
    print(f"{len(differences)} differences of decision, {sum(table.values()) + len(everything)} answers\n")
    print(f"{'answers':10}{'mutation':32}{'both right':>11}{'both wrong':>11}{'differ':>8}")
    for part in ("files", "parallel", "random"):
        total: Counter[str] = Counter()
        for kind in ("random documents",) if part == "random" else MUTATIONS:
            counts = Counter[str]()
            for (where, name, theirs, here), number in table.items():
                if (where, name) == (part, kind):
                    counts[theirs if theirs == here else "differ"] += number
            total += counts
            print(f"{part:10}{kind:32}{counts['right']:>11}{counts['wrong']:>11}{counts['differ']:>8}")
        print(f"{part:10}{'all':32}{total['right']:>11}{total['wrong']:>11}{total['differ']:>8}\n")
    reasons = Counter(reason for reason, *_ in differences)
    print(f"differences: {len(differences)}, unexplained: {reasons['unexplained']}")
    for reason, number in reasons.most_common():
        print(f"  {number:4}  {reason}")
        for _, kind, name, calls in [d for d in differences if d[0] == reason][:4]:
            print(f"        {kind} | {name} | {json.dumps(calls, ensure_ascii=False)[:160]}")
    print(f"decisions that differ when the tools are read back from the row's schema (tools_of): {from_schema}")
    return 1 if reasons["unexplained"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
