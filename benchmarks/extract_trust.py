"""How far `extract --explain` can be trusted: whether it points at the right text, and how right its confidence is.

    python benchmarks/extract_trust.py MODEL test --out results/trust/edge_json.json
    python benchmarks/extract_trust.py MODEL data/snips_train.test.jsonl --schemas data/snips_train.schemas \\
        --out results/trust/snips.json

Labelled documents are extracted as `extract --explain` does. Of the values that are right it is asked whether their
spans are. Rows say what is right and not where it stands, so a span is held against the document, strictly:

    places    of a value are all whole words that spell it, in any case, and the smallest runs of words that lead to it
              by any rule of the data gate. Nothing, as null and [] are, has no place
    settled   is the place where there is one alone, or where of several one alone has the field's name right before it,
              only marks and spaces between ("Font size: small"). Where a list has the value more than once in the same
              field, as many places settle it, in their order. Else any of several might be the right one
    right     is a span on the settled place, whose own text is the value but for case and white space, or leads to it
              by the rule that is named for it, and does not without its first or last word

In Snips NLU slots are runs of the text and a value is its slot's text, so the one place of a value is its slot's. What
is not settled is counted apart, and as not right among all. Intervals are Wilson's.

Beside a calibration error stands the one that confidences which are all true would show among as few answers.
Confidence is that of the export's curve, which was fitted to its validation split; the raw one beside it is the
likelihood of the answer. The calibration error is the report's, over ten equal bins. A document without an answer has
no confidence: it is accepted last, and wrong. --out has every document, and the risk-coverage curve as SVG beside.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from _picture import alone

from slmbench.bench import examples_of
from slmbench.calibrate import COVERAGES, CURVE_POINTS, judged
from slmbench.confidence import (
    chance_calibration_error,
    curves_of,
    expected_calibration_error,
    reliability,
    risk_coverage,
)
from slmbench.core import BadInput, Completion, Example, SlmbenchError
from slmbench.documents import Document
from slmbench.explain import LONGEST_STATEMENT, LONGEST_WINDOW, MOST_WORDS, NONE, Follows, Span, pointer
from slmbench.explain import Path as Leaf
from slmbench.exported import Exported, load_exported
from slmbench.extract import Asked, Extractor, Row
from slmbench.files import json_text, write_atomic
from slmbench.memory import machine
from slmbench.metrics import proportion
from slmbench.progress import progress, say
from slmbench.publish.html import line_chart
from slmbench.publish.tables import full, markdown_table
from slmbench.schema import leaves, same, words_of
from slmbench.synth.derive import derive, fold
from slmbench.synth.structure import field_schema, last_key

VERDICTS = {
    "right": "on the place that is settled",
    "several": "on one of several places, none of them settled",
    "elsewhere": "on another place than the settled one",
    "other": "on text that is not the value",
    "missed": "no span, though the text has the value",
    "nowhere": "no span, and the text does not have the value",
}
"""What becomes of a right value's span."""
NAME_REACH = 80
"""Characters before a place in which the field's name is looked for."""


class Kept(Extractor):
    """An extractor that keeps its last answer: what its rows do not say is how likely an answer was."""

    completion: Completion | None = None

    def row(self, document: Document, completion: Completion) -> Row:
        """The row of an answer."""
        self.completion = completion
        return super().row(document, completion)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", help="folder that slmbench export wrote")
    parser.add_argument("split", nargs="?", default="test", metavar="NAME|FILE", help="labelled rows (default: test)")
    parser.add_argument("--schemas", type=Path, metavar="DIR", help="folder of the schemas that a file names")
    parser.add_argument("--rows", type=int, metavar="N", help="so many documents, evenly spread (default: all)")
    parser.add_argument("--threads", type=int, metavar="N", help="default: one for each core, or OMP_NUM_THREADS")
    parser.add_argument("--out", type=Path, metavar="FILE", help="for the figures as JSON, and FILE.svg beside it")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args(argv)
    try:
        if arguments.model is None:
            raise BadInput("no model is given; name the folder of one, such as runs/edge_json_135m/export/int8.")
        run(arguments)
    except SlmbenchError as error:
        say(f"extract_trust: {error}")
        return error.exit_code
    return 0


