"""Our kernels: torch's logits to the rounding of 8 bits, and the same bits however a text is cut into passes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from slmbench.backends import native
from slmbench.backends.native import NativeEngine, quantize
from slmbench.core import BadInput
from slmbench.decode.loop import Part
from slmbench.forms import FORMS, Merged

SIZES = {
    "vocab_size": 320, "hidden_size": 192, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 6,
    "num_key_value_heads": 2, "head_dim": 64, "max_position_embeddings": 256, "rms_norm_eps": 1e-5,
    "initializer_range": 0.1,
}  # fmt: skip
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "tied": ("llama", {"tie_word_embeddings": True}),
    "an output layer of its own": ("llama", {"tie_word_embeddings": False}),
    "biases": (
        "qwen2", {"tie_word_embeddings": True, "head_dim": None, "num_attention_heads": 3, "num_key_value_heads": 1},
    ),
    "wide heads": ("llama", {"head_dim": 128, "tie_word_embeddings": True}),
}  # fmt: skip
needs_compiler = pytest.mark.skipif(native.compiled() is None, reason="installed without a C compiler")
IDS = [int(i) for i in np.random.default_rng(0).integers(0, 320, 60)]


def made(kind: str, sizes: dict[str, Any]) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    given = {k: v for k, v in {**SIZES, **sizes}.items() if v is not None}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **given)).float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or "bias" in name:
                parameter.normal_(1.0 if "norm" in name else 0.0, 0.2)
    return model


def logits(model: Any, ids: list[int]) -> np.ndarray:
    import torch

    with torch.inference_mode():
        found: np.ndarray = model(input_ids=torch.tensor([ids])).logits[0].numpy()
    return found


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """(a folder with the model for both engines, torch's logits of IDS)."""
    kind, sizes = request.param
    model, folder = made(kind, sizes), tmp_path_factory.mktemp("model")
    config = model.config.to_dict()
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    tensors = {k: v.numpy() for k, v in model.state_dict().items() if not (tied and k == "lm_head.weight")}
    frequencies = model.model.rotary_emb.inv_freq.float().numpy()
    merged = Merged(tensors, config, folder, frequencies)
    for form in ("int8", "onnx-int8"):
        FORMS[form].write(merged, folder)
    (folder / "config.json").write_text(json.dumps(config))
    return folder, logits(model, IDS)


def read(engine: Any, ids: Sequence[int], at: int, rows: int, slot: int = 0) -> np.ndarray:
    (logits,) = engine.forward([Part(slot, ids, at, rows)])
    return np.asarray(logits)


def close(got: np.ndarray, expected: np.ndarray, share: float) -> bool:
    return float(((got - expected) ** 2).mean()) < share * float(expected.var())


@needs_compiler
@pytest.mark.parametrize("vectors", [True, False])
def test_logits_are_those_of_the_model(exported: tuple[Path, np.ndarray], vectors: bool) -> None:
    folder, expected = exported
    engine = NativeEngine(folder, 2, vectors=vectors)
    got = read(engine, IDS, 0, len(IDS))
    assert got.shape == expected.shape and close(got, expected, 5e-3)
    engine.close()


def test_the_portable_engine_gives_them_too(exported: tuple[Path, np.ndarray]) -> None:
    onnx = pytest.importorskip("slmbench.backends.onnx")
    pytest.importorskip("onnxruntime")
    folder, expected = exported
    engine = onnx.OnnxEngine(folder, 2)
    whole = read(engine, IDS, 0, len(IDS)).copy()
    assert whole.shape == expected.shape and close(whole, expected, 5e-3)
    assert close(read(engine, IDS[20:], 20, 5), expected[-5:], 5e-3)
    kept = engine.keep(0, 20)
    read(engine, IDS[::-1], 0, 1)
    engine.restore(0, kept)
    assert close(read(engine, IDS[20:], 20, 40), expected[20:], 5e-3)


@needs_compiler
@pytest.mark.parametrize("vectors", [True, False])
def test_a_token_gives_the_same_bits_in_every_pass(exported: tuple[Path, np.ndarray], vectors: bool) -> None:
    """However the text is cut, with whatever threads, after whatever was in the cache: drafts change nothing."""
    folder, _ = exported
    one, two = (NativeEngine(folder, threads, vectors=vectors) for threads in (1, 3))
    whole = read(one, IDS, 0, len(IDS)).copy()
    for engine in (one, two):
        read(engine, IDS[::-1], 0, 1)
        for cuts in (range(61), (0, 1, 8, 15, 22, 60), (0, 33, 35, 60)):
            for begin, end in itertools.pairwise(cuts):
                np.testing.assert_array_equal(read(engine, IDS[begin:end], begin, end - begin), whole[begin:end])
        read(engine, [*IDS[:30], 1, 2, 3], 0, 3)
        np.testing.assert_array_equal(read(engine, IDS[30:], 30, 30), whole[30:])
    kept = two.keep(0, 25)
    read(two, IDS[::-1], 0, 1)
    two.restore(0, kept)
    np.testing.assert_array_equal(read(two, IDS[25:], 25, 35), whole[25:])


@needs_compiler
@pytest.mark.parametrize("vectors", [True, False])
def test_sequences_in_one_pass_give_the_bits_that_they_give_alone(
    exported: tuple[Path, np.ndarray], vectors: bool
) -> None:
    folder, _ = exported
    one = NativeEngine(folder, 1, vectors=vectors)
    texts = [IDS, IDS[::-1], [*IDS[30:], *IDS[:30]]]
    whole = [read(one, text, 0, len(text)).copy() for text in texts]
    many = NativeEngine(folder, 2, slots=4, vectors=vectors)
    at = [0, 0, 0]
    for counts in ((1, 17, 5), (9, 0, 2), (50, 1, 1), (0, 42, 3), (0, 0, 49)):
        live = [i for i in range(3) if counts[i]]
        parts = [Part(3 - i, texts[i][at[i] : at[i] + counts[i]], at[i], -(-counts[i] // 2)) for i in live]
        for i, part, logits in zip(live, parts, many.forward(parts), strict=True):
            at[i] += counts[i]
            np.testing.assert_array_equal(logits, whole[i][at[i] - part.rows : at[i]])
    assert at == [60, 60, 60]
    kept = many.keep(3, 25)
    many.restore(0, kept)
    np.testing.assert_array_equal(read(many, IDS[25:], 25, 35, slot=0), whole[0][25:])
    for parts in ([], [Part(4, [1], 0, 1)], [Part(-1, [1], 0, 1)], [Part(1, [1], 0, 1), Part(1, [2], 1, 1)]):
        with pytest.raises(ValueError, match="no pass over these tokens"):
            many.forward(parts)


@needs_compiler
def test_a_wrong_place_is_refused(exported: tuple[Path, np.ndarray]) -> None:
    engine = NativeEngine(exported[0], 1)
    for ids, at, rows in (
        ([], 0, 1),
        ([1], -1, 1),
        ([1], 256, 1),
        ([1] * 257, 0, 1),
        ([1], 0, 2),
        ([320], 0, 1),
        ([-1], 0, 1),
    ):
        with pytest.raises(ValueError, match=r"no pass over these tokens: \d+ at place"):
            read(engine, ids, at, rows)
    assert read(engine, [1], 255, 1).shape == (1, 320)


CONFIG: dict[str, Any] = {
    "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 64,
    "intermediate_size": 64, "vocab_size": 32, "max_position_embeddings": 16, "rms_norm_eps": 1e-5,
}  # fmt: skip


def bare(**changes: Any) -> dict[str, np.ndarray]:
    """The tensors of a model of CONFIG's sizes, all zero."""
    rows = {"output": 32, "0.qkv": 192, "0.o": 64, "0.gate_up": 128, "0.down": 64}
    codes = {f"{name}.codes": np.zeros((count, 64), np.int8) for name, count in rows.items()}
    scales = {f"{name}.scales": np.zeros((count, 1), np.float32) for name, count in rows.items()}
    norms = {name: np.zeros(64, np.float32) for name in ("norm", "0.before", "0.after")}
    return {**codes, **scales, **norms, "inverse_frequencies": np.zeros(32, np.float32), **changes}


def opened(folder: Path, config: dict[str, Any], tensors: dict[str, np.ndarray]) -> NativeEngine:
    save_file({name: values for name, values in tensors.items() if values is not None}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({**CONFIG, **config}))
    return NativeEngine(folder, 1)


@needs_compiler
@pytest.mark.parametrize(
    ("config", "tensors", "said"),
    [
        ({"hidden_size": 128}, {}, r"norm is F32 \[64\], and by config.json F32 \[128\]; export the model again"),
        ({"intermediate_size": 128}, {}, r"0.gate_up.codes is I8 \[128, 64\], and by config.json I8 \[256, 64\]"),
        ({"vocab_size": 64}, {}, "output.codes is I8"), ({"head_dim": 128}, {}, "inverse_frequencies is F32"),
        ({"num_attention_heads": 2}, {}, r"0.qkv.codes is I8 \[192, 64\]"), ({"num_key_value_heads": 2}, {}, "0.qkv"),
        ({"num_hidden_layers": 2}, {}, r"1.qkv.codes is missing, and by config.json I8 \[192, 64\]"),
        ({"num_hidden_layers": 2**40}, {}, "1.qkv.codes is missing"),
        ({}, {"0.o.codes": np.zeros((64, 64), np.uint8)}, r"0.o.codes is U8 \[64, 64\]"),
        ({}, {"0.o.scales": np.zeros((63, 1), np.float32)}, "0.o.scales is F32"),
        ({}, {"0.after": np.zeros(64, np.float64)}, "0.after is F64"), ({}, {"norm": None}, "norm is missing"),
        ({}, {"0.down.bias": np.zeros(63, np.float32)}, "0.down.bias is F32"),
        ({}, {"embedding.codes": np.zeros((32, 64), np.int8)}, "embedding.scales is missing"),
        ({"num_key_value_heads": 0}, {}, "config.json: num_key_value_heads is 0, and must be 1 or more"),
        ({"hidden_size": -64}, {}, "hidden_size is -64"), ({"vocab_size": "32"}, {}, "vocab_size is '32'"),
        ({"num_hidden_layers": None}, {}, "num_hidden_layers is None"), ({"head_dim": 64.0}, {}, "head_dim is 64.0"),
        ({"head_dim": None, "num_attention_heads": 128}, {}, "head_dim is 0"),
        ({"rms_norm_eps": "x"}, {}, "rms_norm_eps is 'x', and must be a number"),
        # What is consistent, and yet not for these kernels.
        ({"head_dim": 32, "num_attention_heads": 2, "num_key_value_heads": 2},
         {"inverse_frequencies": np.zeros(16, np.float32)}, "does not run on the native kernels; export it to onnx"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_before_it_is_read(
    tmp_path: Path, config: dict[str, Any], tensors: dict[str, Any], said: str
) -> None:
    """The kernels take sizes on trust."""
    assert read(opened(tmp_path, {}, bare()), [1], 0, 1).shape == (1, 32)
    with pytest.raises(BadInput, match=said):
        opened(tmp_path, config, bare(**tensors))
    with pytest.raises(ValueError, match="no multiple of 64"):
        quantize(np.ones((4, 96)))


def test_codes_stand_for_the_weights() -> None:
    weight = np.random.default_rng(0).normal(size=(8, 128)) * np.logspace(-3, 3, 128)
    codes, scales = quantize(weight)
    back = codes.reshape(8, 2, 64) * scales[..., None]
    assert np.abs(back - weight.reshape(8, 2, 64)).max(-1).max() <= 0.5 * scales.max() + 1e-6
    assert codes.dtype == np.int8 and scales.shape == (8, 2)
    assert not quantize(np.zeros((2, 64)))[0].any()
