"""The model of an exported folder on our own kernels (`native.c`): int8 weights and activations, several sequences.

The library is compiled when the package is installed, where there is a C compiler. Weights are read from safetensors
and packed in the order in which the processor's dot product of bytes takes them.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slmbench.core import BadInput, SlmbenchError
from slmbench.files import read_json

if TYPE_CHECKING:
    from slmbench.decode.loop import Part

POSITIONS = 4096
MOST_SLOTS = 32
PANEL, GROUP, BLOCK = 32, 64, 16
AGAIN = "export the model again"


class _Sizes(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int32) for name in
          ("layers", "hidden", "heads", "shared", "head", "half", "vocabulary", "positions", "slots",
           "threads")),
        ("epsilon", ctypes.c_float),
    ]  # fmt: skip


def compiled() -> Path | None:
    """The compiled kernels; None where the package was installed without a C compiler."""
    here = Path(__file__).parent
    found = (here / f"_native{suffix}" for suffix in importlib.machinery.EXTENSION_SUFFIXES)
    return next((path for path in found if path.is_file()), None)


def quantize(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A matrix [out, in] -> int8 codes [out, in] and scales [out, in / 64]; symmetric.

    Raises ValueError where a row is no whole number of groups.
    """
    rows, width = weight.shape
    if width % GROUP:
        raise ValueError(f"a layer's input of {width} values is no multiple of {GROUP}")
    exact = weight.astype(np.float32).reshape(rows, width // GROUP, GROUP)
    scales = np.maximum(np.abs(exact).max(-1), 1e-30) / 127
    return np.rint(exact / scales[..., None]).astype(np.int8).reshape(rows, width), scales.astype(np.float32)


class _Part(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int32) for name in ("slot", "count", "at", "picked")]


