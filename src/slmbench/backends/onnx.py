"""The model of an exported folder on ONNX Runtime: one sequence, its keys and values in buffers of our own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slmbench.core import SlmbenchError

if TYPE_CHECKING:
    from slmbench.decode.loop import Part

POSITIONS = 4096
MOST_SLOTS = 1


class OnnxEngine:
    """A Llama-shaped model of `graph.py`.

    Args:
        folder: model.onnx and config.json.
        threads: of the processor.
    """

    slots = MOST_SLOTS

    def __init__(self, folder: Path, threads: int, positions: int = POSITIONS) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise SlmbenchError("this export runs on ONNX Runtime: pip install 'slmbench[onnx]'.") from None

        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.enable_mem_pattern = False  # sizes differ from pass to pass
        self.session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        heads = int(config["num_attention_heads"])
        shared = int(config.get("num_key_value_heads") or heads)
        head = int(config.get("head_dim") or config["hidden_size"] // heads)
        self.positions = min(positions, int(config["max_position_embeddings"]))
        self.vocabulary = int(config["vocab_size"])
        self.cache = [
            np.zeros((1, shared, self.positions, head), np.float32) for _ in range(2 * int(config["num_hidden_layers"]))
        ]
        self.binding = self.session.io_binding()
        for i, buffer in enumerate(self.cache):
            name = f"{'key' if i % 2 == 0 else 'value'}.{i // 2}"
            where = ("cpu", 0, np.float32, buffer.shape, buffer.ctypes.data)
            self.binding.bind_input(name, *where)
            self.binding.bind_output(f"new_{name}", *where)
        self.logits = np.empty((0, self.vocabulary), np.float32)

    def forward(self, parts: Sequence[Part]) -> list[np.ndarray]:
        """As `decode.loop.Engine`. The result is overwritten by the next call."""
        ((_, ids, at, rows),) = parts
        count = len(ids)
        if len(self.logits) < rows:
            self.logits = np.empty((rows, self.vocabulary), np.float32)
        inputs: dict[str, np.ndarray] = {
            "ids": np.array([ids], np.int64),
            "rows": np.arange(count - rows, count, dtype=np.int64),
            "seen": np.array([at + count - 1], np.int32),
            "total": np.array(at + count, np.int32),
        }
        for name, value in inputs.items():
            self.binding.bind_input(name, "cpu", 0, value.dtype, value.shape, value.ctypes.data)
        self.binding.bind_output("logits", "cpu", 0, np.float32, (rows, self.vocabulary), self.logits.ctypes.data)
        self.session.run_with_iobinding(self.binding)
        return [self.logits[:rows]]

    def keep(self, slot: int, length: int) -> list[np.ndarray]:
        """A copy of the first `length` positions of keys and values."""
        return [buffer[:, :, :length].copy() for buffer in self.cache]

    def restore(self, slot: int, kept: list[np.ndarray]) -> None:
        """Put such a copy into the cache."""
        for buffer, part in zip(self.cache, kept, strict=True):
            buffer[:, :, : part.shape[2]] = part


def open_engine(folder: Path, threads: int, slots: int = 1) -> OnnxEngine:
    """The engine of an exported folder."""
    return OnnxEngine(folder, threads)
