"""A Llama-shaped model as an ONNX graph with weights in few bits, for ONNX Runtime on a CPU.

One forward pass of one sequence: new tokens at any place of a key-value cache that is shared between its input and its
output, so that going back means no more than saying a smaller place. The output layer runs on the rows that are asked
for. Layers that read the same input are one matrix. Operators of the domain com.microsoft are ONNX Runtime's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BLOCK = 32
"""Weights that share a scale, along a row of the matrix."""
ORT = "com.microsoft"
IR_VERSION, OPSET = 10, 21


def quantize(weight: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """A matrix [out, in] -> codes [out, in / 32, 32 * bits / 8] and scales [out, in / 32], symmetric around the middle.

    Raises ValueError where a row is no whole number of blocks.
    """
    rows, width = weight.shape
    if width % BLOCK:
        raise ValueError(f"a layer's input of {width} values is no multiple of {BLOCK}")
    blocks = weight.astype(np.float32).reshape(rows, width // BLOCK, BLOCK)
    middle = 1 << (bits - 1)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(-1)[..., None], -1)[..., 0]
    # The largest value takes the code that has no opposite, so all 2 ** bits codes are in use.
    scales = (largest / -middle if bits < 8 else np.abs(largest) / (middle - 1)).astype(np.float32)
    exact = np.divide(blocks, scales[..., None], out=np.zeros_like(blocks), where=scales[..., None] != 0)
    codes = np.clip(np.rint(exact) + middle, 0, 2 * middle - 1).astype(np.uint8)
    if bits == 4:
        codes = codes[..., ::2] | codes[..., 1::2] << 4
    return codes, scales


class _Graph:
    """Nodes and constants as they are added; every method returns the name of its first output."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def node(self, kind: str, inputs: list[str], name: str, *more: str, domain: str = "", **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name, *more], name=name, domain=domain, **attributes))
        return name

    def linear(self, name: str, x: str, weight: np.ndarray, bias: np.ndarray | None = None) -> str:
        """x @ weight.T (+ bias), weights in `bits`, sums in int32 (accuracy level 4)."""
        codes, scales = quantize(weight, self.bits)
        inputs = [x, self.constant(f"{name}.codes", codes), self.constant(f"{name}.scales", scales.reshape(-1))]
        sizes = {"K": weight.shape[1], "N": weight.shape[0], "bits": self.bits, "block_size": BLOCK}
        out = self.node("MatMulNBits", inputs, name, domain=ORT, accuracy_level=4, **sizes)
        if bias is None:
            return out
        return self.node("Add", [out, self.constant(f"{name}.bias", bias.astype(np.float32))], f"{name}.biased")

    def norm(self, name: str, x: str, weight: np.ndarray, epsilon: float) -> str:
        inputs = [x, self.constant(f"{name}.weight", weight.astype(np.float32))]
        return self.node("SimplifiedLayerNormalization", inputs, name, axis=-1, epsilon=epsilon, stash_type=1)

    def add_norm(self, name: str, x: str, y: str, weight: np.ndarray, epsilon: float) -> tuple[str, str]:
        """(RMSNorm of x + y, x + y)."""
        inputs = [x, y, self.constant(f"{name}.weight", weight.astype(np.float32))]
        total = f"{name}.sum"
        kind = "SkipSimplifiedLayerNormalization"
        return self.node(kind, inputs, name, "", "", total, domain=ORT, epsilon=epsilon), total


