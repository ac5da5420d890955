"""What one says instead of a yes or a no: "Whether tenants may keep animals" is "Tenants may keep animals" or
"Tenants may not keep animals", and `pets_allowed` "pets are allowed" or "no pets".

Documents say these sentences and the gate takes them as the answer: they are the schema's own words.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from slmbench.synth.free import words

_ASKED = re.compile(
    r"(?:^|^\W*(?:\w+\s+){0,3}?(?:says?|tells?|indicates?|shows?|states?|true|set|yes)\s+)(?:whether|if|when|where)\s+"
    r"(?:or not\s+)?(?P<clause>.+)",
    re.IGNORECASE | re.DOTALL,
)
_AUXILIARY = frozenset((
    "is", "are", "was", "were", "can", "could", "may", "might", "must", "should", "will", "would", "does", "do", "did",
))  # fmt: skip
_HAVE = frozenset(("has", "have", "had"))
_ARTICLES = frozenset(("a", "an", "the", "any", "its", "his", "her", "their", "this", "that", "these", "those", "all"))
_ALL = frozenset(("every", "all", "each", "both", "everything", "everyone", "everybody"))
_NAMED_VERBS = frozenset(("needs", "wants", "requires", "accepts", "includes", "contains", "speaks", "smokes", "owns"))
_UN = frozenset(("furnished", "paid", "insured", "damaged", "opened", "signed", "used", "answered", "available"))
_MASS = frozenset((
    "police", "parking", "water", "heating", "insurance", "smoking", "furniture", "equipment", "breakfast", "transport",
    "food", "help", "advice", "access", "experience", "information", "damage", "internet", "storage", "training",
))  # fmt: skip
_ALLOWED = frozenset(("allowed", "permitted", "accepted", "possible", "needed", "required", "included", "available"))
_ONE_SIDED = frozenset((
    "no", "not", "never", "nobody", "nothing", "neither", "none", "only", "least", "anyone", "some",
))  # fmt: skip
"""Words with which a "not" behind the verb does not say the opposite."""
_ADJECTIVE = re.compile(r"(?:able|ible|al|ive|ful|less|ent|ant|ous|ic|y|ern|ar)$")
LONGEST = 16
"""Words of a description that are said as a statement, at most."""


@dataclass(frozen=True)
class Statements:
    """Sentences, without capital and full stop, that say yes or no; and the phrases by which each is told."""

    yes: tuple[str, ...] = ()
    no: tuple[str, ...] = ()
    yes_cores: tuple[str, ...] = ()
    no_cores: tuple[str, ...] = ()

    def __add__(self, other: Statements) -> Statements:
        return Statements(
            self.yes + other.yes, self.no + other.no, self.yes_cores + other.yes_cores, self.no_cores + other.no_cores
        )

    def says(self, value: bool, text: str) -> bool:
        """Whether the text, in small letters, says so: a yes is none behind "not", "no" or "never"."""
        plain = _words(text)
        if not value:
            return any(f" {core} " in plain for core in self.no_cores)
        return any(
            plain[: match.start()].split(" ")[-1] not in ("not", "no", "never", "without")
            for core in self.yes_cores
            for match in re.finditer(rf"(?= {re.escape(core)} )", plain)
        )


@functools.lru_cache(maxsize=1024)
def statements(key_words: tuple[str, ...], description: str) -> Statements:
    """The statements of a yes-or-no field by the words of its key and by its description; empty where none fits."""
    return _of_description(description) + _of_name(list(key_words))


def _words(text: str) -> str:
    """A text's words in small letters with one space around each, negations spelt out."""
    text = text.casefold().replace("’", "'").replace("can't", "can not").replace("won't", "will not")
    text = re.sub(r"n't\b", " not", text).replace("cannot", "can not")
    return " ".join(["", *re.findall(r"[^\W_]+(?:'[^\W_]+)?", text), ""])


def _stated(yes: Sequence[str], no: Sequence[str], yes_cores: Sequence[str], no_cores: Sequence[str]) -> Statements:
    folded = [tuple(_words(core).strip() for core in cores) for cores in (yes_cores, no_cores)]
    return Statements(tuple(yes), tuple(no), folded[0], folded[1])


