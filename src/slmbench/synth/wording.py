"""Labels within sentences: which are nouns, and how a sentence takes them up."""

from __future__ import annotations

import re

from slmbench.synth.styles import first_up

_PREPOSITIONS = frozenset((
    "by", "on", "at", "in", "from", "with", "until", "per", "to", "as", "for", "of", "than", "clock", "here",
))  # fmt: skip
_NO_NOUNS = _PREPOSITIONS | frozenset((
    "due", "see", "call", "when", "where", "instead", "knows", "speaks", "born", "paid", "delivered", "level",
    "arrived", "takes", "dated", "each", "high", "wide", "long", "located", "happens", "do", "get", "there", "much",
    "cost", "hand", "because", "measured", "actual", "expected", "net",
))  # fmt: skip
"""Labels that are one of these head a line, and fit no sentence."""
_SEEN = frozenset(("seen", "known", "met", "sent", "made", "given", "taken", "done", "held", "kept", "sold", "bought"))
_PLURALS = {" is ": " are ", " was ": " were ", " comes ": " come ", "it is ": "they are "}


def is_noun(label: str) -> bool:
    """Whether "the {label} is" reads well: not for "by" and "seen by", but for "amount due"."""
    said = label.lower().split() or [""]
    if (said[-1].endswith("ed") and len(said[-1]) > 5) or said[-1] in _SEEN:
        return False
    ends = _PREPOSITIONS if " " in label else _NO_NOUNS
    return said[0] not in ("to", "what", "how", "before", "no") and said[-1] not in ends


def named(way: str, label: str) -> str:
    """The sentence with the label for {l}, and for {L} with a capital."""
    return way.replace("{l}", label).replace("{L}", first_up(label))


def agreed(way: str, *labels: str) -> str:
    """The sentence with its verbs in the plural behind plural labels."""
    for label in labels:
        plural = label.endswith("s") and not label.endswith(("ss", "us", "is", "'s")) and "number" not in label
        if plural and f"number of {label}" not in way:
            for one, many in _PLURALS.items():
                way = way.replace(f"{label}{one}", f"{label}{many}").replace(f"{label}, {one}", f"{label}, {many}")
                way = re.sub(rf"(?i)(?<={re.escape(label)}){one}", many, way)
    return way
