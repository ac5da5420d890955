"""What documents show of values, and how they say it."""

from __future__ import annotations

import random

import pytest

from slmbench.synth.fields import Meaning
from slmbench.synth.outline import outline
from slmbench.synth.shown import Manner, money, shown
from slmbench.synth.speech import bare
from slmbench.synth.talk import told
from slmbench.synth.tree import Node
from slmbench.synth.values import Source
from slmbench.synth.wording import agreed, is_noun, named


def manner(seed: int, *, spoken: bool = False) -> Manner:
    return Manner(Source(f"talk:{seed}"), "EUR {}", cents=True, grouped=True, blocks=False, spoken=spoken)


def leaf(key: str, value: object, kind: str = "pick", unit: str = "", **schema: object) -> Node:
    return Node(key, schema, Meaning(kind, labels=(key,), unit=unit), value)


@pytest.mark.parametrize(
    "node, ways",
    [
        (leaf("rent", 1250, "money"), {"1,250.00", "EUR 1,250.00"}),
        (leaf("area", 40, "int", "m²"), {"40", "40 m²"}),
        (leaf("year", 1999, "year"), {"1999"}),
        (leaf("state", "in_use", enum=["in_use"]), {"in_use", "in use", "In use", "IN USE"}),
        (leaf("at", "15:05"), {"15:05", "3:05 pm"}),
        (leaf("at", "15:05:30"), {"15:05:30"}),
        (leaf("grid", [[1, 2], [3]]), {"1, 2; 3", "1, 2 / 3"}),
        (leaf("flags", [True, False]), {"yes, no", "yes / no", "yes; no"}),
        (leaf("none", None), {"null"}),
        (leaf("none", {}), {"none"}),
    ],
)
def test_values_are_written_in_these_ways(node: Node, ways: set[str]) -> None:
    assert {shown(node, manner(seed)) for seed in range(60)} == ways


def test_currencies_are_signs_or_codes() -> None:
    assert {money("EUR", random.Random(seed)) for seed in range(60)} == {"€{}", "EUR {}", "{} EUR"}
    assert money("", random.Random(1)) == "{}"


def test_a_list_in_a_list_is_one_text_and_no_label_comes_twice() -> None:
    inner = Node("parts", {}, Meaning("pick", labels=("parts",)), items=[[leaf("x", "bolt")], [leaf("x", "nut")]])
    rows = Node("entries", {}, Meaning("pick", labels=("entries",)), items=[[leaf("a b", 1), leaf("a-b", 2), inner]])
    value, schema = outline([rows, leaf("x", 1), leaf("X", 2)], manner(1), "things")
    assert value["entries"][0]["parts"] == "bolt; nut"
    assert schema["properties"]["entries"]["items"]["title"] == "entry"
    assert {"x", "x_x"} <= set(value)


def test_sentences_hold_every_value_and_the_schemas_own_words() -> None:
    for seed in range(40):
        spoken = manner(seed, spoken=True)
        paid = leaf("paid", True, "bool", **{"x-true": ["is paid"]})
        where = Node(
            "place", {}, Meaning("pick", labels=("place",)), children=[leaf("room", "B12"), leaf("floor", "ground")]
        )
        nodes = [leaf("colour", "red"), paid, where, leaf("", False, "bool"), leaf("tags", [])]
        text = bare(" ".join(told(*outline(nodes, spoken, "thing"), spoken.source.rng)))
        assert all(word in text for word in ("red", "It is paid.", "B12", "ground")), text


@pytest.mark.parametrize("label, noun", [("by", False), ("seen by", False), ("amount due", True), ("how many", False)])
def test_nouns(label: str, noun: bool) -> None:
    assert is_noun(label) == noun


def test_verbs_agree_with_labels() -> None:
    assert agreed(named("{L} is {}.", "goods"), "Goods") == "Goods are {}."
    assert agreed("The status is {}.", "status") == "The status is {}."
    assert agreed("The number of rooms is {}.", "rooms") == "The number of rooms is {}."
