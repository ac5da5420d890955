"""Numbers that are no number, or never end, are not written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engines import Fake

from slmbench.core import BadInput, Request
from slmbench.decode.answer import Answer
from slmbench.decode.bounds import LONGEST_NUMBER, Bounds, is_number
from slmbench.decode.grammar import Vocabulary
from slmbench.decode.loop import Decoder
from slmbench.schema import strict_loads, validate


@pytest.mark.parametrize(
    ("partial", "good"),
    [
        ("1", True), ("-12.5", True), ("1e308", True), ("1e309", False), ("-7e99999", False), ("1e", True),
        ("1e+", True), ("0." + "3" * 37, True), ("0." + "3" * 40, False), ("true", True), ("nul", True),
    ],
)  # fmt: skip
def test_is_number(partial: str, good: bool) -> None:
    assert is_number(partial) is good


def bounds(written: str) -> Bounds:
    found = Bounds(chr)
    for char in written:
        found.accept(ord(char))
    return found


def test_a_number_ends() -> None:
    long = "1" * LONGEST_NUMBER
    assert not bounds(f'{{"a":{long}').allows(ord("1"))
    assert bounds(f'{{"a":{long}').allows(ord(","))
    assert bounds(f'{{"a":"{long}').allows(ord("1"))
    logits = np.arange(128, dtype=np.float32)
    mask = np.zeros(128, bool)
    mask[[ord("5"), ord("9"), ord("}")]] = True
    mask[ord("}")] = False
    assert bounds(f'{{"a":{long}').best(logits, mask) is None


class Digits(Fake):
    """Writes digits for ever where it may."""

    def __init__(self, tokenizer: Any, size: int) -> None:
        super().__init__(size)
        self.digits = [tokenizer.token_to_id(str(i)) for i in range(10)]

    def logits(self, before: Any) -> np.ndarray:
        found = super().logits(before)
        found[self.digits] += 50
        return found


@pytest.mark.parametrize("kind", ["number", "integer"])
@pytest.mark.parametrize("drafts", [0, 32])
def test_digits_for_ever_end_in_a_valid_answer(tokenizer: Any, vocabulary: Vocabulary, kind: str, drafts: int) -> None:
    schema = {"type": "object", "properties": {"a": {"type": kind}}, "required": ["a"]}
    decoder = Decoder(Digits(tokenizer, vocabulary.size), tokenizer, vocabulary, draft_tokens=drafts)
    (done,) = decoder.generate([Request("a", (5, 6), 200, schema, "1" * 300)])
    assert done.finish == "stop" and not validate(strict_loads(done.text), schema)
    assert len(done.text) <= LONGEST_NUMBER + len('{"a":}')


def test_what_the_vocabulary_cannot_spell_is_said(tokenizer: Any, tiny_folder: Path, tmp_path: Path) -> None:
    """A vocabulary without a token for one byte: an enum is refused, a string never has the character."""
    described = json.loads((tiny_folder / "tokenizer.json").read_text())
    words = described["model"]["vocab"]
    words["[none]"] = words.pop("\u00f2")  # how byte-level vocabularies write the byte F2
    described["model"]["merges"] = [pair for pair in described["model"]["merges"] if "\u00f2" not in "".join(pair)]
    (tmp_path / "tokenizer.json").write_text(json.dumps(described))
    size = tokenizer.get_vocab_size()
    decoder = Decoder(Fake(size), tokenizer, Vocabulary(tmp_path / "tokenizer.json", size, [2]))
    schema = {"type": "object", "properties": {"a": {"enum": ["b", "\U000b4831"]}}, "required": ["a"]}
    with pytest.raises(BadInput, match=r"the model has no tokens for .*; leave it out of the schema"):
        list(decoder.generate([Request("a", (5,), 9, schema)]))
    schema["properties"] = {"a": {"enum": ["b", "\U0001f600"]}}
    (done,) = decoder.generate([Request("a", (5,), 30, schema)])
    assert done.finish == "stop" and not validate(strict_loads(done.text), schema)


def test_an_answer_that_cannot_go_on_is_an_error(
    tokenizer: Any, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = Answer._choose
    stuck = lambda self, logits: None if len(self.bounds.cursor.partial) > 3 else choose(self, logits)  # noqa: E731
    monkeypatch.setattr(Answer, "_choose", stuck)
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    (done,) = Decoder(Fake(vocabulary.size), tokenizer, vocabulary).generate([Request("a", (5,), 50, schema)])
    assert done.finish == "error" and done.text.startswith('{"a":"')
