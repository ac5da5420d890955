"""What a grammar of JSON lets through and no answer should have: numbers that are no number, or never end."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np

from slmbench.decode.cursor import Cursor

LONGEST_NUMBER = 40
"""Characters: no number that a double can tell from others needs more."""
FIRST = 512
"""Likeliest tokens that are looked at before all others."""
_WHOLE = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


class Bounds:
    """What may follow in one answer, beside its grammar. `accept` is told every token that was chosen.

    Args:
        text_of: token id -> its bytes, each as a character (Latin-1): a token may end within a character.
    """

    def __init__(self, text_of: Callable[[int], str]) -> None:
        self.text_of = text_of
        self.cursor = Cursor()

    def accept(self, token: int) -> None:
        """Go on behind a token."""
        self.cursor.feed(self.text_of(token))

    def allows(self, token: int) -> bool:
        """Whether a token may come next."""
        text = self.text_of(token)
        if self.cursor.place == "scalar" or (self.cursor.place == "value" and text[-1:].isdigit()):
            behind = self.cursor.clone()
            behind.feed(text)
            return behind.place != "scalar" or is_number(behind.partial)
        return True

    def best(self, logits: np.ndarray, mask: np.ndarray) -> int | None:
        """The likeliest token that the mask and these bounds allow; None where there is none."""
        scores = np.where(mask, logits, -np.inf)
        first = np.argpartition(-scores, min(FIRST, len(scores) - 1))[:FIRST]
        for order in (first[np.argsort(-scores[first], kind="stable")], np.argsort(-scores, kind="stable")):
            for token in order:
                if scores[token] == -np.inf:
                    break
                if self.allows(int(token)):
                    return int(token)
        return None


def is_number(partial: str) -> bool:
    """Whether the beginning of a number, or of a word such as `true`, is not too long and not too large."""
    return len(partial) <= LONGEST_NUMBER and (not _WHOLE.fullmatch(partial) or math.isfinite(float(partial)))
