"""The words that a field's description gives for its values: "flat (also apartment, loft)", "iPhone counts as ios",
"freeze: it stays open", "2 for in duplicate".

A synonym stands for the value; an explanation is a clause that is true of it. Both are the schema's own words, so the
gate takes a document that holds one as saying the value.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_JOINS = re.compile(r"\s*[,/]\s*(?:and |or )?|\s+(?:and|or)\s+")
_LEAD = re.compile(r"\b(?:also(?: called| known as)?|including|includes|such as|e\.g\.,?|for example|like|i\.e\.,?) ")
_ARTICLE = re.compile(r"^(?:a|an|the|any|some) ", re.IGNORECASE)
_NOTHING = frozenset(("", "so on", "so forth", "etc", "the like", "others", "similar", "more"))
_AS = r"(?:counts?|is|are|goes|go|belongs?|taken|treated|recorded|given|entered|written|classed|listed)\s+(?:\w+ )?"
_SIGN = r"\s*(?::|=|–|—|\s-\s|\bmeans\b|\bif\b|\bwhen\b|\bwhere\b|\bfor\b)\s*"
_TIMES = re.compile(r"\btimes\b|\bhow often\b", re.IGNORECASE)


@dataclass(frozen=True)
class Said:
    """Synonyms and explanations of values, by the value's canonical JSON."""

    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    explanations: Mapping[str, str] = field(default_factory=dict)


def said(schema: Mapping[str, Any]) -> Said:
    """What the description of a field says of its values."""
    description = schema.get("description")
    if not isinstance(description, str) or not description:
        return Said()
    options = tuple(option for option in schema.get("enum", ()) if isinstance(option, str) and option.strip())
    counted = schema.get("type") in ("integer", "number") and "enum" not in schema
    return _read(description, options, counted) if options or counted else Said()


def counts_times(schema: Mapping[str, Any]) -> bool:
    """Whether a field says how many times something happened, so that "twice" is 2."""
    return _TIMES.search(str(schema.get("description", ""))) is not None


def core(explanation: str) -> str:
    """An explanation without its subject, where three words of it are left: "it stays open and dead" is "stays open
    and dead"."""
    rest = re.sub(r"^(?:it|they|there|the \w+|an? \w+) ", "", explanation, flags=re.IGNORECASE)
    return rest if len(rest.split()) >= 3 else explanation


@functools.lru_cache(maxsize=1024)
def _read(description: str, options: tuple[str, ...], counted: bool) -> Said:
    if counted:
        return _of_numbers(description)
    found: dict[str, list[str]] = {option: [] for option in options}
    explained: dict[str, str] = {}
    either = "|".join(_spelling(option) for option in sorted(options, key=len, reverse=True))
    by_spelling = {_plain(option): option for option in options}
    for match in re.finditer(rf"(?<!\w)[\"'`]?({either})[\"'`]?\s*\(([^()]*)\)", description, re.IGNORECASE):
        _bracketed(by_spelling[_plain(match[1])], match[2], found, explained)
    for listed, option in _counted_as(description, either):
        found[by_spelling[_plain(option)]] += listed
    stop = rf"(?=\s*(?:[;\n)]|\.\s|\.?$|,\s*(?:and |or )?[\"'`]?(?:{either})[\"'`]?(?:{_SIGN})))"
    begin = r"(?:^|[;\n(.,:]\s*|\b(?:and|or)\s+)"
    for match in re.finditer(rf"{begin}[\"'`]?({either})[\"'`]?{_SIGN}([^;\n]+?){stop}", description, re.IGNORECASE):
        option, text = by_spelling[_plain(match[1])], match[2].strip(" ,.\"'")
        if len(text.split()) < 3:
            found[option] += _listed(text, option)
        else:
            explained.setdefault(option, text)
    return _distinct(found, explained, options)