class NativeEngine:
    """A Llama-shaped model.

    Args:
        folder: config.json and model.safetensors as `export` writes them for this engine.
        threads: of the processor.
        slots: sequences that it holds, of `positions` tokens each; memory is taken as they fill.
        vectors: False for plain C, which the wide instructions are tested against.
    """

    def __init__(
        self, folder: Path, threads: int, positions: int = POSITIONS, *, slots: int = 1, vectors: bool = True
    ) -> None:
        from safetensors import safe_open

        path = compiled()
        if path is None:
            raise SlmbenchError("the native kernels were not compiled: install a C compiler, then slmbench again.")
        told = _sizes_of(folder / "config.json")
        self.layers, self.shared, self.head = told["layers"], told["shared"], told["head"]
        self.vocabulary, self.slots = told["vocabulary"], slots
        self.positions = min(positions, told["positions"])
        sizes = _Sizes(**{**told, "positions": self.positions, "slots": slots, "threads": threads})
        self._library = ctypes.CDLL(str(path))
        self._library.slm_open.restype = ctypes.c_void_p
        with safe_open(folder / "model.safetensors", framework="numpy") as file:
            names = set(file.keys())
            _check_tensors(file, names, told, folder / "model.safetensors")
            turns = np.arange(self.positions)[:, None] * file.get_tensor("inverse_frequencies")[None]
            tables = [np.ascontiguousarray(f(turns), np.float32) for f in (np.cos, np.sin)]
            norm = file.get_tensor("norm")
            model = self._library.slm_open(ctypes.byref(sizes), *map(_floats, tables), _floats(norm), int(vectors))
            if not model:
                raise BadInput(
                    f"{folder}: a model of these sizes does not run on the native kernels; export it to onnx."
                )
            self._model = ctypes.c_void_p(model)
            for layer in range(self.layers):
                for which, name in enumerate(("qkv", "o", "gate_up", "down")):
                    self._fill(file, names, layer, which, f"{layer}.{name}")
                norms = [file.get_tensor(f"{layer}.{name}") for name in ("before", "after")]
                self._library.slm_norms(self._model, layer, *map(_floats, norms))
            self._fill(file, names, -1, 0, "output")
            if "embedding.codes" in names:
                self._fill(file, names, -1, 1, "embedding")
        self.vectors = bool(self._library.slm_vectors(self._model))
        self.logits = np.empty((0, self.vocabulary), np.float32)

    def _fill(self, file: Any, names: set[str], layer: int, which: int, name: str) -> None:
        codes, scales = file.get_tensor(f"{name}.codes"), file.get_tensor(f"{name}.scales")
        bias = _floats(file.get_tensor(f"{name}.bias")) if f"{name}.bias" in names else None
        rows, width = codes.shape
        pointer = codes.ctypes.data_as(ctypes.c_void_p)
        if not self._library.slm_matrix(self._model, layer, which, rows, width, pointer, _floats(scales), bias):
            raise SlmbenchError(f"no memory for the weights {name}, or their size [{rows}, {width}] is not supported.")

    def forward(self, parts: Sequence[Part]) -> list[np.ndarray]:
        """As `decode.loop.Engine`. The result is overwritten by the next call. Raises ValueError for a bad place."""
        rows = sum(part.rows for part in parts)
        if len(self.logits) < rows:
            self.logits = np.empty((rows, self.vocabulary), np.float32)
        places = (_Part * len(parts))(*(_Part(part.slot, len(part.ids), part.at, part.rows) for part in parts))
        tokens = np.array([token for part in parts for token in part.ids], np.int32)
        pointer = tokens.ctypes.data_as(ctypes.c_void_p)
        if not self._library.slm_forward(self._model, places, len(parts), pointer, _floats(self.logits)):
            said = ", ".join(f"{len(p.ids)} at place {p.at} of slot {p.slot}, {p.rows} wanted" for p in parts)
            raise ValueError(f"no pass over these tokens: {said}; {self.slots} slots of {self.positions} places")
        ends = np.cumsum([part.rows for part in parts])
        return [self.logits[end - part.rows : end] for part, end in zip(parts, ends, strict=True)]

    def keep(self, slot: int, length: int) -> tuple[int, list[np.ndarray]]:
        """A copy of the first `length` positions of a slot's keys and values, by layer."""
        size = self.shared * self.head * (-(-length // BLOCK) * BLOCK + length)
        kept = [np.empty(size, np.float32) for _ in range(self.layers)]
        for layer, buffer in enumerate(kept):
            self._library.slm_cache(self._model, slot, layer, length, _floats(buffer), 0)
        return length, kept

    def restore(self, slot: int, kept: tuple[int, list[np.ndarray]]) -> None:
        """Put such a copy into a slot."""
        length, buffers = kept
        for layer, buffer in enumerate(buffers):
            self._library.slm_cache(self._model, slot, layer, length, _floats(buffer), 1)

    def close(self) -> None:
        """End its threads and give its memory back."""
        if self._model:
            self._library.slm_close(self._model)
            self._model = ctypes.c_void_p()


def _sizes_of(path: Path) -> dict[str, Any]:
    """What a config.json says, as `_Sizes` names it. Raises BadInput for what is no size."""
    config = read_json(path, AGAIN)

    def size(name: str, other: Any = None) -> int:
        value = other if config.get(name) is None else config[name]
        if not isinstance(value, int) or value < 1:
            raise BadInput(f"{path}: {name} is {value!r}, and must be 1 or more; {AGAIN}.")
        return value

    heads, hidden = size("num_attention_heads"), size("hidden_size")
    epsilon = config.get("rms_norm_eps")
    if not isinstance(epsilon, float | int):
        raise BadInput(f"{path}: rms_norm_eps is {epsilon!r}, and must be a number; {AGAIN}.")
    return {
        "layers": size("num_hidden_layers"), "hidden": hidden, "heads": heads,
        "shared": size("num_key_value_heads", heads), "head": size("head_dim", hidden // heads),
        "half": size("intermediate_size"), "vocabulary": size("vocab_size"),
        "positions": size("max_position_embeddings"), "epsilon": epsilon,
    }  # fmt: skip


def _check_tensors(file: Any, names: Collection[str], sizes: Mapping[str, Any], path: Path) -> None:
    """Raise BadInput for a tensor that is not as the kernels, which are told the sizes alone, will read it."""
    for name, kind, shape in _tensors(names, sizes):
        found = file.get_slice(name) if name in names else None
        have = "missing" if found is None else f"{found.get_dtype()} {list(found.get_shape())}"
        if have != (wanted := f"{kind} {shape}"):
            raise BadInput(f"{path}: {name} is {have}, and by config.json {wanted}; {AGAIN}.")


def _tensors(names: Collection[str], sizes: Mapping[str, Any]) -> Iterator[tuple[str, str, list[int]]]:
    """(name, kind, shape) of every tensor of a model; some may be missing, so whether they are there counts."""
    hidden, half, query = sizes["hidden"], sizes["half"], sizes["heads"] * sizes["head"]

    def matrix(name: str, rows: int, width: int) -> Iterator[tuple[str, str, list[int]]]:
        yield f"{name}.codes", "I8", [rows, width]
        yield f"{name}.scales", "F32", [rows, width // GROUP]
        if f"{name}.bias" in names:
            yield f"{name}.bias", "F32", [rows]

    yield "norm", "F32", [hidden]
    yield "inverse_frequencies", "F32", [sizes["head"] // 2]
    yield from matrix("output", sizes["vocabulary"], hidden)
    if "embedding.codes" in names:
        yield from matrix("embedding", sizes["vocabulary"], hidden)
    for layer in range(sizes["layers"]):
        yield from matrix(f"{layer}.qkv", query + 2 * sizes["shared"] * sizes["head"], hidden)
        yield from matrix(f"{layer}.o", hidden, query)
        yield from matrix(f"{layer}.gate_up", 2 * half, hidden)
        yield from matrix(f"{layer}.down", hidden, half)
        for name in ("before", "after"):
            yield f"{layer}.{name}", "F32", [hidden]


def _floats(array: np.ndarray) -> Any:
    return array.ctypes.data_as(ctypes.c_void_p)


def open_engine(folder: Path, threads: int, slots: int = 1) -> NativeEngine:
    """The engine of an exported folder."""
    return NativeEngine(folder, threads, slots=slots)
