"""What a field's description says in sentences: ways to say its value, what it does not mean, how it is written.

"Day on which the sample was taken, not the day it was received" gives the way "the sample was taken on {}" and the
label "received" for another day; "without a title such as Mrs" that a title stands before the value.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from slmbench.synth.free import words
from slmbench.synth.statements import base_of, verb_at

_PREP = r"in|on|at|from|to|by|for|with|until|since|under|through|after|before|during|of"
_RELATIVE = re.compile(rf"^(?P<head>.+?)\s+(?P<prep>{_PREP})\s+(?:which|whom)\s+(?P<clause>.+)$", re.IGNORECASE)
_WHERE = re.compile(r"^(?P<head>.+?)\s+(?P<word>when|where)\s+(?P<clause>.+)$", re.IGNORECASE)
_WHO = re.compile(r"^(?P<head>.+?)\s+(?:who|that|which)\s+(?P<clause>.+)$", re.IGNORECASE)
_MANY = re.compile(r"^How (?:many (?P<noun>[a-z]+)|often)\s+(?P<clause>.+)$", re.IGNORECASE)
_WHAT = re.compile(r"^(?P<word>What|Who|When|Where)\s+(?P<clause>.+)$", re.IGNORECASE)
_NUMBER_OF = re.compile(r"^(?:The )?(?:total )?number of (?P<noun>[a-z][a-z -]*?s)$", re.IGNORECASE)
_AUXILIARY = r"is|are|was|were|has|have|had|can|could|may|might|must|should|will|would|does|do|did"
_DETERMINER = re.compile(r"^(?:each|every|all|the|an?|any|one|full|exact|first|last|short|total|its|their)\s+", re.I)
_NAMING = frozenset(("name", "kind", "type", "list", "title", "names", "kinds", "make", "form", "sort", "word", "text"))
_TAIL = re.compile(
    rf"\s+(?:(?:{_PREP}|that|which|who|whom|where|when|as|than|whose|about|per|between|within|among|not|without|the|an?|"
    r"shown|given|used|made|paid|charged|written|due|reported|mentioned|named|stated|needed|taken|sold|bought)\b.*)$",
    re.IGNORECASE,
)
_ITEMS = re.compile(r"\s*,\s*(?:and |or |nor )?|\s+(?:and|or|nor)\s+")
_IT_WAS = re.compile(
    r"^(?:(?:day|date|time|moment|year|place|person|one) (?:(?:when|where|that|who|on which) )?|when |where )"
    r"(?:(?:it|they|this|he|she|the \w+) )?(?:is|was|were|are|did|does) ", re.IGNORECASE,
)  # fmt: skip
_LEFT_OUT = re.compile(
    r"^\W*(?P<what>.+?)\s+(?:(?:do|does) not (?:belong|count|go)|(?:are|is) (?:left out|ignored|"
    r"not (?:counted|meant|included|listed|part)))\b(?!\s+(?:where|when|if|unless))", re.IGNORECASE,
)  # fmt: skip
_NOT = re.compile(
    r"(?:(?:^|,|\band|\bbut)\s*not|\b(?:without|excluding|except(?: for)?|other than|rather than|instead of))\s+"
    r"(?P<what>.+?)(?=$|,\s*(?:not|in|as|and not|but|left|without)\b)", re.IGNORECASE,
)  # fmt: skip
_UNSAID = re.compile(
    r"\b(?:given|known|stated|said|mentioned in|available|present|none|empty|where|when|if|there|yet|one entry|written|"
    r"necessarily|only|more than|less than|required|possible)\b", re.IGNORECASE,
)  # fmt: skip
_DAY = re.compile(r"\b(?:day|date)\b", re.IGNORECASE)
_ENDS = {"last": "until", "latest": "until", "first": "from", "earliest": "from"}
"""What one says of the day when something may first or last be done."""
MOST_WORDS = 14
"""Words of a clause that is said, at most."""


@dataclass(frozen=True)
class Unmeant:
    """What a description says a field is not: labels of other values ("deposit", "received"), and clauses with {} that
    are true of other values ("all is well on {}")."""

    labels: tuple[str, ...] = ()
    clauses: tuple[str, ...] = ()


def _first(description: str) -> str:
    """The description's first part, before what is added to it."""
    text = re.split(r"[;(:\n]|\.(?:\s|$)|\s[–—]\s", description.strip())[0]
    text = re.split(
        r",\s*(?:as|in|not|without|left|e\.g|such|including|one|or an?|with|and not|but|if|where|even|for|to)\b",
        text,
    )[0]
    return text.strip(" ,")


