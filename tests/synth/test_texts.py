"""Texts for fields of type string."""

from __future__ import annotations

import datetime
import re
from typing import Any

import pytest

from slmbench.synth.fields import Meaning, meaning
from slmbench.synth.kinds import MAKERS, Story
from slmbench.synth.texts import text
from slmbench.synth.values import Source


def story(seed: int = 0, theme: str = "") -> Story:
    return Story(Source(f"texts:{seed}"), datetime.date(2025, 3, 1), theme)


def texts(key: str, schema: dict[str, Any], n: int = 40) -> set[str]:
    schema = {"type": "string", **schema}
    return {text(key, schema, meaning(key, schema), story(seed)) for seed in range(n)}


ARGS = {
    "code": ("@@-##|###",), "pick": ("things",), "date": ("0", "9"), "prose": ("summary",), "year": ("1990", "2025"),
    "pickint": ("5", "10"), "money": ("1", "9"), "int": ("1", "9"), "dec": ("1", "9", "1"), "born": (),
}  # fmt: skip


@pytest.mark.parametrize("kind", MAKERS)
def test_every_kind_has_a_text(kind: str) -> None:
    made = {MAKERS[kind](story(seed), Meaning(kind, ARGS.get(kind, ()))) for seed in range(20)}
    assert len(made) > 1 and all(one.strip() and "#" not in one and "@@" not in one for one in made)


def test_examples_lend_their_shape() -> None:
    made = texts("frob", {"examples": ["AB-123", "on the shelf"]})
    assert "on the shelf" in made and len(made) > 10
    assert sum(re.fullmatch(r"[A-Z]{2}-[1-9]{3}", one) is not None for one in made) > 8


def test_lengths_are_kept() -> None:
    assert all(len(one) <= 4 for one in texts("frob", {"maxLength": 4}))
    assert all(90 <= len(one) <= 120 for one in texts("notes", {"minLength": 90, "maxLength": 120}))


def test_no_document_tells_a_name_twice_while_there_are_others() -> None:
    one, schema = story(), {"type": "string"}
    names = [text("customer_name", schema, meaning("customer_name", schema), one) for _ in range(10)]
    assert len(set(names)) == 10


def test_a_text_comes_again_where_there_is_no_other() -> None:
    one, schema = story(), {"type": "string", "examples": ["the only one"]}
    assert "the only one" in [text("frob", schema, meaning("frob", schema), one) for _ in range(9)][1:]


def test_an_address_is_that_of_the_person_met_last() -> None:
    one, schema = story(), {"type": "string"}
    name = text("applicant_name", schema, meaning("applicant_name", schema), one)
    assert text("contact_email", schema, meaning("contact_email", schema), one) == one.person("nobody").email
    assert one.person("nobody").name == name
