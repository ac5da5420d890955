"""Where each value of an answer comes from: the characters of the document that it was read off, and by which rule.

The rules are those by which the gate checks training data (`synth/derive.py`), so a value that no rule leads to is one
that the model chose or made up. A value that stands in the document more than once is looked for where its field's
label is, else behind what was read before it, and two values share no characters as long as that can be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slmbench.schema import leaves, words_of
from slmbench.synth.derive import derive
from slmbench.synth.statements import LONGEST
from slmbench.synth.structure import field_schema, last_key

NONE = "none"
LONGEST_WINDOW = 9
"""Words that one value is spelt in, at most: "the twenty-fourth of March 2027 at half past seven" has nine."""
LONGEST_STATEMENT = LONGEST + 1
"""Words of a sentence that says yes or no, at most: those of a description, and a "not"."""
MOST_WORDS = 4000
"""Of documents longer than this only what stands there as it is, is looked for."""
MOST_WINDOWS = 100_000
"""Runs of words that are looked at for one answer; values that would need more have no characters."""
LABEL_REACH = 48
"""Characters before a value in which its label is looked for."""
_WITHOUT_DIGITS = frozenset({"number_words", "boolean_words", "enum_spelling", "empty_list"})
_EDGES = ".,;:!?()[]{}<>\"'`*_|="
Span = tuple[int, int]
Path = tuple[str | int, ...]
Check = Callable[[], None]
Follows = Callable[[str], str | None]
"""The rule by which a leaf follows from a text, None where it does not."""


@dataclass(frozen=True)
class Source:
    """A leaf of an answer: its path, its value, the rule that leads from the text to it (`none` where none does), and
    the characters [begin, end) of the text, None where they cannot be told."""

    path: Path
    value: Any
    rule: str
    span: Span | None


def sources(value: Any, schema: Mapping[str, Any], text: str, check: Check = lambda: None) -> list[Source]:
    """The source of every leaf of an answer, in the answer's order.

    This may take seconds; `check` is called all the while, and what it raises ends it.
    """
    taken: list[Span] = []
    found = []
    left = iter(range(MOST_WINDOWS))
    for path, leaf in leaves(value):
        field = field_schema(schema, path)
        follows = _follows(leaf, field, last_key(path), check)
        rule = follows(text)
        span = None
        if rule is not None:
            span = _chosen(list(_candidates(leaf, rule, follows, text, left)), path, text, taken, check)
        elif isinstance(leaf, str) and leaf.strip() and "enum" not in field and "const" not in field:
            span = _chosen(list(_copies(leaf, text, re.IGNORECASE)), path, text, taken, check)
            rule = "verbatim" if span else None
        if span:
            taken.append(span)
        found.append(Source(path, leaf, rule or NONE, span))
    return found


def pointer(path: Path) -> str:
    """A path as JSON Pointer (RFC 6901).

    >>> pointer(("lines", 0, "a/b"))
    '/lines/0/a~1b'
    """
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def _follows(leaf: Any, field: Mapping[str, Any], key: str, check: Check) -> Follows:
    def follows(text: str) -> str | None:
        check()
        return derive(leaf, text, field, key)

    return follows


def _candidates(value: Any, rule: str, follows: Follows, text: str, left: Iterator[int]) -> Iterator[Span]:
    if rule == "verbatim":
        yield from _copies(value if isinstance(value, str) else json.dumps(value), text)
    elif rule != "empty_list":
        yield from _windows(rule, follows, text, left)


def _copies(value: str, text: str, flags: int = 0) -> Iterator[Span]:
    """Where a value stands in the text as whole words, its white space being any."""
    words = value.split()
    if not words:
        return
    pattern = r"\s+".join(map(re.escape, words))
    before = r"(?<!\w)" if re.match(r"\w", words[0]) else ""
    after = r"(?!\w)" if re.match(r"\w", words[-1][-1]) else ""
    spans = [match.span() for match in re.finditer(before + pattern + after, text, flags)]
    # Scripts that write words together have no edges to look for.
    yield from spans or [match.span() for match in re.finditer(pattern, text, flags)]


def _windows(rule: str, follows: Follows, text: str, left: Iterator[int]) -> Iterator[Span]:
    """The smallest runs of words from which the rule leads to the value; none where no more of them may be looked at
    (`left`) before all are."""
    longest = LONGEST_STATEMENT if rule == "boolean_words" else LONGEST_WINDOW
    words = [match.span() for match in re.finditer(r"\S+", text)]
    if len(words) > MOST_WORDS:
        return
    ends: dict[int, Span] = {}
    for i, (begin, _) in enumerate(words):
        for j in range(i, min(i + longest, len(words))):
            end = words[j][1]
            window = text[begin:end]
            if rule not in _WITHOUT_DIGITS and not any(map(str.isdigit, window)):
                continue
            if next(left, None) is None:
                return
            if follows(window) == rule:
                ends[end] = (begin, end)  # a later beginning with the same end is the smaller window
                break
    for begin, end in sorted(ends.values()):
        yield _trimmed(rule, follows, text, begin, end)


def _trimmed(rule: str, follows: Follows, text: str, begin: int, end: int) -> Span:
    """A window without the marks at its ends that the value does not need."""
    while begin < end - 1 and text[begin] in _EDGES and follows(text[begin + 1 : end]) == rule:
        begin += 1
    while begin < end - 1 and text[end - 1] in _EDGES and follows(text[begin : end - 1]) == rule:
        end -= 1
    return begin, end


def _chosen(spans: Sequence[Span], path: Path, text: str, taken: Sequence[Span], check: Check) -> Span | None:
    """The likeliest of several places: free, with the label before it, behind what was read last."""
    if not spans:
        return None
    last = taken[-1][1] if taken else 0
    words = [word for word in words_of(last_key(path)) if len(word) > 1]

    def rank(span: Span) -> tuple[bool, int, bool, int]:
        check()
        overlaps = any(span[0] < end and begin < span[1] for begin, end in taken)
        before = text[max(0, span[0] - LABEL_REACH) : span[0]].lower()
        named = sum(word in before for word in words)
        return overlaps, -named, span[0] < last, span[0]

    return min(spans, key=rank)