def run(arguments: argparse.Namespace) -> None:
    """Everything that is measured of one model on one set of rows."""
    model = load_exported(arguments.model)
    curve = curves_of(model)["document"]
    examples = examples_of(model, arguments.split, arguments.schemas, arguments.rows)
    result = {
        "model": model.manifest["name"],
        "split": Path(arguments.split).name,
        "machine": machine(),
        "curve": curve.to_json(),
        **figures(list(documents(model, examples, arguments.threads))),
    }
    print(json_text(result, indent=None) if arguments.json else table(result))
    if arguments.out:
        write_atomic(arguments.out, json_text(result))
        write_atomic(arguments.out.with_suffix(".svg"), picture(result))


def documents(model: Exported, examples: Sequence[Example], threads: int | None) -> Iterator[dict[str, Any]]:
    """What is known of every document: its confidence and likelihood, None where there is no answer, whether that is
    right, the same of each of its leaves, their rules, verdicts on the right ones, which are not on the right text."""
    backend = model.backend(threads)
    extractors: dict[str, Kept] = {}
    with progress("trust", len(examples), "documents") as advance:
        for example in examples:
            key = json.dumps(example.schema)
            if key not in extractors:
                extractors[key] = Kept(model, Asked(example.schema, explain=True), backend)
            extractor = extractors[key]
            for row in extractor.rows([Document(example.id, example.text)]):
                completion = None if "error" in row else extractor.completion
                yield document(example, row, completion)
            advance(1, "")


def document(example: Example, row: Row, completion: Completion | None) -> dict[str, Any]:
    """The same of one row of `extract --explain`; without a completion it has no answer."""
    values = row.get("values", [])
    found, golds = verdicts(values, example), {pointer(path): value for path, value in leaves(example.target)}
    likely = judged(completion, example.target)[0][0] if completion else None
    return {
        "id": example.id,
        "confidence": row.get("confidence"),
        "likelihood": likely,
        "right": completion is not None and same(row["json"], example.target),
        "values": [[v["confidence"], v["path"] in golds and same(v["value"], golds[v["path"]])] for v in values],
        "rules": Counter(value["from"] for value in values),
        "verdicts": Counter(verdict for _, verdict in found),
        "apart": [
            [value["path"], value["value"], value["span"], verdict] for value, verdict in found if verdict != "right"
        ],
    }


# ---- spans


def verdicts(values: Sequence[Row], example: Example) -> list[tuple[Row, str]]:
    """Which of VERDICTS holds of each right value, in their order; wrong values have none."""
    golds = leaves(example.target)
    by_path = {pointer(path): (path, value) for path, value in golds}
    right = [value for value in values if value["path"] in by_path and same(value["value"], by_path[value["path"]][1])]
    stand = places([by_path[value["path"]] for value in right], example.schema, example.text)
    found = []
    for value, spans in zip(right, stand, strict=True):
        path, gold = by_path[value["path"]]
        twins = [other for other, twin in golds if keys(other) == keys(path) and same(twin, gold)]
        found.append((value, verdict(value, path, spans, twins, example)))
    return found


def keys(path: Leaf) -> list[str]:
    """A path without places in lists."""
    return [step for step in path if isinstance(step, str)]


def verdict(value: Row, path: Leaf, found: Sequence[Span], twins: Sequence[Leaf], example: Example) -> str:
    """Which of VERDICTS holds of a right value that has these places, and that the same field has at these paths."""
    span = value["span"]
    if span is None:
        return "missed" if found else "nowhere"
    begin, end = span
    follows = follower(value["value"], path, example.schema)
    if not reads(value["value"], value["from"], follows, example.text[begin:end]):
        return "other"
    place = settled(found, last_key(path), example.text, twins.index(path), len(twins))
    if place is None:
        return "several"
    return "right" if begin < place[1] and place[0] < end else "elsewhere"


def follower(value: Any, path: Leaf, schema: Mapping[str, Any]) -> Follows:
    """The rule by which a leaf follows from a text, as a function of the text."""
    return partial(derive, value, field_schema=field_schema(schema, path), key=last_key(path))


