"""A document in the making: a page for the styles that is worded anew, with labels and sentences of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from slmbench.schema import leaves
from slmbench.synth.fields import table, words_in
from slmbench.synth.outline import outline
from slmbench.synth.sections import Section, sections
from slmbench.synth.shown import Manner
from slmbench.synth.strays import Stray, filled, stray_fields, stray_remark
from slmbench.synth.styles import Page
from slmbench.synth.talk import chips, told
from slmbench.synth.tree import Node, as_object
from slmbench.synth.values import Source

STRAY = 0.45
"""How often a document holds things that nobody asks for."""


@dataclass(frozen=True)
class Doc(Page):
    """A page of `nodes`, about things of a `theme`; its strays and its people are drawn from `source`; `others` are
    values like those of its fields under labels of their own."""

    nodes: Sequence[Node]
    theme: str
    source: Source
    manner: Manner
    others: Sequence[Stray] = ()

    def parts(self, nodes: Sequence[Node] | None = None) -> list[Section]:
        """The sections of the document or of some of its fields, now and then with a stray line in the first."""
        value, schema = outline(self.nodes if nodes is None else nodes, self.manner, self.title())
        found = sections(value, schema, self.rng, 0.0)
        if nodes is None:
            fields = list(found[0].fields)
            strays = stray_fields(self.taken(), self.source) if self.chance(STRAY) else []
            for stray in [*strays, *(other.field() for other in self.others)]:
                fields.insert(self.rng.choice([0, len(fields), self.rng.randint(0, len(fields))]), stray)
            found[0] = replace(found[0], fields=tuple(fields))
        return found

    def sentences(self, nodes: Sequence[Node] | None = None) -> list[str]:
        """What a person would say of the fields, with a stray remark now and then."""
        manner = replace(self.manner, spoken=True)
        said = told(*outline(self.nodes if nodes is None else nodes, manner, self.title()), self.rng)
        for sentence in [*([self.remark()] if self.chance(STRAY) else []), *(other.sentence for other in self.others)]:
            said.insert(self.rng.randint(0, len(said)), sentence)
        return said

    def chips(self, nodes: Sequence[Node]) -> list[str]:
        """The fields as an advertisement has them: "2 bedrooms", "no pets", "Leeds"."""
        return chips(*outline(nodes, replace(self.manner, spoken=True), self.title()), self.rng, alone=not self.others)

    def about(self) -> str:
        """What the document is about, as one says it."""
        title = self.title().lower()
        nouns = [*table()["nouns"][self.theme], f"the {title}" if not title.startswith("the ") else title]
        return str(self.rng.choice(nouns))

    def remark(self) -> str:
        """A sentence that says nothing asked for."""
        return stray_remark(self.taken(), self.source)

    def filled(self, way: str) -> str:
        """A way with its # as digits and its DAY as a date."""
        return filled(way, self.source)

    def taken(self) -> set[str]:
        """The words of all keys, which no stray may share."""
        steps = {step for path, _ in leaves(as_object(self.nodes)) for step in path if isinstance(step, str)}
        return {word for step in steps for word in words_in(step)}
