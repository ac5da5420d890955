"""The cursor knows where in a JSON text it stands, however the text is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmbench.decode.cursor import Cursor, plain, spelt

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def at(text: str) -> Cursor:
    cursor = Cursor()
    cursor.feed(text)
    return cursor


@pytest.mark.parametrize(
    ("text", "place", "path", "partial"),
    [
        ("", "value", (), ""),
        ("{", "key", ("",), ""),
        ('{"na', "key", ("",), "na"),
        ('{"name"', "after", ("name",), ""),
        ('{"name":', "value", ("name",), ""),
        ('{"name":"A\\"b', "string", ("name",), 'A\\"b'),
        ('{"name":"Ab",', "key", ("name",), ""),
        ('{"n":12', "scalar", ("n",), "12"),
        ('{"a":[', "value", ("a", None), ""),
        ('{"a":[{"b":1}', "after", ("a", None), ""),
        ('{"a":[{"b":1},{"c":"', "string", ("a", None, "c"), ""),
        ('{"a":{"b":[1,2]}', "after", ("a",), ""),
        ('{"a":1}', "after", (), ""),
        ('{"a":"}{[],:"', "after", ("a",), ""),
    ],
)
def test_where_a_text_stands(text: str, place: str, path: tuple[Any, ...], partial: str) -> None:
    cursor = at(text)
    assert (cursor.place, cursor.path, cursor.partial) == (place, path, partial)


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in strings(item)]
    return [text for item in value for text in strings(item)] if isinstance(value, list) else []


@given(VALUES, st.integers(0, 100))
def test_pieces_are_as_the_whole(value: Any, cut: int) -> None:
    text = json.dumps({"value": value}, ensure_ascii=False, separators=(",", ":"))
    cursor = at(text[:cut])
    other = cursor.clone()
    cursor.feed(text[cut:])
    assert (cursor.frames, cursor.place, cursor.closed) == ([], "after", strings(value))
    other.feed(text[cut:])
    assert other.closed == cursor.closed


def test_a_clone_goes_on_by_itself() -> None:
    cursor = at('{"a":"x"')
    other = cursor.clone()
    other.feed(',"b":"y"}')
    assert cursor.path == ("a",) and cursor.closed == ["x"] and other.closed == ["x", "y"]


@given(st.text())
def test_spelling_and_back(text: str) -> None:
    assert plain(spelt(text)) == text


def test_half_an_escape_stays_as_it_is() -> None:
    assert plain("a\\") == "a\\" and plain("\\u00") == "\\u00"
