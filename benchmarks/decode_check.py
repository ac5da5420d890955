"""Whether drafts and batches change nothing and whether every finished answer is valid: over splits and random schemas.

Each document is decoded with drafts and one token a pass; where the tokens differ, how far apart the two likeliest
stood there is said; and several at once have to say what each says alone. Random documents tell a random value of a
random schema, well or badly; some are empty, monotonous, or full of characters that do not belong in a text.

    python benchmarks/decode_check.py runs/edge_json_135m_large/export/int8 --out results/decode/edge_json.json
    python benchmarks/decode_check.py MODEL --split data/x.test.jsonl --schemas data/x.schemas
    python benchmarks/decode_check.py MODEL --split none --random 1500 --out results/decode/random.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis_jsonschema import from_schema

from slmbench import bench
from slmbench.core import BadInput, Completion, Example, Request, SlmbenchError, load_task
from slmbench.decode.loop import Decoder, Part
from slmbench.exported import Exported, load_exported
from slmbench.files import json_text, write_atomic
from slmbench.progress import progress, say
from slmbench.schema import leaves, strict_loads, validate

TIE = 1e-3
"""Two logits no further apart than this may change places."""
RANDOM_TOKENS = 200
ODD = [
    "", " ", "a" * 400, "na " * 150, '{"a":' * 60, "[" * 200, "\x00\x01\x07\x1b[31m", "\ud800",
    "\u202eمرحبا", "0" * 200,
]  # fmt: skip
"""Documents that say nothing."""
KEYS = st.from_regex(r"[a-z][a-zA-Z]{0,7}(_[a-z]{1,6})?|[A-Za-z äß日-]{1,8}", fullmatch=True)
TEXTS = st.text(st.characters(max_codepoint=0x2FFFF, exclude_categories=["Cs"]), max_size=12)
"""Of characters that the model has tokens for: those beyond are private or not assigned."""
WORDS = st.one_of(TEXTS, st.sampled_from(["red", "Zürich", "a b", "é", 'quote "x"', "back\\slash", "42", "日本"]))


def leaf_schemas() -> st.SearchStrategy[dict[str, Any]]:
    """Strings with and without limits, numbers, enums, formats, patterns."""
    small = st.integers(0, 6)
    bounds = st.tuples(st.integers(-1000, 1000), st.integers(0, 500)).map(lambda p: (p[0], p[0] + p[1]))
    return st.one_of(
        st.just({"type": "string"}),
        st.tuples(small, small).map(lambda p: {"type": "string", "minLength": p[0], "maxLength": p[0] + p[1]}),
        st.sampled_from(["date", "date-time", "time", "email", "uuid", "uri"]).map(
            lambda f: {"type": "string", "format": f}
        ),
        st.sampled_from([r"^[A-Z]{2}-[0-9]+$", r"^(?:a|bc)*d$", r"[xyz]{3}", r"^\d{1,3}(\.\d{1,3}){3}$"]).map(
            lambda p: {"type": "string", "pattern": p}
        ),
        st.lists(WORDS, min_size=1, max_size=6, unique=True).map(lambda v: {"enum": v}),
        st.lists(
            st.one_of(st.integers(-9, 9), st.booleans(), st.none(), WORDS), min_size=1, max_size=4, unique_by=json.dumps
        ).map(lambda v: {"enum": v}),
        WORDS.map(lambda v: {"const": v}),
        bounds.map(lambda b: {"type": "integer", "minimum": b[0], "maximum": b[1]}),
        bounds.map(lambda b: {"type": "number", "minimum": b[0], "maximum": b[1]}),
        st.sampled_from([{"type": "integer"}, {"type": "number"}, {"type": "boolean"}, {"type": "null"}]),
        st.sampled_from([{"type": ["string", "null"]}, {"type": ["integer", "null"]}]),
    )


def object_schemas() -> st.SearchStrategy[dict[str, Any]]:
    """Objects of leaves, arrays, unions, references and objects."""

    def wider(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        return st.one_of(
            objects(inner),
            st.tuples(inner, st.integers(0, 2), st.integers(0, 3)).map(
                lambda p: {"type": "array", "items": p[0], "minItems": p[1], "maxItems": p[1] + p[2]}
            ),
            inner.map(lambda s: {"type": "array", "items": s}),
            st.lists(inner, min_size=2, max_size=3).map(lambda s: {"anyOf": s}),
        )

    def objects(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        fields = st.dictionaries(KEYS, inner, min_size=1, max_size=5)
        return st.tuples(fields, st.randoms(use_true_random=False)).map(
            lambda p: {"type": "object", "properties": p[0], "required": [k for k in p[0] if p[1].random() < 0.7]}
        )

    def referring(schema: dict[str, Any]) -> dict[str, Any]:
        first = next(iter(schema["properties"]))
        return {
            **schema,
            "properties": {**schema["properties"], first: {"$ref": "#/$defs/one"}},
            "$defs": {"one": schema["properties"][first]},
        }

    plain = objects(st.recursive(leaf_schemas(), wider, max_leaves=8))
    return st.one_of(plain, plain.map(referring))


def documents(value: Any) -> st.SearchStrategy[str]:
    """Texts that tell a value, in part or not at all."""
    told = [f"{'.'.join(map(str, path))}: {leaf}" for path, leaf in leaves(value)]
    return st.one_of(
        st.just("\n".join(told)),
        st.lists(st.sampled_from(told), max_size=12).map("; ".join) if told else st.just(""),
        st.text(max_size=120),
        st.sampled_from(ODD),
    )  # fmt: skip


def random_examples(count: int) -> list[Example]:
    """Documents under random schemas, the same ones every time."""
    found: list[Example] = []

    @settings(
        max_examples=count, database=None, derandomize=True, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.data())
    def draw(data: st.DataObject) -> None:
        schema = data.draw(object_schemas())
        try:
            value = data.draw(from_schema(schema))
        except Exception:  # the package has no value for some schemas that have one
            value = {}
        text = data.draw(documents(value))
        found.append(Example(f"random-{len(found)}", text, f"random-{len(found)}", schema, value, {"split": "random"}))

    draw()
    return found[:count]


def check(
    exported: Exported, sets: dict[str, list[Example]], constraints: Sequence[str], batch: int = 1
) -> dict[str, Any]:
    """By set: documents, tokens, how each ended, answers that are invalid, places where drafts changed a token, and
    documents that `batch` of them at once answer otherwise."""
    together = exported.backend(batch=batch) if batch > 1 else None
    drafting, plain = exported.backend(), exported.backend(draft_tokens=0)
    if not isinstance(drafting, Decoder) or not isinstance(plain, Decoder):
        raise BadInput(f"{exported.folder}: its answers are {exported.manifest['backend']}'s own; give another form.")
    result: dict[str, Any] = {}
    for name, examples in sets.items():
        for constraint in constraints if name != "random" else [c for c in constraints if c != "free"]:
            found, reasons = Counter[str](), Counter[str]()
            differ: list[dict[str, Any]] = []
            wrong: list[dict[str, Any]] = []
            longest = 0.0
            alone: dict[str, tuple[Request, Completion]] = {}
            with progress(f"{name} {constraint}", len(examples), "documents") as advance:
                for example, budget in zip(examples, budgets(exported, examples), strict=True):
                    found["documents"] += 1
                    started = time.perf_counter()
                    try:
                        asked = exported.request(example, budget, constraint)
                        answers = list(drafting.generate([asked]))
                    except BadInput as error:
                        found["refused"] += 1
                        reasons[str(error).split(": ", 1)[-1][:80]] += 1
                        answers = []
                    longest = max(longest, time.perf_counter() - started)
                    for answer in answers:
                        other = next(plain.generate([asked]))
                        found["tokens"] += len(other.token_ids)
                        alone[answer.id] = asked, answer
                        if other.token_ids != answer.token_ids:
                            differ.append(difference(plain, asked, answer, other))
                        found[answer.finish] += 1
                        if answer.finish == "stop" and constraint != "free" and (errors := invalid(answer, example)):
                            wrong.append({"id": example.id, "text": answer.text[:300], "errors": errors[:3]})
                    advance(1, "")
            at_once = together.generate([asked for asked, _ in alone.values()]) if together else []
            otherwise = [done.id for done in at_once if done.token_ids != alone[done.id][1].token_ids]
            say(
                f"{name} {constraint}: {dict(found)}, {len(wrong)} invalid, {len(differ)} otherwise without drafts,"
                f" {len(otherwise)} otherwise at once"
            )
            result[f"{name} {constraint}"] = {
                **found,
                "refusals": reasons,
                "longest_s": round(longest, 3), "invalid": wrong, "differ": differ,
                "batch": batch, "differ_in_batch": otherwise,
                "differ_beyond_ties": sum(place["apart"] > TIE for place in differ),
            }  # fmt: skip
    return result


def invalid(answer: Completion, example: Example) -> list[str]:
    """What is wrong with a finished answer."""
    try:
        return validate(strict_loads(answer.text), example.schema)
    except ValueError as error:
        return [str(error)]


def difference(plain: Decoder, asked: Request, answer: Completion, other: Completion) -> dict[str, Any]:
    """The first place where two answers differ, and how far apart the two likeliest tokens stood there."""
    pairs = enumerate(zip(answer.token_ids, other.token_ids, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), min(len(answer.token_ids), len(other.token_ids)))
    (logits,) = plain.engine.forward([Part(0, [*asked.prompt_ids, *other.token_ids[:at]], 0, 1)])[0]
    first = np.sort(logits)[-2:]
    return {"id": asked.id, "token": at, "apart": float(first[1] - first[0])}


def budgets(exported: Exported, examples: Sequence[Example]) -> list[int]:
    """As `bench` has them; for random documents one for all."""
    return [RANDOM_TOKENS if e.tags.get("split") == "random" else bench.budgets(exported, [e])[0] for e in examples]


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 where an answer is invalid, or drafts or a batch changed one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder that slmbench export wrote")
    parser.add_argument("--split", action="append", metavar="NAME|FILE", help="again for more (all test splits)")
    parser.add_argument("--schemas", type=Path, metavar="DIR", help="folder of the schemas that a file names")
    parser.add_argument("--constraint", action="append", choices=["free", "schema", "grounded"], help="(schema)")
    parser.add_argument("--rows", type=int, metavar="N", help="so many documents a split (all)")
    parser.add_argument("--random", type=int, default=0, metavar="N", help="documents under random schemas (0)")
    parser.add_argument(
        "--batch", type=int, default=8, metavar="N", help="and so many of them at once (8); 1: not that"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write what was found there")
    arguments = parser.parse_args(argv)
    try:
        exported = load_exported(arguments.model)
        task = load_task(exported.manifest["task"])
        splits = arguments.split or [name for name in task.splits() if name.startswith("test")]
        sets = {
            Path(split).stem: bench.examples_of(exported, split, arguments.schemas, arguments.rows)
            for split in splits
            if split != "none"
        }
        if arguments.random:
            sets["random"] = random_examples(arguments.random)
        batch = min(arguments.batch, exported.most_at_once)
        found = check(exported, sets, arguments.constraint or ["schema"], batch)
        result = {"model": exported.manifest["name"], **found}
        if arguments.out:
            write_atomic(arguments.out, json_text(result))
        bad = ("invalid", "differ_beyond_ties", "differ_in_batch")
        return 1 if any(part[key] for part in found.values() for key in bad) else 0
    except SlmbenchError as error:
        say(f"decode_check: {error}")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