def _of_description(description: str) -> Statements:
    match = _ASKED.match(description.strip())
    if match is None:
        return Statements()
    clause = re.split(r"[;:(.?!]|,\s*(?:not|as|or|if|and not|without|even)\b|\s+or not\b", match["clause"])[0]
    clause = clause.strip(" ,")
    parts = clause.split()
    at = verb_at(parts)
    if at is None or not at or len(parts) > LONGEST or len(parts) < at + 2 or "," in " ".join(parts[:at]):
        return Statements()
    return _sentence(" ".join(parts[:at]), parts[at], " ".join(parts[at + 1 :]))


def verb_at(parts: Sequence[str]) -> int | None:
    """Where the verb of a clause stands; None where it cannot be told."""
    start = 2 if parts and parts[0].lower() in _ARTICLES | _ALL else 1
    for place in range(start, min(len(parts), 8)):
        word = parts[place].lower()
        following = parts[place + 1].lower() if place + 1 < len(parts) else ""
        if word in _AUXILIARY | _HAVE:
            return place
        if base_of(word) and following not in _AUXILIARY | _HAVE and not base_of(following):
            return place
    return None


def base_of(word: str) -> str:
    """The verb that a word is the present of: "knows" is "know"; "" for what is none of `words.json`."""
    known = _verbs()
    for base in (word, word.removesuffix("s"), word.removesuffix("es"), f"{word.removesuffix('ies')}y"):
        if base in known and (base == word or word.endswith("s")):
            return base
    return ""


@functools.cache
def _verbs() -> frozenset[str]:
    return frozenset(words()["verbs"].split())


def _sentence(subject: str, verb: str, rest: str) -> Statements:
    yes, low = f"{subject} {verb} {rest}", verb.lower()
    first = subject.lower().split()[0]
    if not _ONE_SIDED.isdisjoint(f"{subject} {rest}".lower().split()):
        return Statements()
    if first in _ALL:
        return _stated([yes], [f"not {yes}"], [yes], [f"not {yes}"])
    if first in ("any", "anyone", "anybody", "anything", "no", "nobody"):
        return Statements()
    if first == "there":
        thing = re.sub(r"^(?:an?|any|some) ", "", rest)
        return _stated([yes.replace(" any ", " ")], [f"there {low} no {thing}"], [thing], [f"no {thing}"])
    if low in _HAVE and not _participle(rest.split()[0]):
        thing = re.sub(r"^(?:an?|any|some) ", "", rest)
        lacks = [f"{low} no {thing}", f"have no {thing}", f"does not have {rest}", f"do not have {rest}"]
        does = "does" if low == "has" else "did" if low == "had" else "do"
        nos = [f"{subject} {low} no {thing}", f"{subject} {does} not have {rest}"]
        return _stated([yes], nos, [f"{low} {rest}", f"have {rest}"], [*lacks, f"without {rest}", f"no {thing}"])
    if low == "must":
        nos = [
            f"{subject} need not {rest}",
            f"{subject} {'do' if subject.endswith('s') else 'does'} not have to {rest}",
        ]
        cores = [f"need not {rest}", f"do not have to {rest}", f"does not have to {rest}"]
        return _stated([yes], nos, [f"must {rest}"], cores)
    if low in _AUXILIARY or low in _HAVE:
        negated = "cannot" if low == "can" else f"{low} not"
        # "Is allowed" alone would be said of anything.
        of = f"{subject.split()[-1]} " if len(rest.split()) < 2 else ""
        return _stated([yes], [f"{subject} {negated} {rest}"], [f"{of}{low} {rest}"], [f"{of}{low} not {rest}"])
    base = base_of(low)
    does = "does" if base != low else "do"
    cores = [f"does not {base} {rest}", f"do not {base} {rest}"]
    return _stated([yes], [f"{subject} {does} not {base} {rest}"], [f"{low} {rest}", f"{base} {rest}"], cores)


def _participle(word: str) -> bool:
    return word.endswith("ed") or word in words()["participles"].split() or word in ("already", "ever", "been", "yet")


