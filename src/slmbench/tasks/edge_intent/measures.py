"""What is measured of intents beside the share that is right, which is JSONExact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slmbench.metrics import Figure, proportion, resampled
from slmbench.schema import first_json
from slmbench.tasks.edge_intent import NONE

INVALID = "(no label)"


def pairs(samples: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(gold, predicted) of each sample; `INVALID` where the answer is no object with one intent as a string."""
    return [(predicted(sample["target"]), predicted(sample["output"])) for sample in samples]


def predicted(output: str) -> str:
    """The intent that an answer names."""
    try:
        value = first_json(output)
    except ValueError:
        return INVALID
    intent = value.get("intent") if isinstance(value, dict) else None
    return intent if isinstance(intent, str) else INVALID


def measures(samples: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """{"macro_f1", "oos_recall", "oos_precision", "invalid_label"}; the rates of `out_of_scope` where there is any.

    Nothing where a gold is no intent: files of other kinds may be tested with this task. A label is invalid that no
    gold of the samples has: of a whole test set, one that the schema does not list.
    """
    if any(predicted(sample["target"]) == INVALID for sample in samples):
        return {}
    both = pairs(samples)
    known = {gold for gold, _ in both} | {NONE}
    found = {"macro_f1": macro(both)}
    if any(gold == NONE for gold, _ in both):
        hits = sum(gold == said == NONE for gold, said in both)
        found["oos_recall"] = proportion(hits, sum(gold == NONE for gold, _ in both), "out-of-scope recall")
        found["oos_precision"] = proportion(hits, sum(said == NONE for _, said in both), "out-of-scope precision")
    found["invalid_label"] = proportion(sum(said not in known for _, said in both), len(both), "invalid label")
    return found


def macro(both: Sequence[tuple[str, str]]) -> Figure:
    """The mean over gold labels of each one's F1, with the percentile bootstrap over utterances."""
    names = sorted({gold for gold, _ in both})
    place = {name: i for i, name in enumerate(names)}
    gold = np.array([place[name] for name, _ in both])
    said = np.array([place.get(name, len(names)) for _, name in both])
    once = f1_of(np.ones((1, len(both))), gold, said, len(names))
    low, high = (float(x) for x in np.percentile(f1_of(resampled(len(both)), gold, said, len(names)), [2.5, 97.5]))
    hits = int((gold == said).sum())
    return {"k": hits, "n": len(both), "value": float(once[0]), "low": low, "high": high, "label": "macro-F1"}


def f1_of(weights: NDArray[np.float64], gold: NDArray[Any], said: NDArray[Any], labels: int) -> NDArray[np.float64]:
    """Macro-F1 for each row of weights [rows, utterances]; a label that a resample does not hold is left out of it."""
    one_hot = np.eye(labels + 1)
    hits = weights @ (one_hot[gold] * (gold == said)[:, None])
    total = weights @ one_hot[gold] + weights @ one_hot[said]
    there = (weights @ one_hot[gold])[:, :labels] > 0
    f1 = 2 * hits[:, :labels] / np.maximum(total[:, :labels], 1)
    result: NDArray[np.float64] = (f1 * there).sum(1) / there.sum(1)
    return result


def confusion(samples: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, int]]:
    """(gold, predicted, how often) of all that went wrong, the most frequent first."""
    wrong = Counter(pair for pair in pairs(samples) if pair[0] != pair[1])
    return [(gold, said, count) for (gold, said), count in sorted(wrong.items(), key=lambda x: (-x[1], x[0]))]
