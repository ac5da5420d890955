"""What descriptions say: words for values, yes and no, ways to say a value, what it is not."""

from __future__ import annotations

from typing import Any

import pytest

from slmbench.synth.clauses import Unmeant, dress, heads, unmeant, ways
from slmbench.synth.derive import derive
from slmbench.synth.fields import meaning, words_in
from slmbench.synth.statements import statements
from slmbench.synth.synonyms import said

HOMES = ["flat", "house", "studio"]


@pytest.mark.parametrize(
    "description, options, synonyms",
    [
        (
            "flat (also apartment, loft), house (also cottage)",
            HOMES,
            {"flat": ("apartment", "loft"), "house": ("cottage",)},
        ),
        ("a flat (or loft) or studio (bedsit)", HOMES, {"flat": ("loft",), "studio": ("bedsit",)}),
        (
            "iPhone and iPad count as ios, Ubuntu, Debian as linux",
            ["ios", "linux"],
            {"ios": ("iPhone", "iPad"), "linux": ("Ubuntu", "Debian")},
        ),
        (
            "water (also waste water, well or tap water)",
            ["water", "air"],
            {"water": ("waste water", "well water", "tap water")},
        ),
        ("in_transit (also on the way)", ["in_transit"], {"in_transit": ("on the way",)}),
        ("flat (not a house)", HOMES, {}),
        ("flat (also home), house (also home)", HOMES, {}),
        ("flat (also studio house)", HOMES, {}),
        ("Kind of home", HOMES, {}),
    ],
)
def test_synonyms_of_options(description: str, options: list[str], synonyms: dict[str, tuple[str, ...]]) -> None:
    found = said({"enum": options, "description": description}).synonyms
    assert found == {f'"{option}"': words for option, words in synonyms.items()}


def test_explanations_of_options_are_clauses() -> None:
    text = (
        "crash: the program closes by itself; freeze: it stays open and dead; studio (one room to live in, also bedsit)"
    )
    schema = {"enum": ["crash", "freeze", "studio"], "description": text}
    found = said(schema)
    assert found.explanations['"crash"'] == "the program closes by itself"
    assert found.explanations['"studio"'] == "one room to live in"
    assert derive("crash", "Then the program closes by itself.", schema) == "enum_spelling"
    assert derive("freeze", "My screen stays open and dead!", schema) == "enum_spelling"
    assert derive("freeze", "The program closes by itself.", schema) is None
    assert derive("studio", "A nice Bedsit", schema) == "enum_spelling"


def test_words_for_numbers() -> None:
    schema = {"type": "integer", "description": "How many times it was run (1 for a single run, 2 for in duplicate)"}
    assert said(schema).synonyms == {"1": ("single run",), "2": ("in duplicate",)}
    assert derive(2, "measured in duplicate", schema) == "number_words"
    assert derive(2, "It was run twice", schema) == "number_words"
    assert derive(2, "It was run twice", {"type": "integer", "description": "Number of pages"}) is None
    assert derive(1, "measured in duplicate", schema) is None


@pytest.mark.parametrize(
    "key, description, yes, no",
    [
        ("pets", "Whether tenants may keep animals", "Tenants may keep animals.", "You may not keep animals."),
        ("way", "Whether the reporter knows a way", "She knows a way", "He doesn't know a way"),
        ("ok", "True if every result lies inside", "every result lies inside", "Not every result lies inside."),
        ("b", "Whether the home has a balcony", "The home has a balcony", "The home has no balcony"),
        ("l", "Whether applicants must drive well", "applicants must drive well", "They need not drive well"),
        ("p", "Whether the police were informed; or not", "Police were informed", "The police weren't informed"),
        ("f", "Says whether leftovers can be frozen", "leftovers can be frozen", "leftovers can't be frozen"),
        ("pets_allowed", "", "pets are allowed", "Sorry, no pets"),
        ("pets_allowed", "", "Pets: allowed", "Pets: not allowed"),
        ("workaround_known", "", "A workaround is known.", "No workaround is known."),
        ("hasBalcony", "", "There is a balcony", "It is without balcony"),
        ("is_furnished", "", "It is furnished", "It is not furnished"),
        ("damaged", "", "It is damaged", "It is undamaged"),
    ],
)  # fmt: skip
def test_a_yes_and_a_no_are_told_apart(key: str, description: str, yes: str, no: str) -> None:
    schema = {"type": "boolean", "description": description}
    assert derive(True, yes, schema, key) == "boolean_words"
    assert derive(True, no, schema, key) is None
    assert derive(False, no, schema, key) == "boolean_words"
    assert derive(False, yes, schema, key) is None


