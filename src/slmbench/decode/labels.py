"""How likely each of a list of answers is: the prompt is read once, the answers beside each other behind it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from slmbench.decode.loop import Engine, Part


def log_likelihoods(engine: Engine, prompt: Sequence[int], answers: Sequence[Sequence[int]]) -> np.ndarray:
    """The natural logarithm of the probability of each answer behind the prompt, shape [answers].

    An answer's tokens count up to its last, an end token where it shall end there. As many answers are read in one pass
    as the engine has slots; its cache is overwritten.
    """
    if not prompt or not all(answers):
        raise ValueError("a prompt and answers of at least one token are needed")
    first = _log_softmax(engine.forward([Part(0, prompt, 0, 1)])[0].copy())[0]
    found = np.array([first[answer[0]] for answer in answers], dtype=np.float64)
    longer = [i for i, answer in enumerate(answers) if len(answer) > 1]
    kept = engine.keep(0, len(prompt)) if longer else None
    for slot in range(1, min(engine.slots, len(longer))):
        engine.restore(slot, kept)
    for begin in range(0, len(longer), engine.slots):
        some = longer[begin : begin + engine.slots]
        parts = [Part(j, answers[i][:-1], len(prompt), len(answers[i]) - 1) for j, i in enumerate(some)]
        for i, logits in zip(some, engine.forward(parts), strict=True):
            tokens = np.array(answers[i][1:])
            found[i] += _log_softmax(logits)[np.arange(len(tokens)), tokens].sum()
    return found


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis, in fp64: answers differ by little."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    result: np.ndarray = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return result
