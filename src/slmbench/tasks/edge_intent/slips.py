"""Utterances as somebody in a hurry types them: letters swapped, dropped, doubled or hit beside, words cut short."""

from __future__ import annotations

import random
import re

RATE = 0.25
"""The share of words of three letters and more that have a slip."""
_BESIDE = {
    a: rest.replace(a, "")
    for row in ("qwertyuiop", "asdfghjkl", "zxcvbnm")
    for i, a in enumerate(row)
    for rest in [row[max(0, i - 1) : i + 2]]
}
_SHORT = {
    "you": "u", "your": "ur", "are": "r", "please": "plz", "before": "b4", "for": "4", "to": "2", "tomorrow": "tmrw",
    "thanks": "thx", "because": "cos", "and": "n", "what": "wat", "with": "w", "tonight": "tonite", "okay": "ok",
}  # fmt: skip
SHORTENED = 0.15
_WORD = re.compile(r"[A-Za-z]+")


def mistyped(text: str, chance: random.Random) -> str:
    """A text with slips, mostly in small letters and without its marks. Figures and names' numbers stay."""
    if chance.random() < 0.8:
        text = text.lower()
    if chance.random() < 0.7:
        text = re.sub(r"[.,!?;:'](?!\d)", "", text)
    return _WORD.sub(lambda match: _slipped(match[0], chance), text)


def _slipped(word: str, chance: random.Random) -> str:
    if word.lower() in _SHORT and chance.random() < SHORTENED:
        return _SHORT[word.lower()]
    if len(word) < 3 or chance.random() >= RATE:
        return word
    at = chance.randrange(len(word) - 1)
    kind = chance.random()
    if kind < 0.5:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind < 0.75:
        return word[: at + 1] + word[at + 2 :]
    if kind < 0.9:
        return word[: at + 1] + word[at:]
    return word[:at] + chance.choice(_BESIDE[word[at].lower()]) + word[at + 1 :]