def _of_numbers(description: str) -> Said:
    found: dict[str, list[str]] = {}
    for match in re.finditer(r"(?<![\w.])(\d+)\s*(?::|=|\bfor\b|\bmeans\b|\bif\b|\bwhen\b)\s+([^,;().]+)", description):
        text = re.split(r"\s(?:to|and|or|through)\s\d", match[2])[0]
        text = re.sub(r"\s+(?:and|or)\s*$", "", text.strip())
        if 1 <= len(text.split()) <= 4 and not text[0].isdigit():
            found.setdefault(match[1], []).append(_ARTICLE.sub("", text))
    return Said({number: tuple(texts) for number, texts in found.items()})


def _bracketed(option: str, inside: str, found: dict[str, list[str]], explained: dict[str, str]) -> None:
    """What the brackets behind a value hold: synonyms, an explanation before them, or one of the two."""
    inside = re.sub(r"^or ", "also ", inside.strip())
    lead = _LEAD.search(f"{inside} ")
    before = inside[: lead.start()].strip(" ,;") if lead else inside
    if lead:
        found[option] += _listed(inside[lead.end() :], option)
    elif re.match(r"(?i)(?:not|no|without|never|only)\b", before):
        return
    elif all(len(part.split()) <= 3 for part in _JOINS.split(before)):
        found[option] += _listed(before, option)
        return
    if len(before.split()) >= 3:
        explained.setdefault(option, before)


def _counted_as(description: str, either: str) -> list[tuple[list[str], str]]:
    """(words, option) of each "A and B count as OPTION, C as OTHER"."""
    found = []
    for clause in re.split(r"[;.\n]\s*", description):
        start, first = 0, True
        for match in re.finditer(rf"\s(?:as|under|to)\s+[\"'`]?({either})\b", clause, re.IGNORECASE):
            listed = clause[start : match.start()]
            verb = re.search(rf"\s{_AS}$", f"{listed} ") if first else None
            if first and verb is None:
                break
            listed = listed[: verb.start()] if verb else listed
            texts = _listed(re.sub(r"^[\s,]*(?:and |or )?", "", listed.strip()), match[1])
            found.append(([text for text in texts if not re.search(r" (?:of|in|on) ", text)], match[1]))
            start, first = match.end(), False
    return found


def _listed(text: str, option: str) -> list[str]:
    """The words of an enumeration; "well, sea or tap water" is three waters where the option is water."""
    parts = [_ARTICLE.sub("", part.strip(" .\"'`")) for part in _JOINS.split(text)]
    parts = [part for part in parts if part.lower() not in _NOTHING and len(part.split()) <= 4]
    head = _plain(option).split()[-1]
    if parts and len(parts[-1].split()) > 1 and parts[-1].lower().split()[-1] == head:
        parts = [part if head in part.lower().split() else f"{part} {parts[-1].split()[-1]}" for part in parts]
    return [part for part in parts if not re.search(r"\b(?:which|that|is|are)\b", part)]


def _distinct(found: Mapping[str, Sequence[str]], explained: Mapping[str, str], options: Sequence[str]) -> Said:
    """Only what stands for one value and names no other."""

    by_plain = {_plain(option): option for option in options}
    longest = max(len(plain.split()) for plain in by_plain)

    def names_other(text: str, option: str) -> bool:
        words = [word.strip(".,;:!?()\"'`") for word in _plain(text).split()]
        runs = (" ".join(words[i : i + n]) for n in range(1, longest + 1) for i in range(len(words) - n + 1))
        return any(by_plain.get(run, option) != option for run in runs)

    owners: dict[str, set[str]] = {}
    for option, texts in found.items():
        for text in texts:
            owners.setdefault(text.casefold(), set()).add(option)
    synonyms = {
        json.dumps(option): tuple(
            text for text in dict.fromkeys(texts)
            if len(owners[text.casefold()]) == 1 and _plain(text) != _plain(option) and not names_other(text, option)
        )
        for option, texts in found.items()
    }  # fmt: skip
    kept = {json.dumps(option): text for option, text in explained.items() if not names_other(text, option)}
    return Said({option: texts for option, texts in synonyms.items() if texts}, kept)


def _spelling(option: str) -> str:
    return re.sub(r"(?:\\?[_ -])+", "[_ -]", re.escape(option))


def _plain(text: str) -> str:
    return " ".join(re.split(r"[\s_-]+", text.casefold().strip()))
