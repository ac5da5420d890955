"""Confidence learnt from documents whose answers are known: what an export notes of its validation split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from slmbench.bench import budgets
from slmbench.confidence import Curve, expected_calibration_error, fit, leaf_likelihoods
from slmbench.core import Completion, Example
from slmbench.decode.loop import Decoder
from slmbench.exported import Exported
from slmbench.progress import progress
from slmbench.schema import leaves, strict_loads


def calibrate(exported: Exported, examples: Sequence[Example]) -> dict[str, Any]:
    """{"leaf", "document"}: the curves of an exported model over labelled documents, answered under their schemas.

    Nothing where a library's own loop decodes: it does not tell how likely its tokens are.
    """
    if not exported.decoded_here:
        return {}
    backend = exported.backend()
    assert isinstance(backend, Decoder)
    leaf: list[tuple[float, bool]] = []
    whole: list[tuple[float, bool]] = []
    with progress("confidence", len(examples), "documents") as advance:
        for example, budget in zip(examples, budgets(exported, examples), strict=True):
            for completion in backend.generate([exported.request(example, budget, likelihoods=True)]):
                leaf += judged_leaves(backend, completion, example.target)
                whole += judged(completion, example.target)
            advance(1, "")
    return {name: curve_of(found).to_json() for name, found in (("leaf", leaf), ("document", whole))}


def judged(completion: Completion, target: Any) -> list[tuple[float, bool]]:
    """(likelihood, whether right) of an answer as a whole; nothing of one that is not whole."""
    try:
        value = strict_loads(completion.text)
    except ValueError:
        return []
    return [(math.exp(min(0.0, sum(completion.log_likelihoods))), bool(value == target))]


def judged_leaves(backend: Decoder, completion: Completion, target: Any) -> list[tuple[float, bool]]:
    """(likelihood, whether the target has it there) of every leaf of an answer."""
    try:
        found = dict(leaves(strict_loads(completion.text)))
    except ValueError:
        return []
    pieces = [backend.spelling.bytes(token).encode("latin-1") for token in completion.token_ids]
    likely = leaf_likelihoods(completion.text, pieces, completion.log_likelihoods)
    gold = dict(leaves(target))
    return [(likely[path], path in gold and gold[path] == value) for path, value in found.items()]


def curve_of(found: Sequence[tuple[float, bool]]) -> Curve:
    """The curve of what was found."""
    return fit([likelihood for likelihood, _ in found], [right for _, right in found])


def calibration_error(curve: Curve, found: Sequence[tuple[float, bool]]) -> float:
    """How far a curve is off over other documents."""
    return expected_calibration_error([curve(likelihood) for likelihood, _ in found], [right for _, right in found])
