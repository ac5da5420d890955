"""The forms that a merged model can be written in, and the backend that runs each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmbench.core import SlmbenchError
from slmbench.files import json_text, write_atomic

if TYPE_CHECKING:
    import numpy as np

TOKENIZER_FILES = ("tokenizer_config.json", "special_tokens_map.json", "generation_config.json", "chat_template.jinja")
"""What transformers reads besides weights, config.json and tokenizer.json, where a base has it."""


@dataclass(frozen=True)
class Merged:
    """A model to be written.

    Args:
        tensors: weights in fp32 by transformers' names, [out, in].
        config: its config.json.
        base: the folder with its tokenizer.
        frequencies: of its rotary positions [head / 2].
    """

    tensors: Mapping[str, np.ndarray]
    config: Mapping[str, Any]
    base: Path
    frequencies: np.ndarray


@dataclass(frozen=True)
class Form:
    """What a form is, what writes its model file, the backend that runs it, whether activations are rounded to 8 bits
    too, files of the base that it needs besides, and what its config says besides."""

    says: str
    write: Callable[[Merged, Path], None]
    backend: str
    rounded: bool = True
    files: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)


def write(form: Form, model: Merged, folder: Path) -> None:
    """All files of a form but the manifest. Raises ValueError where the form cannot hold such a model."""
    form.write(model, folder)
    rope = model.config.get("rope_parameters") or {}
    # Older readers look for it here, and silently take another where it is missing.
    older = {"rope_theta": rope["rope_theta"]} if "rope_theta" in rope else {}
    write_atomic(folder / "config.json", json_text({**model.config, **older, **form.config}))
    shutil.copyfile(model.base / "tokenizer.json", folder / "tokenizer.json")
    for name in form.files:
        if (model.base / name).is_file():
            shutil.copyfile(model.base / name, folder / name)


def _native(model: Merged, folder: Path) -> None:
    """int8 codes with scales, layers of one input as one matrix, for `backends/native.py`."""
    import numpy as np
    from safetensors.numpy import save_file

    from slmbench.backends.native import quantize

    tensors = model.tensors

    def plain(values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(values, np.float32)

    new = {"norm": plain(tensors["model.norm.weight"]), "inverse_frequencies": plain(model.frequencies)}

    def put(name: str, *layers: str) -> None:
        weights = [tensors[f"{layer}.weight"] for layer in layers]
        new[f"{name}.codes"], new[f"{name}.scales"] = quantize(np.concatenate(weights))
        biases = [tensors.get(f"{layer}.bias") for layer in layers]
        if any(bias is not None for bias in biases):
            full = [np.zeros(len(w)) if b is None else b for w, b in zip(weights, biases, strict=True)]
            new[f"{name}.bias"] = plain(np.concatenate(full))

    for i in range(int(model.config["num_hidden_layers"])):
        at = f"model.layers.{i}"
        put(f"{i}.qkv", *(f"{at}.self_attn.{name}_proj" for name in "qkv"))
        put(f"{i}.o", f"{at}.self_attn.o_proj")
        put(f"{i}.gate_up", f"{at}.mlp.gate_proj", f"{at}.mlp.up_proj")
        put(f"{i}.down", f"{at}.mlp.down_proj")
        new[f"{i}.before"] = plain(tensors[f"{at}.input_layernorm.weight"])
        new[f"{i}.after"] = plain(tensors[f"{at}.post_attention_layernorm.weight"])
    if "lm_head.weight" in tensors:
        put("output", "lm_head")
        put("embedding", "model.embed_tokens")
    else:
        put("output", "model.embed_tokens")
    save_file(new, folder / "model.safetensors")


def _onnx(bits: int) -> Callable[[Merged, Path], None]:
    """An ONNX graph with weights in so many bits, for ONNX Runtime."""

    def write(model: Merged, folder: Path) -> None:
        try:
            import onnx
        except ImportError:
            raise SlmbenchError("exports to ONNX need more: pip install 'slmbench[onnx]'.") from None
        import numpy as np

        from slmbench.graph import build

        turns = np.arange(int(model.config["max_position_embeddings"]))[:, None] * model.frequencies[None]
        onnx.save(build(model.config, model.tensors, turns, bits), str(folder / "model.onnx"))

    return write


def _merged(model: Merged, folder: Path) -> None:
    """The weights as transformers names them, rounded once to bf16."""
    import torch
    from safetensors.torch import save_file

    new = {name: torch.from_numpy(values).to(torch.bfloat16).contiguous() for name, values in model.tensors.items()}
    save_file(new, folder / "model.safetensors", metadata={"format": "pt"})


def _gguf(kind: str) -> Callable[[Merged, Path], None]:
    """A GGUF file with matrices of one kind, for llama.cpp."""

    def write(model: Merged, folder: Path) -> None:
        from slmbench import ggml

        ggml.write(model.tensors, model.config, model.base / "tokenizer.json", kind, folder / "model.gguf")

    return write


FORMS = {
    "int8": Form("int8 weights for our own kernels", _native, "native"),
    "onnx-int8": Form("int8 weights for ONNX Runtime", _onnx(8), "onnx"),
    "onnx-int4": Form("int4 weights for ONNX Runtime", _onnx(4), "onnx"),
    "merged": Form(
        "bf16 weights as safetensors, for transformers", _merged, "eager", False, TOKENIZER_FILES, {"dtype": "bfloat16"}
    ),
    "gguf-f16": Form("f16 weights for llama.cpp", _gguf("f16"), "llama_cpp", False),
    "gguf-q8_0": Form("8-bit weights for llama.cpp", _gguf("q8_0"), "llama_cpp"),
}
"""What a model can be exported to."""
