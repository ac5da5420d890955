"""From a trained run to one folder that runs without torch: merged, smoothed, quantised, checked, then written.

What is checked: logits and greedy tokens of 32 validation documents, and JSONExact over all of them.
"""

from __future__ import annotations

import gc
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slmbench import models
from slmbench.config import load_recipe
from slmbench.core import BadInput, Request, SlmbenchError
from slmbench.evaluate import evaluate, request, spread
from slmbench.exported import FORMS, MANIFEST, Exported
from slmbench.files import file_sha256, json_text, read_json, write_atomic
from slmbench.metrics import Sample
from slmbench.pipeline import Plan, make_plan
from slmbench.progress import say
from slmbench.smooth import largest_inputs, smoothed
from slmbench.template import prompt_hash
from slmbench.weights import ANEW

if TYPE_CHECKING:
    from slmbench.decode.loop import Decoder

LOGIT_ROWS = 32
CALIBRATION_ROWS = 48
MOST_POINTS_LOST = 0.5
"""Points of JSONExact that an export may lose on the validation split."""
Tensors = Mapping[str, np.ndarray]


Write = Callable[[Tensors, dict[str, Any], np.ndarray, Path], None]
"""(weights by name, config, rotary frequencies, folder): writes the model's files."""


def write_native(tensors: Tensors, config: dict[str, Any], frequencies: np.ndarray, folder: Path) -> None:
    """int8 codes with a scale for each output, layers of one input as one matrix, for `backends/native.py`."""
    from safetensors.numpy import save_file

    from slmbench.backends.native import quantize

    new: dict[str, np.ndarray] = {"norm": _plain(tensors["model.norm.weight"]), "inverse_frequencies": frequencies}

    def put(name: str, *layers: str) -> None:
        weights = [tensors[f"{layer}.weight"] for layer in layers]
        new[f"{name}.codes"], new[f"{name}.scales"] = quantize(np.concatenate(weights))
        biases = [tensors.get(f"{layer}.bias") for layer in layers]
        if any(bias is not None for bias in biases):
            full = [np.zeros(len(w)) if b is None else b for w, b in zip(weights, biases, strict=True)]
            new[f"{name}.bias"] = _plain(np.concatenate(full))

    for i in range(int(config["num_hidden_layers"])):
        at = f"model.layers.{i}"
        put(f"{i}.qkv", *(f"{at}.self_attn.{name}_proj" for name in "qkv"))
        put(f"{i}.o", f"{at}.self_attn.o_proj")
        put(f"{i}.gate_up", f"{at}.mlp.gate_proj", f"{at}.mlp.up_proj")
        put(f"{i}.down", f"{at}.mlp.down_proj")
        new[f"{i}.before"] = _plain(tensors[f"{at}.input_layernorm.weight"])
        new[f"{i}.after"] = _plain(tensors[f"{at}.post_attention_layernorm.weight"])
    if "lm_head.weight" in tensors:
        put("output", "lm_head")
        put("embedding", "model.embed_tokens")
    else:
        put("output", "model.embed_tokens")
    save_file(new, folder / "model.safetensors")


def write_onnx(bits: int) -> Write:
    """An ONNX graph with weights in so many bits, for ONNX Runtime."""

    def write(tensors: Tensors, config: dict[str, Any], frequencies: np.ndarray, folder: Path) -> None:
        try:
            import onnx
        except ImportError:
            raise SlmbenchError("exports to ONNX need more: pip install 'slmbench[onnx]'.") from None

        from slmbench.graph import build

        turns = np.arange(int(config["max_position_embeddings"]))[:, None] * frequencies[None]
        onnx.save(build(config, tensors, turns, bits), str(folder / "model.onnx"))

    return write


WRITERS: dict[str, tuple[Write, str]] = {
    "int8": (write_native, "native"),
    "onnx-int8": (write_onnx(8), "onnx"),
    "onnx-int4": (write_onnx(4), "onnx"),
}
"""By form: what writes it, and the backend that runs it."""


def export(run: Path, to: str, out: Path | None = None) -> tuple[Path, dict[str, Any]]:
    """Write the model of a finished run's folder in one form; returns the new folder and its manifest.

    Raises BadInput where the run has no adapter, and SlmbenchError where the export answers worse than the run.
    """
    if not (run / "adapter" / "adapter_model.safetensors").is_file():
        raise BadInput(f"{run}: no trained adapter in it; give the folder of a run that has been trained.")
    folder = out or run / "export" / to
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The plan's own run is not this one: an older version may have written it, and nothing is to be added to it.
    with (
        tempfile.TemporaryDirectory(prefix="slmbench-") as scratch,
        tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent, ignore_cleanup_errors=True) as name,
    ):
        plan, partial = make_plan(load_recipe(run / "recipe.yaml"), Path(scratch)), Path(name)
        if not plan.validation.examples:
            raise BadInput(f"{run}: its recipe holds back no validation split, which an export is checked on.")
        manifest = _write(plan, run, to, partial)
        manifest["checked"] = _check(plan, run, Exported(partial, manifest))
        write_atomic(partial / MANIFEST, json_text(manifest))
        partial.chmod(0o755)
        for path in partial.iterdir():
            path.chmod(0o644)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    return folder, manifest