@pytest.mark.parametrize(
    "key, description", [("a", "Whether running costs"), ("b", "If any"), ("c", "Flag"), ("no_pets", "")]
)
def test_what_cannot_be_said_is_left_alone(key: str, description: str) -> None:
    found = statements(tuple(words_in(key)), description)
    assert not found.yes and not found.no


@pytest.mark.parametrize(
    "description, way",
    [
        ("Day on which the sample was taken, not the day it was received", "the sample was taken on {}"),
        ("First day on which a tenant can move in", "a tenant can move in from {}"),
        ("Temperature at which it is or was kept; left out where unknown", "it is kept at {}"),
        ("Running costs that the rent already covers, one entry each", "the rent already covers {}"),
        ("Name of the person who did the work, without a title", "{} did the work"),
        ("How many times the driver was reminded", "the driver was reminded {} times"),
        ("How many people were hurt", "{} people were hurt"),
        ("What was measured, as written", "{} was measured"),
        ("When the order was placed", "the order was placed on {}"),
        ("Name of the person to contact", "the person to contact is {}"),
        ("Number of bedrooms", "there are {} bedrooms"),
    ],
)
def test_ways_to_say_a_value(description: str, way: str) -> None:
    assert way in ways(description)


@pytest.mark.parametrize(
    "description, found",
    [
        ("Day it came, not when it was received, seen or sent", Unmeant(("received", "seen", "sent"))),
        ("Number; not an order, lot or user number", Unmeant(("order number", "lot number", "user number"))),
        ("Rent for a month, without deposit, fees or parking", Unmeant(("deposit", "fees", "parking"))),
        ("Results; limits and results of others do not belong here", Unmeant(("limits", "results of others"))),
        ("Models; devices on which all is well are left out", Unmeant((), ("all is well on {}",))),
        ("Unit as written; left out where it is not given", Unmeant()),
        ("Name of the doctor, without a title such as Dr", Unmeant()),
    ],
)  # fmt: skip
def test_what_a_field_is_not(description: str, found: Unmeant) -> None:
    assert unmeant(description) == found


@pytest.mark.parametrize(
    "description", ["Whether at least one exit was blocked", "Whether the car has no damage", "If true, it is an admin"]
)
def test_what_denied_would_say_something_else_is_not_said(description: str) -> None:
    assert statements(("is_so",), description) == statements(("is_so",), "")


def test_another_things_no_is_no_no() -> None:
    field = {"type": "boolean", "description": "Whether smoking is allowed"}
    assert derive(False, "Smoking is fine. The dog is not allowed.", field) is None
    assert derive(False, "It is cosy, and smoking is not allowed.", field) == "boolean_words"


def test_white_space_in_a_description_takes_no_time() -> None:
    assert ways(" " * 5_000 + "name of the vet") is not None


def test_what_stands_around_a_value() -> None:
    assert ("Mrs ", "") in dress("Name, without a title such as Mrs or Dr")
    assert ("v", "") in dress("Version, without the letter v")
    assert dress("Costs, without articles") == (("the ", ""),)
    assert dress("Rent, without fees") == ()


@pytest.mark.parametrize(
    "key, schema, kind",
    [
        ("quantity", {"description": "What was measured, as written"}, ("pick", "analytes")),
        ("quantity", {}, ("pick", "quantities")),
        ("count", {"description": "Number of pieces as a text"}, ("int", "1")),
        ("product", {"description": "Name of the program or app that fails"}, ("pick", "apps")),
        ("devices", {"description": "Each computer, tablet or phone model on which it fails"}, ("pick", "devices")),
        ("lot", {"description": "Name of the person who drew it"}, ("person",)),
        ("vin", {"description": "Number or code of the car"}, ("code", "WVWZZZ###@@######|VF1##############")),
        ("phone", {"description": "Number to call"}, ("phone",)),
        ("lid", {"description": "Colour of the lid"}, ("pick", "colours")),
        ("zork", {"description": "Grommet of the lid"}, ("pick", "things")),
    ],
)  # fmt: skip
def test_type_and_description_rule_over_the_name(key: str, schema: dict[str, Any], kind: tuple[str, ...]) -> None:
    found = meaning(key, {"type": "string", **schema})
    assert (found.kind, *found.args[:1]) == kind


def test_nouns_of_a_description() -> None:
    assert heads("Each computer, tablet or phone model on which the fault occurs") == ("computer", "tablet", "model")
    assert heads("Name of the ingredient without its amount") == ("ingredient",)
