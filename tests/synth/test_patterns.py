"""Texts that a regular expression matches."""

from __future__ import annotations

import re

import pytest

from slmbench.synth.patterns import matching
from slmbench.synth.values import Source


@pytest.mark.parametrize(
    "pattern",
    [
        r"^[A-Z]{2}-\d{3,5}(/[a-f]+)?$", r"^(foo|ba[rz])\s\w+$", r"^([01]\d|2[0-3]):[0-5]\d$", r"^[^a-z\d]{3}[^x].$",
        r"^(\w)-\1$", r"^\D\W\S+?$", r"^a{2,}b*$", r"^(?:x|y)?z\b",
    ],
)  # fmt: skip
def test_texts_match(pattern: str) -> None:
    for turn in range(30):
        assert re.search(pattern, matching(pattern, Source(f"pattern:{turn}"))), pattern


@pytest.mark.parametrize("pattern", ["(", r"^[^\w .\-/\x00-\U0001ffff]$", r"(a)?(?(1)b|c)"])
def test_what_cannot_be_read_is_said(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        matching(pattern, Source("pattern"))
