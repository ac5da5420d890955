"""Where values come from: spans spell what they should, rules are named, and what nobody said has none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slmbench import explain as module
from slmbench.explain import pointer, sources


def told(value: Any, text: str, properties: dict[str, Any] | None = None) -> dict[str, tuple[str, str | None]]:
    schema = {"type": "object", "properties": properties or {}}
    return {
        pointer(s.path): (s.rule, None if s.span is None else text[slice(*s.span)])
        for s in sources(value, schema, text)
    }


@pytest.mark.parametrize(
    ("value", "text", "properties", "rule", "said"),
    [
        ("música libre", "add it in my playlist música libre", {}, "verbatim", "música libre"),
        ("New  York", "to New\nYork, please", {}, "verbatim", "New\nYork"),
        ("berlin", "a hotel in Berlin.", {}, "verbatim", "Berlin"),
        (12, "room 112, bed 12.", {}, "verbatim", "12"),
        (1234.5, "it came to $1,234.50 in all", {}, "number_format", "$1,234.50"),
        (24, "She ordered two dozen eggs.", {}, "number_words", "two dozen"),
        ("2026-11-26", "on 26 November 2026, early", {}, "date", "26 November 2026"),
        ("19:05", "The door opens at 7:05 pm.", {}, "time", "7:05 pm"),
        ("in_progress", "State: In progress!", {"enum": ["done", "in_progress"]}, "enum_spelling", "In progress"),
        ("gold", "the best you have", {"enum": ["gold", "tin"]}, "none", None),
        ("Paris", "no town is named", {}, "none", None),
        (True, "newsletter: yes", {}, "boolean_words", "yes"),
        ([], "Children: none", {}, "empty_list", None),
        ("東京", "私は東京に住んでいます", {}, "verbatim", "東京"),
        ("", "nothing at all", {}, "none", None),
    ],
)
def test_a_value_and_where_it_was_read(value: Any, text: str, properties: Any, rule: str, said: str | None) -> None:
    assert told({"x": value}, text, {"x": properties}) == {"/x": (rule, said)}


def test_a_yes_or_no_that_the_schemas_own_words_say() -> None:
    pets = {"pets_allowed": {"type": "boolean", "description": "Whether tenants may keep animals"}}
    text = "A quiet flat. Tenants may not keep animals. Call us."
    assert told({"pets_allowed": False}, text, pets) == {"/pets_allowed": ("boolean_words", "may not keep animals")}
    text = "In this house, tenants may keep animals."
    assert told({"pets_allowed": True}, text, pets) == {"/pets_allowed": ("boolean_words", "may keep animals")}


def test_labels_and_order_tell_equal_values_apart() -> None:
    text = "Seats: 4. Rooms: 4. Price 4 euros."
    found = {s.path: s.span for s in sources({"rooms": 4, "price": 4, "seats": 4}, {}, text)}
    assert found == {("rooms",): (17, 18), ("price",): (26, 27), ("seats",): (7, 8)}
    listed = sources({"names": ["Ann", "Ann"]}, {}, "Ann met Ann.")
    assert [s.span for s in listed] == [(0, 3), (8, 11)]
    again = sources(["Ann", "Ann"], {}, "Ann came.")
    assert [s.span for s in again] == [(0, 3), (0, 3)]


def test_pointers_are_those_of_the_rfc() -> None:
    assert pointer(("a~b", 0, "c/d")) == "/a~0b/0/c~1d" and pointer(()) == ""


def test_a_long_document_is_not_searched_for_long() -> None:
    text = "word " * 100_000 + "two dozen"
    (found,) = sources({"n": 24}, {}, text)
    assert found.rule == "number_words" and found.span is None


def test_a_search_is_bounded_and_may_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    text, value = "two dozen eggs of three dozen hens", {"eggs": 24, "hens": 36}
    calls: list[None] = []
    found = [source.span for source in sources(value, {}, text, lambda: calls.append(None))]
    assert found == [(0, 9), (18, 29)] and len(calls) > 20
    for steps in range(len(calls)):
        with pytest.raises(IndexError):
            sources(value, {}, text, ([None] * steps).pop)
    monkeypatch.setattr(module, "MOST_WINDOWS", 30)
    bounded = sources(value, {}, text)
    assert [source.span for source in bounded] == [(0, 9), None]
    assert [source.rule for source in bounded] == ["number_words", "number_words"]


LETTERS = st.sampled_from("abAB1 .,-\n日本é")


@settings(deadline=None)  # a machine with other work is slow
@given(st.lists(st.text(LETTERS, min_size=1, max_size=6), min_size=1, max_size=6), st.text(LETTERS, max_size=60))
def test_spans_lie_in_the_text(values: list[str], text: str) -> None:
    for source in sources({"v": values}, {}, text):
        if source.span:
            begin, end = source.span
            assert 0 <= begin < end <= len(text)
            assert text[begin:end].lower().split() == str(source.value).lower().split()
