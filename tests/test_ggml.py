"""GGUF files: what stands in them, and what cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slmbench import ggml

CONFIG: dict[str, Any] = {
    "model_type": "llama", "num_hidden_layers": 1, "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}, "eos_token_id": 2,
}  # fmt: skip


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0).normal
    at = "model.layers.0"
    return {
        "model.embed_tokens.weight": draw(size=(320, 64)),
        "model.norm.weight": draw(size=64),
        f"{at}.input_layernorm.weight": draw(size=64),
        f"{at}.self_attn.q_proj.weight": draw(size=(64, 64)),
        f"{at}.self_attn.k_proj.weight": draw(size=(32, 64)),
        f"{at}.mlp.down_proj.weight": draw(size=(64, 96)),
    }


def config(tiny_folder: Path, **changes: Any) -> dict[str, Any]:
    size = len(json.loads((tiny_folder / "tokenizer.json").read_text())["model"]["vocab"]) + 8
    return {**CONFIG, "vocab_size": size, **changes}


@pytest.mark.parametrize("kind", ["f16", "q8_0"])
def test_what_stands_in_a_file(tensors: dict[str, np.ndarray], tiny_folder: Path, tmp_path: Path, kind: str) -> None:
    from gguf import GGUFReader
    from gguf.quants import dequantize

    path = tmp_path / "model.gguf"
    ggml.write(tensors, config(tiny_folder), tiny_folder / "tokenizer.json", kind, path)
    read = GGUFReader(path)
    fields = {name: field.contents() for name, field in read.fields.items()}
    assert fields["general.architecture"] == "llama" and fields["llama.rope.freq_base"] == 5000
    assert fields["tokenizer.ggml.pre"] == "gpt-2" and fields["tokenizer.ggml.eos_token_id"] == 2
    assert len(fields["tokenizer.ggml.tokens"]) == config(tiny_folder)["vocab_size"]
    found = {tensor.name: dequantize(tensor.data, tensor.tensor_type) for tensor in read.tensors}
    assert set(found) == {
        "token_embd.weight", "output_norm.weight", "blk.0.attn_norm.weight", "blk.0.attn_q.weight",
        "blk.0.attn_k.weight", "blk.0.ffn_down.weight",
    }  # fmt: skip
    near = {"atol": 2e-2 if kind == "q8_0" else 2e-3}
    down = tensors["model.layers.0.mlp.down_proj.weight"]
    np.testing.assert_allclose(found["blk.0.ffn_down.weight"], down, **near)
    np.testing.assert_array_equal(found["output_norm.weight"], tensors["model.norm.weight"].astype(np.float32))
    # Channel 2i of a head was i, 2i + 1 was i + 8: in every head.
    query, got = tensors["model.layers.0.self_attn.q_proj.weight"], found["blk.0.attn_q.weight"]
    for head in range(4):
        for i in range(8):
            np.testing.assert_allclose(got[16 * head + 2 * i], query[16 * head + i], **near)
            np.testing.assert_allclose(got[16 * head + 2 * i + 1], query[16 * head + i + 8], **near)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"model_type": "mamba"}, "models of type mamba"), ({"rope_parameters": {"rope_type": "yarn"}}, "of type yarn")],
)
def test_other_models_are_said(
    tensors: dict[str, np.ndarray], tiny_folder: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        ggml.write(
            tensors, config(tiny_folder, **changes), tiny_folder / "tokenizer.json", "f16", tmp_path / "model.gguf"
        )
    assert list(tmp_path.iterdir()) == []


def test_how_a_tokenizer_cuts_texts() -> None:
    def split(digits: str) -> dict[str, Any]:
        regex = {"Regex": ggml._SPLIT % digits}
        return {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": regex}, {"type": "ByteLevel"}]}

    smollm = [{"type": "Digits", "individual_digits": True}, {"type": "ByteLevel", "use_regex": True}]
    assert ggml._splitter({"type": "ByteLevel", "use_regex": True}) == "gpt-2"
    assert ggml._splitter({"type": "Sequence", "pretokenizers": smollm}) == "smollm"
    assert (ggml._splitter(split("{1,3}")), ggml._splitter(split(""))) == ("llama-bpe", "qwen2")
    with pytest.raises(ValueError, match="cuts texts by Whitespace"):
        ggml._splitter({"type": "Whitespace"})
