"""Likelihoods of answers: those of one long pass each, however many are read at once."""

from __future__ import annotations

import numpy as np
import pytest
from engines import Fake

from slmbench.decode.labels import log_likelihoods
from slmbench.decode.loop import Part

PROMPT = [3, 1, 4, 1, 5]
ANSWERS = [[9], [9, 2], [9, 2, 6], [5, 3, 5], [8]]


@pytest.mark.parametrize("slots", [1, 2, 8])
def test_likelihoods_are_those_of_a_pass_over_everything(slots: int) -> None:
    plain = Fake(20)
    expected = []
    for answer in ANSWERS:
        (logits,) = plain.forward([Part(0, [*PROMPT, *answer], 0, len(PROMPT) + len(answer))])
        exact = logits[len(PROMPT) - 1 : -1].astype(np.float64)
        exact -= np.log(np.exp(exact).sum(-1, keepdims=True))
        expected.append(sum(exact[i, token] for i, token in enumerate(answer)))
    engine = Fake(20, slots=slots)
    np.testing.assert_allclose(log_likelihoods(engine, PROMPT, ANSWERS), expected, rtol=1e-6)
    assert len(engine.passes) == 1 + -(-3 // slots)


def test_all_answers_of_one_length_share_one_unit() -> None:
    singles = [[token] for token in range(20)]
    assert np.exp(log_likelihoods(Fake(20), PROMPT, singles)).sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="at least one token"):
        log_likelihoods(Fake(20), PROMPT, [[1], []])
