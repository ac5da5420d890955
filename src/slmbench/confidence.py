"""How sure an answer is, leaf by leaf, as a probability that it is right.

The raw figure is the likelihood that the model gave to the tokens of a value, or of the whole answer. It ranks answers
well and is too sure of itself as a number, so it is mapped by a logistic curve fitted to documents whose answers are
known (Platt 1999, "Probabilistic outputs for support vector machines"; its targets are drawn in as there, so that few
documents, or none wrong, give no certainty). `expected_calibration_error` and `risk_coverage` say how good that is.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slmbench.core import BadInput, Model

Path = tuple[str | int, ...]
LEAST = 1e-6
"""Likelihoods are kept this far from 0 and 1: their log odds are the curve's variable."""
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"\s*")


@dataclass(frozen=True)
class Curve:
    """p = 1 / (1 + exp(-(slope x + offset))) of x, a likelihood's log odds; `rows` is how many it was fitted to."""

    slope: float = 1.0
    offset: float = 0.0
    rows: int = 0

    def __call__(self, likelihood: float) -> float:
        """The probability that what has this likelihood is right."""
        return float(_sigmoid(np.array([self.slope * log_odds(likelihood) + self.offset]))[0])

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def curves_of(model: Model) -> dict[str, Curve]:
    """{"leaf", "document"}: what a model has learnt of how sure it may be. Raises BadInput where it has not."""
    found = model.manifest.get("confidence")
    if not found:
        raise BadInput(f"{model.where}: it knows no confidence; a run that is exported to int8 does.")
    return {name: Curve(**found[name]) for name in ("leaf", "document")}


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.exp(-np.logaddexp(0, -z))
    return found


def log_odds(likelihood: float) -> float:
    """log(p / (1 - p)), bounded."""
    p = min(max(likelihood, LEAST), 1 - LEAST)
    return math.log(p / (1 - p))


def fit(likelihoods: Sequence[float], right: Sequence[bool], rounds: int = 100) -> Curve:
    """The curve of likelihoods whose answers are known, by Newton's method; with none, the identity."""
    if not likelihoods:
        return Curve()
    x = np.array([log_odds(p) for p in likelihoods])
    hits = sum(right)
    high, low = (hits + 1) / (hits + 2), 1 / (len(right) - hits + 2)
    target = np.where(np.array(right, dtype=bool), high, low)
    design = np.stack([x, np.ones_like(x)], 1)
    weights = np.array([0.0, math.log((hits + 1) / (len(right) - hits + 1))])

    def loss(w: NDArray[np.float64]) -> float:
        z = design @ w
        return float((np.logaddexp(0, z) - target * z).sum())

    for _ in range(rounds):
        p = _sigmoid(design @ weights)
        gradient = design.T @ (p - target)
        hessian = (design * (p * (1 - p))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-8 and loss(weights - size * step) > loss(weights):
            size /= 2
        weights = weights - size * step
        if np.abs(size * step).max() < 1e-9:
            break
    # A likelier answer is never called less sure: where the documents say so, they are too few.
    slope = max(0.0, float(weights[0]))
    return Curve(slope, float(weights[1]) if slope else math.log((hits + 1) / (len(right) - hits + 1)), len(right))


def leaf_likelihoods(text: str, pieces: Sequence[bytes], log_likelihoods: Sequence[float]) -> dict[Path, float]:
    """Path of every leaf -> the likelihood of the tokens that spell it.

    Args:
        text: the answer, JSON.
        pieces: the bytes of each token, which together begin with those of `text`.
        log_likelihoods: of each token.
    """
    ends = np.cumsum([len(piece) for piece in pieces]) if pieces else np.zeros(0, int)
    at = [0]
    for char in text:
        at.append(at[-1] + len(char.encode("utf-8", "replace")))
    found = {}
    for path, begin, end in leaf_ranges(text):
        first, last = (int(np.searchsorted(ends, at[place], "right")) for place in (begin, end - 1))
        found[path] = math.exp(min(0.0, sum(log_likelihoods[first : last + 1])))
    return found


def leaf_ranges(text: str) -> list[tuple[Path, int, int]]:
    """(path, begin, end) of every leaf of a JSON text, in characters; an empty object or list is a leaf.

    Raises ValueError where the text is not JSON.
    """
    found: list[tuple[Path, int, int]] = []
    end = _value(text, _skip(text, 0), (), found)
    if _skip(text, end) != len(text):
        raise ValueError("something follows the value")
    return found


def _value(text: str, at: int, path: Path, found: list[tuple[Path, int, int]]) -> int:
    """Note the leaves of the value that begins at `at`; its end."""
    begin, bracket = at, text[at : at + 1]
    if bracket not in ("{", "["):
        _, end = _DECODER.raw_decode(text, at)
        found.append((path, begin, end))
        return end
    close, count = {"{": "}", "[": "]"}[bracket], 0
    at = _skip(text, at + 1)
    while text[at : at + 1] != close:
        if count:
            at = _skip(text, _expected(text, at, ","))
        step: str | int = count
        if bracket == "{":
            _expected(text, at, '"')
            step, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _expected(text, _skip(text, at), ":"))
        at = _skip(text, _value(text, at, (*path, step), found))
        count += 1
    if not count:
        found.append((path, begin, at + 1))
    return at + 1


def _expected(text: str, at: int, char: str) -> int:
    if text[at : at + 1] != char:
        raise ValueError(f"no {char} at character {at}")
    return at + 1


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()


@dataclass(frozen=True)
class Bin:
    """Answers whose confidence is in one of equal parts of 0 to 1: how many, how sure on average, how often right."""

    low: float
    high: float
    count: int
    confidence: float
    right: float


def reliability(confidences: Sequence[float], right: Sequence[bool], bins: int = 10) -> list[Bin]:
    """The bins that hold anything."""
    sure, hits = np.array(confidences, dtype=float), np.array(right, dtype=float)
    places = np.minimum((sure * bins).astype(int), bins - 1)
    return [
        Bin(i / bins, (i + 1) / bins, int(part.sum()), float(sure[part].mean()), float(hits[part].mean()))
        for i in range(bins)
        if (part := places == i).any()
    ]


def expected_calibration_error(confidences: Sequence[float], right: Sequence[bool], bins: int = 10) -> float:
    """The mean distance of confidence and share right over bins, weighed by their size (Guo et al. 2017, ICML)."""
    found = reliability(confidences, right, bins)
    total = sum(part.count for part in found)
    return sum(part.count * abs(part.confidence - part.right) for part in found) / total if total else 0.0


def chance_calibration_error(confidences: Sequence[float], draws: int = 1000, seed: int = 42) -> float:
    """The mean calibration error of answers that are right exactly as often as these confidences say: what so few
    answers show even where every confidence is true."""
    sure, chance = np.array(confidences, dtype=float), np.random.default_rng(seed)
    drawn = (expected_calibration_error(confidences, list(chance.random(len(sure)) < sure)) for _ in range(draws))
    return sum(drawn) / draws


def risk_coverage(confidences: Sequence[float], right: Sequence[bool]) -> Iterator[tuple[float, float]]:
    """(share of answers accepted, share of these that is right), the surest first; equal ones are accepted together."""
    order = sorted(range(len(confidences)), key=lambda i: -confidences[i])
    hits = 0
    for taken, i in enumerate(order, 1):
        hits += right[i]
        if taken == len(order) or confidences[order[taken]] < confidences[i]:
            yield taken / len(order), hits / taken
