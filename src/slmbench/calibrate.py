"""Confidence learnt from documents whose answers are known, and measured on others: the curves of an export."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from slmbench.bench import budgets
from slmbench.confidence import (
    Curve,
    curves_of,
    expected_calibration_error,
    fit,
    leaf_likelihoods,
    reliability,
    risk_coverage,
)
from slmbench.core import Completion, Example, Model
from slmbench.decode.loop import Decoder
from slmbench.exported import Exported
from slmbench.progress import progress
from slmbench.schema import leaves, same, strict_loads

Judged = list[tuple[float, bool]]
"""(likelihood, whether right) of answers, or of their leaves."""
COVERAGES = (0.5, 0.8, 0.9, 1.0)
FOLDS = 5
CURVE_POINTS = 200
"""Of a risk-coverage curve, at most."""


def calibrate(exported: Exported, examples: Sequence[Example]) -> dict[str, Any]:
    """What a manifest holds of the confidence of an export, learnt from labelled documents answered under their
    schemas: {"confidence": {"leaf", "document"}: the curves, "calibration": what `calibration` gives, each answer's
    confidence being by a curve that has not seen it}.

    Nothing where a library's own loop decodes: it does not tell how likely its tokens are.
    """
    if not exported.decoded_here:
        return {}
    found = judge(exported, examples)
    return {
        "confidence": {name: _curve(part).to_json() for name, part in found.items()},
        "calibration": {name: _measured(cross_fitted(part), part) for name, part in found.items()},
    }


def cross_fitted(part: Judged, folds: int = FOLDS) -> list[float]:
    """The confidence of every answer by the curve of the other folds; a fold is a run of answers, as the leaves of one
    document are no witnesses of each other."""
    edges = [round(i * len(part) / folds) for i in range(folds + 1)]
    sure: list[float] = []
    for begin, end in itertools.pairwise(edges):
        curve = _curve([*part[:begin], *part[end:]])
        sure += [curve(p) for p, _ in part[begin:end]]
    return sure


def calibration(model: Model, examples: Sequence[Example]) -> dict[str, Any]:
    """How far the confidences of a model are from the truth over other documents, of leaves and of whole answers:
    {count, error, right: {share accepted: share right}, bins, covered}, error being the expected calibration error,
    bins those of the reliability diagram, covered the risk-coverage curve.

    Raises BadInput where the model has no curves.
    """
    curves = curves_of(model)
    return {name: _measured([curves[name](p) for p, _ in part], part) for name, part in judge(model, examples).items()}


def _curve(part: Judged) -> Curve:
    return fit([p for p, _ in part], [right for _, right in part])


def _measured(sure: Sequence[float], part: Judged) -> dict[str, Any]:
    right = [right for _, right in part]
    covered = list(risk_coverage(sure, right))
    step = math.ceil(len(covered) / CURVE_POINTS) or 1
    return {
        "count": len(part),
        "error": expected_calibration_error(sure, right),
        "right": {str(share): next((hits for taken, hits in covered if taken >= share), None) for share in COVERAGES},
        "bins": [asdict(each) for each in reliability(sure, right)],
        "covered": [[round(value, 4) for value in point] for point in covered[::-step][::-1]],
    }


def judge(model: Model, examples: Sequence[Example]) -> dict[str, Judged]:
    """{"leaf", "document"}: how likely what is answered was, and whether it is right."""
    backend = model.backend()
    assert isinstance(backend, Decoder)
    found: dict[str, Judged] = {"leaf": [], "document": []}
    with progress("confidence", len(examples), "documents") as advance:
        for example, budget in zip(examples, budgets(model, examples), strict=True):
            for completion in backend.generate([model.request(example, budget, likelihoods=True)]):
                found["leaf"] += judged_leaves(backend, completion, example.target)
                found["document"] += judged(completion, example.target)
            advance(1, "")
    return found


def lines(told: dict[str, Any]) -> list[str]:
    """The same as text for a terminal."""
    said = []
    for name, part in told.items():
        right = ", ".join(
            f"{100 * r:.1f} % of the surest {100 * float(s):.0f} %" for s, r in part["right"].items() if r is not None
        )
        said.append(f"confidence     {name}: {part['count']}, calibration error {part['error']:.3f}; right: {right}")
    return said


def judged(completion: Completion, target: Any) -> Judged:
    """(likelihood, whether right) of an answer as a whole; nothing of one that is not whole."""
    try:
        value = strict_loads(completion.text)
    except ValueError:
        return []
    return [(math.exp(min(0.0, sum(completion.log_likelihoods))), same(value, target))]


def judged_leaves(backend: Decoder, completion: Completion, target: Any) -> Judged:
    """(likelihood, whether the target has it there) of every leaf of an answer."""
    try:
        found = dict(leaves(strict_loads(completion.text)))
    except ValueError:
        return []
    pieces = [backend.spelling.bytes(token).encode("latin-1") for token in completion.token_ids]
    likely = leaf_likelihoods(completion.text, pieces, completion.log_likelihoods)
    gold = dict(leaves(target))
    return [(likely[path], path in gold and same(gold[path], value)) for path, value in found.items()]