@functools.lru_cache(maxsize=1024)
def ways(description: str) -> tuple[str, ...]:
    """Sentences with {} for the value, without capital and full stop, in the description's words."""
    text = _first(description)
    if match := _MANY.match(text):
        return _counted(match["noun"] or "times", _said(match["clause"]))
    if match := _NUMBER_OF.match(text):
        return (f"there are {{}} {match['noun'].lower()}", f"{{}} {match['noun'].lower()}")
    if match := _WHAT.match(text):
        return _asked(match["word"].lower(), _said(match["clause"]))
    if re.match(r"(?i)(?:whether|if|true|how)\b", text):
        return ()
    if match := _RELATIVE.match(text):
        prep = _ENDS.get(match["head"].lower().split()[0], match["prep"].lower())
        return _kept(f"{_said(match['clause'])} {prep if _DAY.search(match['head']) else match['prep'].lower()} {{}}")
    if match := _WHERE.match(text):
        return _kept(f"{_said(match['clause'])} {'on' if match['word'].lower() == 'when' else 'in'} {{}}")
    if match := _WHO.match(text):
        return _related(_said(match["clause"]))
    phrase = re.sub(r"(?i)^(?:the )?name of (?=the |an? )|^(?:an?|the) ", "", text)
    phrase = re.sub(r"(?i)\s+(?:as (?:written|printed|shown|given|a number|stated)|without|in [a-z ]+$).*$", "", phrase)
    # Names of things said with what they belong to: "rent for one month", "the person to contact about the home".
    if 2 <= len(phrase.split()) <= 8 and not re.search(r"[,/]|\bor\b", phrase) and not _IT_WAS.match(phrase):
        phrase = re.sub(r"(?i)^the ", "", phrase)
        named = phrase if phrase[1:2].isupper() else phrase[0].lower() + phrase[1:]
        return _kept(f"the {named} is {{}}")
    return ()


def _said(clause: str) -> str:
    """A clause as one says it: without what it leaves open and what it adds."""
    clause = re.sub(r"\b(is|are|has|have) or (?:was|were|had)\b", r"\1", clause)
    clause = re.sub(r"\s+(?:so far|yet|as written|in total|if any|at all)$", "", clause.strip(" ,."))
    return re.split(r",\s", clause)[0]


def _kept(way: str) -> tuple[str, ...]:
    return (way,) if len(way.split()) <= MOST_WORDS and "(" not in way else ()


def _counted(noun: str, clause: str) -> tuple[str, ...]:
    first = clause.split()[0].lower()
    if noun == "times":
        return _kept(f"{clause} {{}} times")
    if _verbal(first):
        return _kept(f"{{}} {noun} {clause}")
    return _kept(f"{clause} {{}} {noun}")


def _asked(word: str, clause: str) -> tuple[str, ...]:
    first = clause.split()[0].lower()
    if word in ("when", "where"):
        return _kept(f"{clause} {'on' if word == 'when' else 'in'} {{}}")
    if _verbal(first):
        return _kept(f"{{}} {clause}")
    return _kept(f"{clause} {{}}") if verb_at(clause.split()) is not None else ()


def _verbal(word: str) -> bool:
    """Whether a word at the beginning of a clause is its verb."""
    known = re.fullmatch(_AUXILIARY, word) or base_of(word) or word in words()["past"].split()
    return bool(known) or word.endswith("ed")


def _related(clause: str) -> tuple[str, ...]:
    parts = clause.split()
    if _verbal(parts[0].lower()):
        return _kept(f"{{}} {clause}")
    if verb_at(parts) is not None and not re.search(rf"\s(?:{_PREP})$", clause):
        return _kept(f"{clause} {{}}")
    return ()


@functools.lru_cache(maxsize=1024)
def unmeant(description: str) -> Unmeant:
    """What the description sets apart from the field."""
    labels: list[str] = []
    clauses: list[str] = []
    for part in re.split(r"[;()\n]|\.\s|\.$", description):
        if match := _LEFT_OUT.match(part.strip()):
            relative = re.match(rf"(?i)^\w+(?: \w+)? ({_PREP}) which (.+)$", match["what"])
            if relative:
                clauses.append(f"{_said(relative[2])} {relative[1]} {{}}")
            else:
                labels += _labels(match["what"])
            continue
        for match in _NOT.finditer(part):
            labels += _labels(match["what"])
    return Unmeant(tuple(dict.fromkeys(labels)), tuple(clauses))