def _of_name(key: list[str]) -> Statements:
    if len(key) > 1 and key[0] in ("is", "was", "are", "were"):
        verb, rest = key[0], " ".join(key[1:])
        it = "they" if verb in ("are", "were") else "it"
        described = it == "they" or _ADJECTIVE.search(rest) or _participle(key[-1])
        article = "" if described else _article(rest)
        cores = [f"{verb} {rest}", f"{verb} a {rest}", f"{verb} an {rest}"]
        no_cores = [f"not {rest}", f"not a {rest}", f"not an {rest}"]
        return _stated([f"{it} {verb} {article}{rest}"], [f"{it} {verb} not {article}{rest}"], cores, no_cores)
    if len(key) > 1 and key[0] in ("has", "have"):
        rest = " ".join(key[1:])
        article = _article(rest)
        yes = [f"it has {article}{rest}", f"there {'are' if rest.endswith('s') else 'is'} {article}{rest}"]
        cores = [f"has {rest}", f"has {article}{rest}", f"with {rest}", f"is {article}{rest}", f"are {rest}"]
        return _stated(yes, [f"it has no {rest}", f"there is no {rest}"], cores, [f"no {rest}", f"without {rest}"])
    if len(key) > 1 and key[0] in ("can", "may", "must", "will"):
        rest = " ".join(key[1:])
        if key[0] == "must":  # "must not" forbids
            return _sentence("it", "must", rest)
        no = f"it cannot {rest}" if key[0] == "can" else f"it {key[0]} not {rest}"
        return _stated([f"it {key[0]} {rest}"], [no], [f"{key[0]} {rest}"], [f"{key[0]} not {rest}"])
    if len(key) > 1 and key[0] in _NAMED_VERBS:
        base, rest = base_of(key[0]) or key[0][:-1], " ".join(key[1:])
        thing, no = f"{_article(rest)}{rest}", f"does not {base}"
        cores = [f"{key[0]} {rest}", f"{key[0]} {thing}"]
        return _stated([f"it {key[0]} {thing}"], [f"it {no} {thing}"], cores, [f"{no} {thing}", f"no {rest}"])
    return _of_participle(key)


def _article(noun: str) -> str:
    """The article that a noun takes where one is meant: none for plurals and what is not counted."""
    if noun.split()[-1] in _MASS or (noun.endswith("s") and not noun.endswith("ss")):
        return ""
    return "an " if noun[0] in "aeio" else "a "


def _of_participle(key: list[str]) -> Statements:
    """For `pets_allowed`, `workaround_known` and `damaged`."""
    if not key or not _participle(key[-1]) or key[0] in ("no", "not"):
        return Statements()
    last, noun = key[-1], " ".join(key[:-1])
    if not noun:
        no = [f"it is not {last}"] + ([f"it is un{last}"] if last in _UN else [])
        cores = [f"not {last}"] + ([f"un{last}"] if last in _UN else [])
        return _stated([f"it is {last}"], no, [f"is {last}", f"are {last}", f"was {last}"], cores)
    if noun.split()[-1] in ("is", "was", "are", "to", "by", "be", "not"):
        return Statements()
    verb = "are" if noun.endswith("s") and not noun.endswith("ss") else "is"
    yes, no = [f"{noun} {verb} {last}"], [f"no {noun} {verb} {last}"]
    yes_cores = [f"{noun} is {last}", f"{noun} are {last}", f"{noun} {last}"]
    no_cores = [f"no {noun} {verb} {last}", f"{noun} {verb} not {last}", f"{noun} not {last}", f"no {noun} {last}"]
    if last in _ALLOWED:
        yes += [f"{noun} {last}"]
        no = [f"{noun} {verb} not {last}", f"{noun} not {last}", f"no {noun}"]
        no_cores.append(f"no {noun}")
    elif verb == "is":
        yes = [f"{_article(noun)}{noun} is {last}", f"the {noun} is {last}"]
        yes_cores += [f"{sentence}" for sentence in yes]
        no += [f"the {noun} is not {last}"]
    return _stated(yes, no, yes_cores, no_cores)
