"""Each rule by which a value follows from a text, with what it accepts and what it must not."""

from __future__ import annotations

from typing import Any

import pytest

from slmbench.synth.derive import derive

FOLLOWS: list[tuple[Any, str, str]] = [
    ("foo bar", "a foo\n   bar b", "verbatim"),
    ("cm", "40cm wide", "verbatim"),
    ("東京", "私は東京に住む", "verbatim"),
    ('say "hi" \\ there', 'He would say "hi" \\ there.', "verbatim"),
    ("", 'note=""', "verbatim"),
    (12.5, "12.5 %", "verbatim"),
    (21.4, "it is 21.4°C", "verbatim"),
    (-3.5, "now -3.5 degrees", "verbatim"),
    (12, "A-17,12,4.5", "verbatim"),
    (1e-07, "0.0000001 mol", "verbatim"),
    (None, "null", "verbatim"),
    (1234.5, "$1,234.50", "number_format"),
    (1234.5, "1,234.5 USD", "number_format"),
    (1234567, "€ 1,234,567", "number_format"),
    (45, "45.00", "number_format"),
    (-3.5, "−3.5 °C", "number_format"),
    (-3.5, "-$3.50", "number_format"),
    (24, "two dozen", "number_words"),
    (24, "Twenty-Four", "number_words"),
    (24, "twenty four eggs", "number_words"),
    (12, "a dozen", "number_words"),
    (6, "half a dozen", "number_words"),
    (2, "a couple of", "number_words"),
    (0, "zero", "number_words"),
    (100, "a hundred", "number_words"),
    (342, "three hundred and forty-two", "number_words"),
    (999, "nine hundred ninety-nine", "number_words"),
    *[
        ("2024-03-05", text, "date")
        for text in (
            *("5 March 2024", "March 5, 2024", "5 Mar 2024", "Mar 5, 2024", "05.03.2024", "2024/03/05"),
            *("Tuesday, 5 March 2024", "5th of March 2024", "on MARCH 5th, 2024."),
        )
    ],
    ("15:05", "at 3:05 pm", "time"),
    ("15:05:00", "3:05 PM", "time"),
    ("15:05:00", "15:05", "time"),
    ("15:05", "15.05 h", "time"),
    ("15:00", "at 3 p.m. sharp", "time"),
    ("00:30", "12:30 am", "time"),
    ("2024-03-05T15:05:00Z", "2024-03-05 15:05 UTC", "datetime"),
    ("2024-03-05T15:05:00Z", "5 March 2024 at 3:05 pm UTC", "datetime"),
    ("2024-03-05T15:05:00+02:00", "15:05 UTC+2 on 5 March 2024", "datetime"),
    ("2024-03-05T15:05:07", "[2024/03/05 15:05:07]", "datetime"),
    (True, "Paid: yes", "boolean_words"),
    (False, "unpaid", "boolean_words"),
    (True, "[x] urgent", "boolean_words"),
    (False, "[ ] urgent", "boolean_words"),
    (True, "Is Read: True", "boolean_words"),
    ([], "Tags: none", "empty_list"),
    ([], "Tags: -\nName: x", "empty_list"),
    ([], "a | - | b", "empty_list"),
    ([], "There were no injuries.", "empty_list"),
    ({}, "Extra: n/a", "empty_list"),
]

DOES_NOT_FOLLOW: list[tuple[Any, str]] = [
    ("Al", "Also"),
    ("Either", "either"),
    ("2", "12"),
    ("", "nothing"),
    (3, "13 or 31"),
    (3, "v3.5"),
    (3.5, "-3.5"),
    (3.5, "−3.5"),
    (3, "7-03"),
    (-3, "7-3"),
    (4, "twenty-four"),
    (6, "sixteen"),
    (12, "half a dozen"),
    (1, "true"),
    (True, "1"),
    (True, "inactive"),
    (False, "nothing"),
    ("2024-05-03", "05.03.2024"),
    ("2024-02-30", "30 February 2024"),
    ("15:05", "3:05 am"),
    ("15:05", "15.05"),
    ("15:05:30", "15:05"),
    ("2024-03-05T15:05:00Z", "5 March 2024 at 3:05 pm"),
    ("2024-03-05T15:05:00+02:00", "5 March 2024 at 3:05 pm UTC"),
    ("2024-03-05T15:05:00", "On 5 March 2024 we met; much later, after a long dinner and a walk, at 15:05."),
    ("in_progress", "In progress"),
    ([], "- a\n- b"),
    ({}, "Extra:\nName: x"),
    (None, "nothing"),
]


@pytest.mark.parametrize(("value", "text", "rule"), FOLLOWS)
def test_a_value_follows_by_its_rule(value: Any, text: str, rule: str) -> None:
    assert derive(value, text, {}) == rule


@pytest.mark.parametrize(("value", "text"), DOES_NOT_FOLLOW)
def test_a_value_does_not_follow(value: Any, text: str) -> None:
    assert derive(value, text, {}) is None


@pytest.mark.parametrize("text", ["In progress", "IN-PROGRESS", "it is in  progress now"])
def test_enum_spelling(text: str) -> None:
    schema = {"enum": ["open", "in_progress"]}
    assert derive("in_progress", text, schema) == "enum_spelling"
    assert derive("in_progress", "main progress", schema) is None


def test_phrases_of_the_schema() -> None:
    schema = {"x-true": ["was shipped"], "x-false": ["is still here"], "x-empty": ["nobody came"]}
    assert derive(True, "It Was  shipped.", schema) == "boolean_words"
    assert derive(False, "It is still here.", schema) == "boolean_words"
    assert derive(True, "It is still here.", schema) is None
    assert derive([], "Nobody came.", schema) == "empty_list"
