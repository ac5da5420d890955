"""What is measured about an extraction: pure functions from outputs to scores, and from scores to figures.

A *sample* is a line of a run's `base/SPLIT.jsonl` or `tuned/SPLIT.jsonl`: a dict with `id`, `schema_id`, `complexity`,
`style`, `target` (canonical JSON as a string), `output`, `finish`, `prompt_tokens`, `output_tokens`, `first_token_s`,
`total_s`, `batch`, `constraint` and `score` (a `Score` as a dict). Every figure that is published is recomputed from
samples.
Definitions and sources: docs/method.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slmbench.core import BadInput, Completion, Example
from slmbench.schema import first_json, leaves, same, strict_loads, validate

Sample = dict[str, Any]
Figure = dict[str, Any]
Counts = NDArray[np.float64]

RESAMPLES = 1000
SEED = 42
MAX_ERRORS = 5
Z95 = 1.959963984540054
JSON_SPACE = " \t\r\n"

# Metric name -> the field of `Score` that says, for one document, yes or no.
PROPORTIONS = {
    "json_exact": "exact",
    "json_exact_lenient": "exact_lenient",
    "schema_compliance": "compliant",
    "parse_rate": "parsed",
    "truncated": "truncated",
}
# Metric name -> the field of `Score` that counts its hits; `field_f1_macro` averages documents, the others pool leaves.
F1S = {"field_f1": "hits", "field_f1_macro": "hits", "field_f1_aligned": "aligned_hits"}
# What is published, in this order, and how it is called there.
LABELS = {
    "json_exact": "JSONExact",
    "json_exact_lenient": "JSONExact, lenient",
    "field_f1": "FieldF1 (micro)",
    "field_f1_macro": "FieldF1 (macro)",
    "field_f1_aligned": "FieldF1 (aligned)",
    "schema_compliance": "SchemaCompliance",
    "parse_rate": "parse rate",
    "truncated": "truncated",
}
METRICS = tuple(LABELS)
SLICE_KEYS = ("complexity", "style", "schema_id")


@dataclass(frozen=True)
class Score:
    """The measures of one output against its gold value.

    exact, parsed: of the whole output, strict. exact_lenient, parsed_lenient, compliant and all counts: of the first
    top-level JSON value in it. hits, predicted, gold: numbers of leaves. errors: why it does not parse, or how the
    value breaks the schema (the first five).
    """

    exact: bool
    exact_lenient: bool
    parsed: bool
    parsed_lenient: bool
    compliant: bool
    hits: int
    predicted: int
    gold: int
    f1: float
    aligned_hits: int
    aligned_f1: float
    truncated: bool
    errors: tuple[str, ...]


NOTHING = Score(False, False, False, False, False, 0, 0, 0, 0.0, 0, 0.0, False, ())


def score(example: Example, completion: Completion) -> Score:
    """Scores one completion against its example. Never raises for what a model wrote."""
    return score_output(example.target, example.schema, completion.text, completion.finish)


def score_output(target: Any, schema: Mapping[str, Any], output: str, finish: str) -> Score:
    """Scores an output text; `target` is the gold JSON value, `finish` is "stop", "length" or "error"."""
    gold = leaves(target)
    try:
        strict, parsed = strict_loads(output.strip(JSON_SPACE)), True
    except ValueError:
        strict, parsed = None, False
    try:
        value = strict if parsed else first_json(output)
    except ValueError as error:
        return replace(NOTHING, gold=len(gold), truncated=finish == "length", errors=(str(error),))
    found = leaves(value)
    hits, aligned = leaf_hits(value, target), aligned_leaf_hits(value, target)
    equal = same(value, target)
    violations = validate(value, schema)
    return Score(
        exact=parsed and equal,
        exact_lenient=equal,
        parsed=parsed,
        parsed_lenient=True,
        compliant=not violations,
        hits=hits,
        predicted=len(found),
        gold=len(gold),
        f1=f1(hits, len(found), len(gold)),
        aligned_hits=aligned,
        aligned_f1=f1(aligned, len(found), len(gold)),
        truncated=finish == "length",
        errors=tuple(violations[:MAX_ERRORS]),
    )


def leaf_hits(predicted: Any, gold: Any) -> int:
    """How many leaves of `predicted` stand in `gold` at the same path (list index included) with the same value."""
    by_path = dict(leaves(gold))
    return sum(path in by_path and same(value, by_path[path]) for path, value in leaves(predicted))


def aligned_leaf_hits(predicted: Any, gold: Any) -> int:
    """Like `leaf_hits`, but the items of two lists are paired so that the most leaves agree, keeping their order.

    A dropped item then costs that item and not all behind it. The pairing is the dynamic programme of the longest
    common subsequence with agreeing leaves as weights; time is the product of the two values' leaf counts at most.
    """
    if isinstance(predicted, dict) and isinstance(gold, dict) and predicted and gold:
        return sum(aligned_leaf_hits(predicted[key], gold[key]) for key in predicted.keys() & gold.keys())
    if isinstance(predicted, list) and isinstance(gold, list) and predicted and gold:
        best = [0] * (len(gold) + 1)
        for item in predicted:
            row = [0]
            for j, other in enumerate(gold):
                row.append(max(row[j], best[j + 1], best[j] + aligned_leaf_hits(item, other)))
            best = row
        return best[-1]
    return int(same(predicted, gold))


def f1(hits: float, predicted: float, gold: float) -> float:
    """The harmonic mean of hits/predicted and hits/gold; 0 where there is nothing to find."""
    return 2 * hits / (predicted + gold) if predicted + gold else 0.0


# ---- figures over many samples


def summarize(samples: Sequence[Sample]) -> dict[str, Figure]:
    """Metric name -> {k, n, value, low, high} with a 95 % interval; n is the number of documents.

    Proportions: k documents of n, Wilson interval. F1s: k is the number of leaves hit, the interval is the percentile
    bootstrap over documents (1,000 resamples, seeded). Raises BadInput without samples.
    """
    return {name: figure(samples, name) for name in METRICS}


def figure(samples: Sequence[Sample], name: str) -> Figure:
    """One metric of `summarize`: {k, n, value, low, high}."""
    if not samples:
        raise BadInput(f"there are no samples to compute {name} from; run the evaluation first.")
    n = len(samples)
    if name in PROPORTIONS:
        k = sum(bool(sample["score"][PROPORTIONS[name]]) for sample in samples)
        low, high = wilson(k, n)
        return {"k": k, "n": n, "value": k / n, "low": low, "high": high}
    counts = leaf_counts(samples, F1S[name])
    statistic = macro_f1 if name == "field_f1_macro" else micro_f1
    drawn = statistic(resampled(n), counts)
    low, high = (float(x) for x in np.percentile(drawn, [2.5, 97.5]))
    value = float(statistic(np.ones((1, n)), counts)[0])
    return {"k": int(counts[:, 0].sum()), "n": n, "value": value, "low": low, "high": high}


def proportion(k: int, n: int, label: str) -> Figure:
    """A share of a task's own, with Wilson's interval; 0 of 0 where there is nothing to count."""
    low, high = wilson(k, n)
    return {"k": k, "n": n, "value": k / n if n else 0.0, "low": low, "high": high, "label": label, "share": True}


def slices(samples: Sequence[Sample], key: str) -> dict[str, dict[str, Any]]:
    """Slice -> {n, json_exact, field_f1} for each value of `key`: "complexity", "style" or "schema_id"."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(str(sample[key]), []).append(sample)
    return {
        name: {"n": len(rows), "json_exact": figure(rows, "json_exact"), "field_f1": figure(rows, "field_f1")}
        for name, rows in sorted(groups.items(), key=lambda group: slice_order(group[0]))
    }


