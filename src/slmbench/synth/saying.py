"""How one document says its values in the schema's own words: synonyms, explanations, statements, what stands around.

Drawn once for a document, before its style: a synonym in the text is the value everywhere in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from slmbench.synth import free
from slmbench.synth.clauses import dress, ways
from slmbench.synth.fields import table, words_in
from slmbench.synth.statements import statements
from slmbench.synth.synonyms import Said, said
from slmbench.synth.tree import Node, every
from slmbench.synth.values import Source

SYNONYM, EXPLAINED, STATED, DRESSED = 0.4, 0.45, 0.72, 0.5
"""How often an option is said by a synonym, or else by its explanation; a yes or no by a statement; a text with what
the description takes off it."""


def choose(nodes: Sequence[Node], source: Source) -> None:
    """Draw for each field whether and how the schema's own words say its value."""
    versions = [str(node.value) for node in every(nodes) if node.meaning.kind == "version"]
    for node in every(nodes):
        if node.hidden or node.children or node.items:
            continue
        if isinstance(node.value, bool):
            _yes_or_no(node, source)
        elif isinstance(node.value, int | float):
            _count(node, source)
        elif isinstance(node.value, str) and node.value:
            _text(node, source, versions)
        elif isinstance(node.value, list) and all(isinstance(item, str) and item for item in node.value):
            _texts(node, source, versions)


def _yes_or_no(node: Node, source: Source) -> None:
    stated = statements(tuple(words_in(node.key)), str(node.schema.get("description", "")))
    listed = stated.yes if node.value else stated.no
    own = node.schema.get("x-true" if node.value else "x-false")
    if listed and not own and source.chance(STATED):
        # The first are the description's own; a name says less.
        node.sentence = _shortened(source.pick([*listed[:1] * 2, *listed]), source)


def _shortened(sentence: str, source: Source) -> str:
    if source.chance(0.25):
        sentence = re.sub(r"\b(is|are|was|were|does|do|did|could|should|would|has|have) not\b", r"\1n't", sentence)
    return sentence


def _count(node: Node, source: Source) -> None:
    texts = said(node.schema).synonyms.get(json.dumps(node.value), ())
    if not texts or not source.chance(SYNONYM):
        return
    node.said = source.pick(texts)
    way = next((way for way in ways(str(node.schema.get("description", ""))) if way.endswith(" {} times")), "")
    if way and node.said == "never":
        node.sentence = re.sub(r"\b(is|are|was|were|has|have|had)\b", r"\1 never", way, count=1).removesuffix(
            " {} times"
        )
        return
    adverb = re.match(r"(?:in|at|by|with|for|as|on|once|twice|never|not)\b", node.said)
    node.sentence = way.replace("{} times", node.said) if way and adverb else node.said


def _text(node: Node, source: Source, versions: Sequence[str]) -> None:
    known = said(node.schema)
    if node.schema.get("enum"):
        node.said = _option(str(node.value), known, source)
        explanation = known.explanations.get(json.dumps(node.value))
        if node.said is None and explanation and source.chance(EXPLAINED):
            node.sentence = node.said = explanation
        return
    dresses = _dresses(node, versions)
    if dresses and source.chance(DRESSED):
        node.said = _dressed(str(node.value), source.pick(dresses), source)


def _texts(node: Node, source: Source, versions: Sequence[str]) -> None:
    item = node.schema.get("items")
    known = said(item) if isinstance(item, dict) else Said()
    if isinstance(item, dict) and item.get("enum"):
        node.said = [_option(value, known, source) or value for value in node.value]
        return
    dresses = _dresses(node, versions)
    if dresses and source.chance(DRESSED):
        worn = source.pick(dresses)
        node.said = [_dressed(value, worn, source) for value in node.value]


def _option(value: str, known: Said, source: Source) -> str | None:
    texts = known.synonyms.get(json.dumps(value), ())
    if texts and source.chance(SYNONYM):
        return source.pick(texts)
    usual = table()["spelled"].get(value)
    return str(usual) if usual and usual.casefold() == value.casefold() and source.chance(0.7) else None


def _dresses(node: Node, versions: Sequence[str]) -> list[tuple[str, str]]:
    """What may stand around a text: a version behind it is the document's own, where a field asks for that."""
    found = dress(str(node.schema.get("description", "")))
    own = [(before, f" {one}") for one in versions[:1] for before, behind in found if "#.#" in behind]
    return [worn for worn in found if not versions or "#.#" not in worn[1]] + (own if len(versions) == 1 else [])


def _dressed(value: str, worn: tuple[str, str], source: Source) -> str:
    before, behind = worn
    return f"{before}{value}{free.shaped(behind, source)}"