def reads(value: Any, rule: str, follows: Follows, text: str) -> bool:
    """Whether a text is a value but for case and white space, or leads to it by a rule, and no less of it does."""
    if isinstance(value, str) and fold(text).casefold() == fold(value).casefold():
        return True
    words = text.split()
    less = [" ".join(words[1:]), " ".join(words[:-1])] if len(words) > 1 else []
    return follows(text) == rule and all(follows(part) is None for part in less)


def settled(found: Sequence[Span], name: str, text: str, rank: int = 0, twins: int = 1) -> Span | None:
    """Where there are as many places as twins, else as many with the field's name right before, the one of that rank;
    None where there are not."""
    named = found if len(found) == twins else [place for place in found if is_named(place[0], name, text)]
    return named[rank] if len(named) == twins else None


def is_named(at: int, name: str, text: str) -> bool:
    """Whether all words of a field's name stand right before a place, only marks and spaces between."""
    words = r"[\W_]*".join(map(re.escape, words_of(name)))
    before = text[max(0, at - NAME_REACH) : at]
    return bool(words) and re.search(rf"(?<![^\W_]){words}[\W_]*$", before, re.IGNORECASE) is not None


def places(values: Sequence[tuple[Leaf, Any]], schema: Mapping[str, Any], text: str) -> list[list[Span]]:
    """All places of each leaf, in the text's order; those that share characters are one."""
    follows = [follower(value, path, schema) for path, value in values]
    found: list[list[Span]] = [list(spelt(value, text)) if isinstance(value, str) else [] for _, value in values]
    led = [i for i, (path, value) in enumerate(values) if is_led(value, field_schema(schema, path))]
    words = [match.span() for match in re.finditer(r"\S+", text)]
    ends: list[dict[int, Span]] = [{} for _ in values]
    for first, (begin, _) in enumerate(words if len(words) <= MOST_WORDS else []):
        left = led
        for count, (_, end) in enumerate(words[first : first + LONGEST_STATEMENT], 1):
            # All leaves are asked of one window before the next: what stands in it is looked up once.
            left = [i for i in left if count <= LONGEST_WINDOW or isinstance(values[i][1], bool)]
            here = [i for i in left if follows[i](text[begin:end]) is not None]
            for i in here:
                ends[i][end] = (begin, end)  # a later beginning with the same end is the smaller window
            left = [i for i in left if i not in here]
    return [merged([*spans, *windows.values()]) for spans, windows in zip(found, ends, strict=True)]


def is_led(value: Any, field: Mapping[str, Any]) -> bool:
    """Whether a rule may lead to a value from other text: of strings, to those of an enum and to dates and times."""
    return isinstance(value, int | float) or (isinstance(value, str) and ("enum" in field or value[:2].isdigit()))


def spelt(value: str, text: str) -> Iterator[Span]:
    """Where a string stands as whole words, in any case and with any white space; else in the middle of words."""
    words = value.split()
    pattern = r"\s+".join(map(re.escape, words))
    if words:
        whole = [m.span() for m in re.finditer(rf"(?<!\w){pattern}(?!\w)", text, re.IGNORECASE)]
        yield from whole or [m.span() for m in re.finditer(pattern, text, re.IGNORECASE)]


def merged(spans: Iterable[Span]) -> list[Span]:
    """Spans in their order, those that share characters as one."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


# ---- figures


def figures(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Everything that is counted from documents, and they themselves."""
    n = len(told)
    return {
        "json_exact": proportion(sum(one["right"] for one in told), n, "documents that are right"),
        "spans": spans(sum((Counter(one["verdicts"]) for one in told), Counter())),
        "rules": rules(sum((Counter(one["rules"]) for one in told), Counter())),
        "calibration": calibration([one for one in told if one["confidence"] is not None]),
        "coverage": coverage(
            [one["confidence"] or 0.0 for one in told],
            [one["right"] and one["confidence"] is not None for one in told],
        ),
        "documents": list(told),
    }