def _labels(what: str) -> list[str]:
    """The things of an enumeration, with what they share: "order, batch or patient number" are three numbers."""
    what = re.split(r"(?i)\s+(?:such as|like|e\.g\.)\b", what.strip())[0]
    what = re.sub(r"(?i)^(?:the|an?|any|its|of|in|on|that of|those of) ", "", what)
    if re.match(r"(?i)letter \w\b|articles?\b|titles?\b|build\b|brackets\b|quot|version\b|words?\b", what):
        return []
    what = re.sub(r"(?i)^\w+(?: \w+)? (?:mentioned|given|named|used|shown|stated) (?:for|as|with) ", "", what)
    what = _IT_WAS.sub("", what)
    parts = [re.sub(r"(?i)^(?:the|an?|any|its|of|in) ", "", part.strip(" .\"'")) for part in _ITEMS.split(what)]
    parts = [_IT_WAS.sub("", part) for part in parts if part]
    last = parts[-1].split() if parts else []
    if len(last) == 2 and all(len(part.split()) == 1 for part in parts[:-1]):
        parts = [*(f"{part} {last[-1]}" for part in parts[:-1]), parts[-1]]
    return [part for part in parts if len(part.split()) <= 5 and not _UNSAID.search(part) and len(part) > 2]


@functools.lru_cache(maxsize=1024)
def dress(description: str) -> tuple[tuple[str, str], ...]:
    """(before, behind) of each way that a text may stand in a document and is not to be copied with the value."""
    found: list[tuple[str, str]] = []
    for match in re.finditer(r"(?i)\b(?:without|leave out|no) ((?:[^;.()]|\.\d)+)", description):
        said = match[1]
        if titles := re.search(r"(?i)\btitles?\b(?: such as| like)?((?: (?:or )?[A-Z]\w+,?)*)", said):
            known = [title for title in re.split(r"[ ,]+", titles[1]) if title and title != "or"]
            found += [(f"{title} ", "") for title in {*known, "Mr", "Ms", "Dr"} if title]
        if letter := re.search(r"(?i)\bletter (\w)\b", said):
            found.append((letter[1], ""))
        if re.search(r"(?i)\barticles?\b", said):
            found.append(("the ", ""))
        if re.search(r"(?i)\bbuild\b", said):
            found += [("", " (build ####)"), ("", " build ###")]
        if re.search(r"(?i)\b(?:its|the|a) version\b", said):
            found += [("", " #.#"), ("", " ##.#.#")]
        if re.search(r"(?i)\bquot", said):
            found.append(('"', '"'))
    return tuple(sorted(set(found)))


@functools.lru_cache(maxsize=1024)
def heads(description: str) -> tuple[str, ...]:
    """The nouns of what a field is, each as its last word in small letters: "Each computer or phone model on which …"
    gives computer and model."""
    text = _first(description)
    if match := _WHAT.match(text):
        if match["word"].lower() in ("who", "where"):
            return (match["word"].lower(),)
        asked = re.split(r"(?i),|\b(?:where|when|who|whom|which|that|if)\b", match["clause"])[0]
        return tuple(word.lower() for word in re.findall(r"[^\W\d_]+", asked) if len(word) > 3)
    for _ in range(3):
        text = _DETERMINER.sub("", text)
        named = re.match(r"(?i)^([a-z]+)(?: (?:and|or) [a-z]+)? of\s+(.+)$", text)
        if named is None or named[1].lower() not in _NAMING:
            break
        text = named[2]
    text = _TAIL.sub("", f" {_DETERMINER.sub('', text)}")
    found = [part.split()[-1].lower() for part in _ITEMS.split(text) if part.split()]
    if re.search(r"(?i)^(?:full )?name of .*\bwho\b|\bwithout (?:a |the |any )?titles?\b", description):
        found.append("who")
    return tuple(word for word in found if re.fullmatch(r"[^\W\d_]{2,}", word))


def fitting(ways: Sequence[str], *, one: bool) -> list[str]:
    """The ways that a count reads well in: "{} times" not for one."""
    return [way for way in ways if not (one and re.search(r"\{\} (?:[a-z]+s|people|children)\b|\bare \{\}", way))]