def slice_order(name: str) -> tuple[int, str]:
    """Sort key that puts the complexities in their own order and everything else by name."""
    order = ("simple", "medium", "complex", "unlabelled")
    return (order.index(name) if name in order else len(order), name)


def latency(samples: Sequence[Sample]) -> dict[str, Any]:
    """{n, p50_s, p95_s, first_token_p50_s, first_token_p95_s, tokens_per_s, prompt_tokens, output_tokens}, in seconds.

    Percentiles (linear interpolation) and tokens/s (tokens written over total seconds) come only from the `n` samples
    that ran at batch 1 and did not fail, None where there are none; the token totals are over all samples.
    """
    single = [sample for sample in samples if sample["batch"] == 1 and sample["finish"] != "error"]
    first = [sample["first_token_s"] for sample in single if sample["first_token_s"] is not None]
    total = [sample["total_s"] for sample in single]
    written = sum(sample["output_tokens"] for sample in single)
    return {
        "n": len(single),
        "p50_s": percentile(total, 50),
        "p95_s": percentile(total, 95),
        "first_token_p50_s": percentile(first, 50),
        "first_token_p95_s": percentile(first, 95),
        "tokens_per_s": written / sum(total) if sum(total) > 0 else None,
        "prompt_tokens": sum(sample["prompt_tokens"] for sample in samples),
        "output_tokens": sum(sample["output_tokens"] for sample in samples),
    }


