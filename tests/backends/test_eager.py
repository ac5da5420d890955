"""The engine on PyTorch: the model's own logits, however a text is cut, and the same loop over it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slmbench.backends.eager import EagerEngine
from slmbench.core import Request
from slmbench.decode.grammar import Vocabulary
from slmbench.decode.loop import Decoder, Part
from slmbench.schema import strict_loads, validate

IDS = [int(i) for i in np.random.default_rng(0).integers(3, 250, 60)]


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_folder, dtype="float32").eval()


def test_logits_are_those_of_the_model(model: Any) -> None:
    import torch

    with torch.inference_mode():
        expected = model(input_ids=torch.tensor([IDS])).logits[0].numpy()
    engine = EagerEngine(model)
    for cuts in ((0, 60), (0, 1, 2, 40, 60), (0, 33, 35, 60)):
        for begin, end in itertools.pairwise(cuts):
            (got,) = engine.forward([Part(0, IDS[begin:end], begin, end - begin)])
            np.testing.assert_allclose(got, expected[begin:end], atol=1e-4)
    kept = engine.keep(0, 25)
    engine.forward([Part(0, IDS[::-1], 0, 1)])
    engine.restore(0, kept)
    (got,) = engine.forward([Part(0, IDS[25:], 25, 35)])
    np.testing.assert_allclose(got, expected[25:], atol=1e-4)


def test_drafts_change_nothing(model: Any, tiny_folder: Path) -> None:
    from tokenizers import Tokenizer

    path = tiny_folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    schema = {
        "type": "object",
        "properties": {"a": {"enum": ["x", "yy"]}, "b": {"type": "boolean"}},
        "required": ["a", "b"],
    }
    asked = [Request("a", tuple(IDS), 60, schema, "b is yes, a is yy")]
    answers = []
    for most in (0, 32):
        vocabulary = Vocabulary(path, tokenizer.get_vocab_size(), [2])
        answers += Decoder(EagerEngine(model), tokenizer, vocabulary, draft_tokens=most).generate(asked)
    assert answers[0].token_ids == answers[1].token_ids and answers[0].finish == "stop"
    assert validate(strict_loads(answers[0].text), schema) == []
