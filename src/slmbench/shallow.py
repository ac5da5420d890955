"""The first layers of a base as a base of its own, `NAME:LAYERS`: smaller and quicker than any that is published."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from filelock import FileLock

from slmbench.core import BadInput
from slmbench.files import json_text, partial_folder, read_json, write_atomic, write_errors
from slmbench.weights import ANEW, BaseModel, base_model

_LAYER = re.compile(r"\.layers\.(\d+)\.")
_KEPT = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)


def shallow(base: BaseModel, layers: int, folder: Path) -> BaseModel:
    """`base` without the layers after the first `layers`, written once into a subfolder of `folder`.

    Final norm and embeddings are the base's own: what was the input of the next layer is now read as an output, which
    only training makes of any use. Raises BadInput where the base has not more layers than that.
    """
    config = read_json(base.folder / "config.json", ANEW)
    deep = config.get("num_hidden_layers")
    if not isinstance(deep, int) or not 0 < layers < deep:
        raise BadInput(f"{base.name}:{layers}: {base.name} has {deep} layers: give fewer after the colon")
    place = folder / f"{base.sha256[:16]}-{layers}"
    if not _is_whole(place):
        with write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / f".{place.name}.lock"):
                if not _is_whole(place):  # else another process has written it meanwhile
                    _write(base, layers, config, place)
    return base_model(
        place, name=f"{base.name}:{layers}", source=base.source, origin=f"first {layers} layers of {base.origin}",
        revision=base.revision, license=base.license,
    )  # fmt: skip


def _is_whole(place: Path) -> bool:
    """Whether the copy that stands there is what was written; one that is not is written again."""
    try:
        manifest = read_json(place / "manifest.json", ANEW)
        return bool(base_model(place, name="", source="local", origin="").sha256 == manifest.get("sha256"))
    except BadInput:
        return False


def _write(base: BaseModel, layers: int, config: dict[str, Any], place: Path) -> None:
    from safetensors.torch import load_file, save_file

    kept = {}
    for path in sorted(base.folder.glob("*.safetensors")):
        for name, tensor in load_file(path).items():
            layer = _LAYER.search(name)
            if layer is None or int(layer[1]) < layers:
                kept[name] = tensor
    config = {**config, "num_hidden_layers": layers}
    if isinstance(kinds := config.get("layer_types"), list):
        config["layer_types"] = kinds[:layers]
    with partial_folder(place) as partial:
        for name in _KEPT:
            if (base.folder / name).is_file():
                shutil.copy(base.folder / name, partial / name)
        save_file(kept, partial / "model.safetensors", metadata={"format": "pt"})
        write_atomic(partial / "config.json", json.dumps(config, indent=2) + "\n")
        written = base_model(partial, name="", source="local", origin="")
        write_atomic(partial / "manifest.json", json_text({"base": base.sha256, "sha256": written.sha256}))