def percentile(values: Sequence[float], q: float) -> float | None:
    """The q-th percentile (0..100) with linear interpolation, None for no values."""
    return float(np.percentile(values, q)) if values else None


def shown(value: float, name: str, share: bool = False) -> str:
    """A metric's value as it is printed everywhere: percent with one decimal, F1 with three decimals."""
    return f"{100 * value:.1f} %" if share or name in PROPORTIONS else f"{value:.3f}"


# ---- intervals and tests


def wilson(k: int, n: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion (Wilson 1927, JASA 22:209-212); (0, 1) for n = 0."""
    if n == 0:
        return 0.0, 1.0
    p, z2 = k / n, Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return (0.0 if k == 0 else centre - half), (1.0 if k == n else centre + half)


def mcnemar(b: int, c: int) -> float:
    """Exact two-sided p of McNemar's test (1947); b and c count the two kinds of discordant pairs, even under H0."""
    n = b + c
    tail = sum(math.comb(n, i) for i in range(min(b, c) + 1))
    return min(1.0, float(2 * tail / 2**n))


def paired_interval(b: int, c: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a difference of paired proportions, (c - b) / n; b and c count the discordant pairs of n.

    Agresti and Min 2005, Statistics in Medicine 24:729-740: half an observation is added to each of the four cells.
    """
    b1, c1, n1 = b + 0.5, c + 0.5, n + 2
    centre = (c1 - b1) / n1
    half = Z95 * math.sqrt(b1 + c1 - (c1 - b1) ** 2 / n1) / n1
    return max(-1.0, centre - half), min(1.0, centre + half)


def paired_bootstrap(
    a: Sequence[Sample], b: Sequence[Sample], name: str = "field_f1", resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, float]:
    """{difference, low, high, p} of an F1 metric, b minus a, over samples in the same order of documents.

    Both are recomputed on the same resampled documents (Efron and Tibshirani 1993; Koehn 2004). p is two-sided: twice
    the smaller share of resamples at or beyond zero, with one added to each count so that it is never 0.
    """
    if not a or [x["id"] for x in a] != [y["id"] for y in b]:
        raise BadInput("a paired bootstrap needs the same documents in the same order on both sides.")
    statistic = macro_f1 if name == "field_f1_macro" else micro_f1
    counts_a, counts_b = leaf_counts(a, F1S[name]), leaf_counts(b, F1S[name])
    once = np.ones((1, len(a)))
    weights = resampled(len(a), resamples, seed)
    drawn = statistic(weights, counts_b) - statistic(weights, counts_a)
    low, high = (float(x) for x in np.percentile(drawn, [2.5, 97.5]))
    beyond = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return {
        "difference": float((statistic(once, counts_b) - statistic(once, counts_a))[0]),
        "low": low,
        "high": high,
        "p": min(1.0, 2 * (beyond + 1) / (resamples + 1)),
    }


def resampled(n: int, resamples: int = RESAMPLES, seed: int = SEED) -> Counts:
    """How often each of n documents is drawn in each resample, shape (resamples, n); every row sums to n."""
    drawn: Counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)
    return drawn


def leaf_counts(samples: Sequence[Mapping[str, Any]], hits: str) -> Counts:
    """(hits, predicted, gold) of each sample, shape (n, 3)."""
    scores = [sample["score"] for sample in samples]
    return np.array([[score[hits], score["predicted"], score["gold"]] for score in scores], dtype=np.float64)


def micro_f1(weights: Counts, counts: Counts) -> Counts:
    """F1 of the pooled leaves for each row of document weights, shape (rows,)."""
    pooled = weights @ counts
    result: Counts = 2 * pooled[:, 0] / np.maximum(pooled[:, 1] + pooled[:, 2], 1)
    return result


def macro_f1(weights: Counts, counts: Counts) -> Counts:
    """The weighted mean of the documents' F1 for each row of document weights, shape (rows,)."""
    each = 2 * counts[:, 0] / np.maximum(counts[:, 1] + counts[:, 2], 1)
    result: Counts = weights @ each / weights.sum(axis=1)
    return result