def build(
    config: Mapping[str, Any], tensors: Mapping[str, np.ndarray], turns: np.ndarray, bits: int
) -> onnx.ModelProto:
    """The graph of a Llama-shaped model.

    Inputs: `ids` [1, tokens], `rows` [picked] (places of those tokens whose logits are wanted), `seen` [1] (positions
    in the cache after this pass, less one), `total` [] (the same, not less), and for every layer `key.N` and `value.N`
    [1, kv_heads, positions, head]. Outputs: `logits` [picked, vocabulary], and `new_key.N`, `new_value.N`, to be bound
    to the same memory as their inputs. `turns` are the rotary angles [positions, head / 2].
    """
    g = _Graph(bits)
    heads = int(config["num_attention_heads"])
    shared = int(config.get("num_key_value_heads") or heads)
    hidden, layers = int(config["hidden_size"]), int(config["num_hidden_layers"])
    head, epsilon = int(config.get("head_dim") or hidden // heads), float(config["rms_norm_eps"])
    half = int(config["intermediate_size"])
    table = tensors["model.embed_tokens.weight"]
    output = tensors.get("lm_head.weight", table)
    cache: Any = [1, shared, "positions", head]
    inputs = [
        helper.make_tensor_value_info("ids", TensorProto.INT64, [1, "tokens"]),
        helper.make_tensor_value_info("rows", TensorProto.INT64, ["picked"]),
        helper.make_tensor_value_info("seen", TensorProto.INT32, [1]),
        helper.make_tensor_value_info("total", TensorProto.INT32, []),
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["picked", output.shape[0]])]
    cos = g.constant("cos", np.cos(turns).astype(np.float32))
    sin = g.constant("sin", np.sin(turns).astype(np.float32))
    split = g.constant("split", np.array([half, half], np.int64))
    stream = _embedding(g, table)
    x = g.norm("norm.0", stream, tensors["model.layers.0.input_layernorm.weight"], epsilon)
    for i in range(layers):
        at = f"model.layers.{i}"

        def stack(*names: str, at: str = at) -> tuple[np.ndarray, np.ndarray | None]:
            weights = [tensors[f"{at}.{name}.weight"] for name in names]
            biases = [tensors.get(f"{at}.{name}.bias") for name in names]
            full = [np.zeros(len(w)) if b is None else b for w, b in zip(weights, biases, strict=True)]
            some = any(b is not None for b in biases)
            return np.concatenate(weights), np.concatenate(full) if some else None

        qkv = g.linear(f"qkv.{i}", x, *stack("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"))
        mixed = g.node(
            "GroupQueryAttention", [qkv, "", "", f"key.{i}", f"value.{i}", "seen", "total", cos, sin], f"mixed.{i}",
            f"new_key.{i}", f"new_value.{i}", domain=ORT, num_heads=heads, kv_num_heads=shared, do_rotary=1,
            rotary_interleaved=0, scale=head**-0.5,
        )  # fmt: skip
        for kind in ("key", "value"):
            inputs.append(helper.make_tensor_value_info(f"{kind}.{i}", TensorProto.FLOAT, cache))
            outputs.append(helper.make_tensor_value_info(f"new_{kind}.{i}", TensorProto.FLOAT, cache))
        out = g.linear(f"o.{i}", mixed, *stack("self_attn.o_proj"))
        if i == layers - 1:  # behind the last attention only the rows whose logits are wanted go on
            out, stream = (g.node("Gather", [t, "rows"], f"{t}.picked", axis=1) for t in (out, stream))
        weight = tensors[f"{at}.post_attention_layernorm.weight"]
        x, stream = g.add_norm(f"norm.{i}.mlp", stream, out, weight, epsilon)
        both = g.linear(f"gate_up.{i}", x, *stack("mlp.gate_proj", "mlp.up_proj"))
        g.node("Split", [both, split], f"gate.{i}", f"up.{i}", axis=-1)
        silu = g.node("QuickGelu", [f"gate.{i}"], f"silu.{i}", domain=ORT, alpha=1.0)
        gated = g.node("Mul", [silu, f"up.{i}"], f"gated.{i}")
        out = g.linear(f"down.{i}", gated, *stack("mlp.down_proj"))
        following = f"model.layers.{i + 1}.input_layernorm.weight" if i + 1 < layers else "model.norm.weight"
        x, stream = g.add_norm(f"norm.{i + 1}", stream, out, tensors[following], epsilon)
    logits = g.linear("logits.whole", x, output)
    g.node("Squeeze", [logits, g.constant("first", np.array([0], np.int64))], "logits")
    graph = helper.make_graph(g.nodes, "llama", inputs, outputs, g.constants)
    sets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ORT, 1)]
    return helper.make_model(graph, opset_imports=sets, ir_version=IR_VERSION, producer_name="slmbench")


def _embedding(g: _Graph, table: np.ndarray) -> str:
    """Rows of the embedding, of int8 codes with a scale a block: a quarter of the memory of what they stand for."""
    codes, scales = quantize(table, 8)
    width = table.shape[1]
    signed = (codes.astype(np.int16) - 128).astype(np.int8).reshape(len(table), width)
    picked = g.node("Gather", [g.constant("embedding.codes", signed), "ids"], "embedding.rows", axis=0)
    scale = g.node("Gather", [g.constant("embedding.scales", scales), "ids"], "embedding.scale", axis=0)
    exact = g.node("Cast", [picked], "embedding.cast", to=TensorProto.FLOAT)
    shape = g.constant("embedding.blocks", np.array([1, -1, width // BLOCK, BLOCK], np.int64))
    blocks = g.node("Reshape", [exact, shape], "embedding.split")
    last = g.constant("embedding.last", np.array([-1], np.int64))
    scaled = g.node("Mul", [blocks, g.node("Unsqueeze", [scale, last], "embedding.wide")], "embedding.scaled")
    return g.node("Reshape", [scaled, g.constant("embedding.flat", np.array([1, -1, width], np.int64))], "embedding")
