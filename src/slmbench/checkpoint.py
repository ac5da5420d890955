"""Training's checkpoints: written whole or not at all, hashed, the one before kept; a damaged one is passed over."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slmbench.core import BadInput
from slmbench.files import write_atomic
from slmbench.progress import say
from slmbench.runs import differing

NEWEST, BEFORE = "checkpoint.safetensors", "checkpoint.before.safetensors"


def save(folder: Path, tensors: Mapping[str, Any], position: Mapping[str, Any]) -> None:
    """Write tensors and a position (JSON values) as the newest checkpoint, and keep the one before.

    Raises SlmbenchError on a full disk: both former checkpoints then stay as they are.
    """
    from safetensors.torch import save as to_bytes

    text = json.dumps(position, sort_keys=True)
    content = to_bytes(dict(tensors), {"position": text, "sha256": digest(tensors, text)})
    write_atomic(folder / NEWEST, content, keep=folder / BEFORE)


def load(folder: Path, made_of: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """(tensors, position) of the newest checkpoint that is whole; None where there is none.

    Raises BadInput for a checkpoint of another recipe, data or base, naming the first key that differs.
    """
    for name in (NEWEST, BEFORE):
        path = folder / name
        if not path.exists():
            continue
        try:
            tensors, position = _read(path)
        except ValueError as error:
            say(f"train     {path}: passed over, it is damaged ({error})")
            continue
        if other := differing(position["made_of"], made_of):
            raise BadInput(f"{path}: belongs to another run: {other}; use another --name or delete the folder.")
        return tensors, position
    return None


def remove(folder: Path) -> None:
    """Delete all checkpoints."""
    for name in (NEWEST, BEFORE):
        (folder / name).unlink(missing_ok=True)


def digest(tensors: Mapping[str, Any], text: str) -> str:
    """SHA-256 over names and bytes of tensors, and over the position's text."""
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        total.update(name.encode())
        total.update(tensors[name].detach().cpu().contiguous().numpy())
    return total.hexdigest()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors and position. Raises ValueError for a file that is cut short, changed, or no checkpoint."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
        text = metadata["position"]
        position = {"made_of": None, **json.loads(text)}
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(str(error) or type(error).__name__) from None
    if metadata.get("sha256") != digest(tensors, text):
        raise ValueError("its content does not have its hash")
    return tensors, position
