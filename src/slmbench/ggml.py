"""A Llama-shaped model as a GGUF file, the format of llama.cpp: tensors under its names, and the tokenizer inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

ARCHITECTURES = {"llama": True, "qwen2": False}
"""model_type of a config -> whether llama.cpp turns neighbouring channels of a head instead of its two halves, so that
the rows of queries and keys have another order."""
LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITTERS = {_SPLIT % "{1,3}": "llama-bpe", _SPLIT % "": "qwen2"}
"""How a tokenizer cuts a text before it merges, and what llama.cpp calls that."""


def write(tensors: Mapping[str, np.ndarray], config: Mapping[str, Any], tokenizer: Path, kind: str, path: Path) -> None:
    """Write a model.

    Args:
        tensors: weights by transformers' names, [out, in].
        config: its config.json.
        tokenizer: its tokenizer.json: byte-level BPE.
        kind: of matrices: "f16" or "q8_0"; vectors stay fp32.

    Raises ValueError where llama.cpp has no such model or tokenizer.
    """
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quantize

    architecture = str(config["model_type"])
    if architecture not in ARCHITECTURES:
        raise ValueError(f"models of type {architecture} are not written as GGUF")
    heads = int(config["num_attention_heads"])
    shared = int(config.get("num_key_value_heads") or heads)
    head = int(config.get("head_dim") or config["hidden_size"] // heads)
    rope = config.get("rope_parameters") or {}
    if rope.get("rope_type", "default") != "default":
        raise ValueError(f"positions of type {rope['rope_type']} are not written as GGUF")
    file = GGUFWriter(path, architecture)
    file.add_name(path.stem)
    file.add_block_count(int(config["num_hidden_layers"]))
    file.add_context_length(int(config["max_position_embeddings"]))
    file.add_embedding_length(int(config["hidden_size"]))
    file.add_feed_forward_length(int(config["intermediate_size"]))
    file.add_head_count(heads)
    file.add_head_count_kv(shared)
    file.add_key_length(head)
    file.add_value_length(head)
    file.add_rope_dimension_count(head)
    file.add_rope_freq_base(float(rope.get("rope_theta") or config.get("rope_theta") or 10_000))
    file.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    file.add_vocab_size(int(config["vocab_size"]))
    _add_tokenizer(file, json.loads(tokenizer.read_text()), config)
    wanted = GGMLQuantizationType.Q8_0 if kind == "q8_0" else GGMLQuantizationType.F16
    file.add_file_type(7 if kind == "q8_0" else 1)
    for name, values in tensors.items():
        stem, part = name.rsplit(".", 1)
        new = np.ascontiguousarray(values, np.float32)
        if ARCHITECTURES[architecture] and stem.endswith(("q_proj", "k_proj")):
            new = _neighbours(new, head)
        target = f"{_name(stem)}.{part}"
        if new.ndim == 1:
            file.add_tensor(target, new)
        else:
            file.add_tensor(target, quantize(new, wanted), raw_dtype=wanted)
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


def _name(stem: str) -> str:
    if stem in OUTSIDE:
        return OUTSIDE[stem]
    _, _, layer, rest = stem.split(".", 3)
    return f"blk.{layer}.{LAYER[rest]}"


def _neighbours(values: np.ndarray, head: int) -> np.ndarray:
    """Rows of heads in two halves, as rows whose channels 2i and 2i + 1 were i and i + head / 2."""
    shape = values.shape
    return np.ascontiguousarray(values.reshape(-1, 2, head // 2, *shape[1:]).swapaxes(1, 2).reshape(shape))


def _add_tokenizer(file: Any, tokenizer: dict[str, Any], config: Mapping[str, Any]) -> None:
    from gguf import TokenType

    model = tokenizer["model"]
    if model.get("type") != "BPE" or "ByteLevel" not in json.dumps(tokenizer.get("pre_tokenizer")):
        raise ValueError("tokenizers other than byte-level BPE are not written as GGUF")
    size = int(config["vocab_size"])
    tokens = [f"[PAD{i}]" for i in range(size)]
    kinds = [int(TokenType.UNUSED)] * size
    for token, i in model["vocab"].items():
        tokens[i], kinds[i] = token, int(TokenType.NORMAL)
    for added in tokenizer.get("added_tokens", ()):
        tokens[added["id"]] = added["content"]
        kinds[added["id"]] = int(TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED)
    file.add_tokenizer_model("gpt2")
    file.add_tokenizer_pre(_splitter(tokenizer["pre_tokenizer"]))
    file.add_token_list(tokens)
    file.add_token_types(kinds)
    file.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in model["merges"]])
    for key, add in (
        ("bos_token_id", file.add_bos_token_id), ("eos_token_id", file.add_eos_token_id),
        ("pad_token_id", file.add_pad_token_id),
    ):  # fmt: skip
        if isinstance(config.get(key), int):
            add(config[key])
    file.add_add_bos_token(False)


def _splitter(described: dict[str, Any]) -> str:
    """llama.cpp's name for a tokenizer's way of cutting a text. Raises ValueError where it has none."""
    steps = described.get("pretokenizers", [described])
    kinds = [step["type"] for step in steps]
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits"):
        return "smollm"
    if kinds == ["Split", "ByteLevel"] and (known := SPLITTERS.get(steps[0]["pattern"].get("Regex", ""))):
        return known
    raise ValueError(f"a tokenizer that cuts texts by {' and '.join(kinds)} is not written as GGUF")
