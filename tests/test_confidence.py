"""Confidence: likelihoods fall to their leaves, the curve is the maximum, and what measures it is right."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmbench.calibrate import cross_fitted
from slmbench.confidence import (
    Curve,
    chance_calibration_error,
    expected_calibration_error,
    fit,
    leaf_likelihoods,
    leaf_ranges,
    log_odds,
    reliability,
    risk_coverage,
)
from slmbench.schema import leaves

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(VALUES, st.sampled_from([None, 1]))
def test_every_leaf_has_its_place(value: object, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    found = [(path, json.loads(text[begin:end])) for path, begin, end in leaf_ranges(text)]
    assert found == leaves(value)


@pytest.mark.parametrize("text", ["", "{", '{"a"', '{"a":}', "[1 2]", "[1,]x", "nul", '{"a":1}}', "{1:2}", '"open'])
def test_what_is_no_json_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        leaf_ranges(text)


def test_likelihoods_fall_to_their_leaves() -> None:
    text = '{"née":"Zoë","n":12,"e":[]}'
    pieces = [
        b'{"n',
        "ée".encode(),
        b'":"',
        b"Zo",
        "ë".encode()[:1],
        "ë".encode()[1:],
        b'","',
        b'n":1',
        b'2,"',
        b'e":',
        b"[]",
        b"}",
    ]
    assert b"".join(pieces) == text.encode()
    logs = [math.log(p) for p in (0.9, 0.9, 0.8, 0.5, 0.4, 0.3, 0.9, 0.7, 0.6, 0.9, 0.2, 0.9)]
    found = leaf_likelihoods(text, pieces, logs)
    # A value's quotes are its own: tokens that begin or end it with other characters count as well.
    assert found[("née",)] == pytest.approx(0.8 * 0.5 * 0.4 * 0.3 * 0.9)
    assert found[("n",)] == pytest.approx(0.7 * 0.6) and found[("e",)] == pytest.approx(0.2)
    assert leaf_likelihoods("3", [b"3"], [0.1]) == {(): 1.0}


def test_the_curve_is_where_the_likelihood_is_greatest() -> None:
    chance = random.Random(3)
    raw = [chance.random() for _ in range(4000)]
    right = [chance.random() < 1 / (1 + math.exp(-(0.5 * log_odds(p) - 0.7))) for p in raw]
    curve = fit(raw, right)
    assert curve.slope == pytest.approx(0.5, abs=0.06) and curve.offset == pytest.approx(-0.7, abs=0.1)
    assert expected_calibration_error([curve(p) for p in raw], right) < 0.03
    assert expected_calibration_error(raw, right) > 0.1


def test_few_answers_have_an_error_by_chance() -> None:
    assert chance_calibration_error([1.0, 0.0, 1.0]) == 0
    # Of one toss the share that is heads is half away from a half; of two it is so half of the time.
    assert chance_calibration_error([0.5]) == 0.5
    assert chance_calibration_error([0.5, 0.5]) == pytest.approx(0.25, abs=0.03)
    assert chance_calibration_error([0.5] * 400) < 0.03


def test_few_documents_give_no_certainty() -> None:
    assert fit([], []) == Curve() and Curve()(0.25) == pytest.approx(0.25)
    sure = fit([0.9] * 5, [True] * 5)
    assert 0.5 < sure(0.99) < 1 and 0.8 < sure(0.9) < 0.9
    assert fit([0.2] * 6, [False] * 6)(0.2) < 0.2
    turned = fit([0.1] * 50 + [0.9] * 50, [True] * 50 + [False] * 50)
    assert turned.slope == 0 and turned(0.9) == turned(0.1) == pytest.approx(0.5)
    assert all(0 <= sure(p) <= 1 for p in (0.0, 1.0))


def test_measures_by_hand() -> None:
    sure, right = [0.95, 0.91, 0.55, 0.55], [True, True, True, False]
    assert [(b.count, round(b.confidence, 2), b.right) for b in reliability(sure, right)] == [
        (2, 0.55, 0.5),
        (2, 0.93, 1),
    ]
    assert expected_calibration_error(sure, right) == pytest.approx((2 * 0.05 + 2 * 0.07) / 4)
    assert list(risk_coverage(sure, right)) == [(0.25, 1), (0.5, 1), (1, 0.75)]
    assert expected_calibration_error([], []) == 0 and list(risk_coverage([], [])) == []
    assert np.isclose(expected_calibration_error([1.0], [True]), 0)


def test_confidences_of_answers_by_curves_that_have_not_seen_them() -> None:
    rng = np.random.default_rng(0)
    raw = rng.uniform(0.5, 1, 500)
    part = [(float(p), bool(rng.uniform() < p**3)) for p in raw]
    sure = cross_fitted(part)
    assert len(sure) == 500 and expected_calibration_error(sure, [right for _, right in part]) < 0.06
    changed = [*part[:400], *((p, not right) for p, right in part[400:])]
    assert cross_fitted(changed)[400:] == sure[400:] and cross_fitted(changed)[:400] != sure[:400]
    assert cross_fitted([]) == [] and len(cross_fitted(part[:1])) == 1