def spans(counts: Mapping[str, int]) -> dict[str, Any]:
    """Shares of the right values by what their spans lie on."""
    count = {verdict: counts.get(verdict, 0) for verdict in VERDICTS}
    n = sum(count.values())
    given = n - count["missed"] - count["nowhere"]
    told = n - count["several"] - count["nowhere"]
    return {
        "counts": count,
        "given": proportion(given, n, "right values that have a span"),
        "text": proportion(given - count["other"], n, "right values whose span is their text"),
        "right": proportion(count["right"], n, "right values whose span is on the right text"),
        "settled": proportion(count["right"], told, "the same of those whose place can be told"),
    }


def rules(counts: Mapping[str, int]) -> dict[str, Any]:
    """Shares of all values by how they were come by."""
    n = sum(counts.values())
    none, copied = counts.get(NONE, 0), counts.get("verbatim", 0)
    return {
        "counts": dict(sorted(counts.items())),
        "verbatim": proportion(copied, n, "values that stand in the text as they are"),
        "derived": proportion(n - copied - none, n, "values derived by another rule"),
        "none": proportion(none, n, "values that no rule leads to"),
    }


def calibration(answered: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The expected calibration error of documents' confidences, of their likelihoods, and of values' confidences."""
    right = [one["right"] for one in answered]
    said: dict[str, Any] = {"documents": len(answered)}
    for name, key in (("calibrated", "confidence"), ("raw", "likelihood")):
        said[name] = calibrated([one[key] for one in answered], right)
    sure, right = ([value[at] for one in answered for value in one["values"]] for at in (0, 1))
    return {**said, "values": {"count": len(sure), **calibrated(sure, right)}}


def calibrated(sure: Sequence[float], right: Sequence[bool]) -> dict[str, Any]:
    """How far confidences are from the shares that are right, what chance alone would show, and the bins."""
    bins = [asdict(part) for part in reliability(sure, right)]
    return {
        "error": expected_calibration_error(sure, right),
        "by_chance": chance_calibration_error(sure),
        "bins": bins,
    }


def coverage(sure: Sequence[float], right: Sequence[bool]) -> dict[str, Any]:
    """What is right of the surest: of some shares, {k, n, ...}, and the curve; equal ones are accepted together."""
    n, points = len(sure), list(risk_coverage(sure, right))
    accepted = {}
    for share in COVERAGES:
        taken, hits = next(point for point in points if point[0] >= share)
        count = round(taken * n)
        accepted[str(share)] = proportion(round(hits * count), count, f"right of the surest {100 * share:.0f} %")
    step = math.ceil(len(points) / CURVE_POINTS)
    return {"accepted": accepted, "curve": [[round(x, 4), round(y, 4)] for x, y in points[::-step][::-1]]}


def table(result: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    shares = itertools.chain(
        [result["json_exact"]],
        (result["spans"][name] for name in ("given", "text", "right", "settled")),
        (result["rules"][name] for name in ("verbatim", "derived", "none")),
        result["coverage"]["accepted"].values(),
    )
    rows = [[figure["label"], full(figure, "")] for figure in shares]
    told = result["calibration"]
    for label, part in (
        (f"calibration error of a value's confidence ({told['values']['count']} values)", told["values"]),
        (f"calibration error of a document's confidence ({told['documents']} documents)", told["calibrated"]),
        ("the same of the raw likelihood", told["raw"]),
    ):
        rows.append([label, f"{part['error']:.3f} (true confidences: {part['by_chance']:.3f})"])
    most = result["coverage"]["accepted"]["0.8"]
    said = f"Accept the surest 80 %: {full(most, '').split(' (')[0]} right ({most['k']}/{most['n']})."
    where = f"{len(result['documents'])} documents of {result['split']}, {result['model']}. {said}"
    return f"{markdown_table(['', 'share (count; 95 %)'], rows)}\n\n{where}"


def picture(result: Mapping[str, Any]) -> str:
    """The risk-coverage curve as a file of its own."""
    line = [(100 * x, 100 * y) for x, y in result["coverage"]["curve"]]
    title = f"{result['model']}, {result['split']}: accepting the surest documents"
    return alone(line_chart(title, {"documents": line}, "accepted, %", "right of these, %"))


if __name__ == "__main__":
    raise SystemExit(main())