def _write(plan: Plan, run: Path, to: str, folder: Path) -> dict[str, Any]:
    """The files of an export, and a manifest that does not say yet how it was checked."""
    say(f"export    {run.name} to {to}: {FORMS[to]}")
    write, backend = WRITERS[to]
    config = read_json(plan.base.folder / "config.json", ANEW)
    tensors, frequencies = weights_of(plan, run / "adapter", config)
    try:
        write(tensors, config, frequencies, folder)
    except ValueError as error:
        raise BadInput(f"{run}: {error}, so it cannot be written as {to}; take another form.") from None
    write_atomic(folder / "config.json", json_text(config))
    shutil.copyfile(plan.base.folder / "tokenizer.json", folder / "tokenizer.json")
    tokenizer = plan.tokenizer
    return {
        "form": to,
        "backend": backend,
        "name": plan.recipe.name,
        "base": plan.base.facts(),
        "adapter_sha256": file_sha256(run / "adapter" / "adapter_model.safetensors"),
        "task": plan.recipe.task,
        "prompt": {"style": plan.recipe.prompt, "sha256": prompt_hash(plan.recipe.prompt)},
        "eos": tokenizer.eos_token_id,
        "pad": tokenizer.pad_token_id,
        "stops": sorted({tokenizer.eos_token_id, tokenizer.pad_token_id}),
        "files": {
            path.name: {"bytes": path.stat().st_size, "sha256": file_sha256(path)} for path in sorted(folder.iterdir())
        },
    }


def weights_of(plan: Plan, adapter: Path, config: dict[str, Any]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """(weights by name, rotary frequencies [head / 2]): the adapter merged in fp32, then smoothed over what the layers
    see of some training documents."""
    model = models.load_merged(plan.base, adapter)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    tensors = {k: v.detach().numpy() for k, v in model.state_dict().items() if not (tied and k == "lm_head.weight")}
    rows = plan.train.encoded
    seen = largest_inputs(model, [rows[i].ids for i in spread(len(rows), CALIBRATION_ROWS)])
    return smoothed(tensors, config, seen), _plain(model.model.rotary_emb.inv_freq.numpy())


def _plain(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, np.float32)


def _check(plan: Plan, run: Path, exported: Exported) -> dict[str, Any]:
    """What an export answers beside what the run does. Raises SlmbenchError where it loses too much."""
    from slmbench import memory
    from slmbench.backends.hf import HfBackend

    decoder = exported.decoder()
    rows, examples = plan.validation.encoded, plan.validation.examples
    asked = [request(row, plan.recipe.evaluate) for row in rows]
    model = models.load_merged(plan.base, run / "adapter", memory.precision("auto"))
    logits = _logits(model, decoder, asked[:LOGIT_ROWS])
    with tempfile.TemporaryDirectory() as name:
        answers: dict[str, list[Sample]] = {
            kind: evaluate(
                plan.task, backend, examples, rows, plan.recipe.evaluate, Path(name) / f"{kind}.jsonl", f"check {kind}"
            )
            for kind, backend in (("run", HfBackend(model, plan.tokenizer)), ("export", decoder))
        }
    del model
    gc.collect()
    exact = {kind: sum(sample["score"]["exact"] for sample in samples) for kind, samples in answers.items()}
    pairs = list(zip(answers["run"], answers["export"], strict=True))
    lost = 100 * (exact["run"] - exact["export"]) / len(rows)
    found = {
        **logits,
        "documents": len(rows),
        "exact": exact,
        "points_lost": round(lost, 2),
        "same_answers": sum(a["output"] == b["output"] for a, b in pairs),
        "same_answers_of_first": sum(a["output"] == b["output"] for a, b in pairs[:LOGIT_ROWS]),
    }
    say(f"export    {json.dumps(found)}")
    if lost > MOST_POINTS_LOST:
        raise SlmbenchError(
            f"the export answers {exact['export']} of {len(rows)} validation documents exactly, the run"
            f" {exact['run']}: {lost:.1f} points lost, over {MOST_POINTS_LOST}; take another form."
        )
    return found


def _logits(model: Any, decoder: Decoder, asked: list[Request]) -> dict[str, float]:
    """How far the export's logits of each prompt's next token are from the run's."""
    import torch

    same, apart, largest = 0, 0.0, 0.0
    for row in asked:
        with torch.inference_mode():
            wanted = model(input_ids=torch.tensor([row.prompt_ids]), logits_to_keep=1).logits[0, -1].float().numpy()
        got = decoder.engine.forward(row.prompt_ids, 0, 1)[0]
        difference = np.abs(got - wanted)
        same += int(got.argmax() == wanted.argmax())
        apart += float(difference.mean()) / len(asked)
        largest = max(largest, float(difference.max()))
    return {"first_token_same": same, "logits_apart": round(apart, 4), "logits_apart_most": round(largest, 3)}
