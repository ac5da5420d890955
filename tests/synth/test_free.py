"""Values put together from templates."""

from __future__ import annotations

import re

from slmbench.synth import free
from slmbench.synth.values import Source


def test_every_template_can_be_filled() -> None:
    known, source = free.words(), Source("free")
    for name, templates in known["made"].items():
        for template in templates:
            text = free.filled(template, source, ["lid"], ["anything"])
            assert text.strip() == text and text and not re.search(r"[{}#@|;]", text), (name, template, text)


def test_slots() -> None:
    source = Source("slots")
    assert free.filled("{heads} ## @", source, ["box"]).startswith("boxes ")
    assert re.fullmatch(r"[1-9]\d-[A-HJ-NP-Z]", free.shaped("##-@", source))
    assert free.filled("{Adj}", source)[0].isupper()
    assert free.plural("battery") == "batteries" and free.plural("key") == "keys"


def test_names_and_codes_are_many() -> None:
    source = Source("many")
    assert len({free.invented(source) for _ in range(2000)}) > 1500
    assert len({free.code(source) for _ in range(2000)}) > 1800
    assert len({free.made("things", source, choices=["x"]) for _ in range(3000)}) > 2500


def test_kinds_of_nouns_are_known() -> None:
    from slmbench.synth.fields import table
    from slmbench.synth.kinds import MAKERS

    for noun, kind in free.words()["heads"].items():
        name, *args = kind.split()
        assert name in MAKERS and (name != "pick" or free.makes(args[0]) or args[0] in table()["choices"]), noun
