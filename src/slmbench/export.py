"""From a trained run to one folder that runs without torch: merged, smoothed, quantised, checked, then written.

What is checked: logits and greedy tokens of 32 validation documents, and JSONExact over all of them.
"""

from __future__ import annotations

import gc
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slmbench import forms, models
from slmbench.calibrate import calibrate
from slmbench.config import load_recipe
from slmbench.core import BadInput, Example, SlmbenchError
from slmbench.evaluate import evaluate, request, spread
from slmbench.exported import MANIFEST, Exported
from slmbench.files import file_sha256, json_text, partial_folder, read_json, write_atomic
from slmbench.finished import rewrite_report
from slmbench.metrics import Sample
from slmbench.pipeline import Plan, adapter_of, make_plan
from slmbench.progress import say
from slmbench.publish import samples_path
from slmbench.smooth import STRENGTHS, largest_inputs, smoothed
from slmbench.template import prompt_hash
from slmbench.weights import ANEW

if TYPE_CHECKING:
    from slmbench.core import Backend
    from slmbench.decode.loop import Decoder

LOGIT_ROWS = 32
CALIBRATION_ROWS = 48
MOST_POINTS_LOST = 0.5
"""Points of JSONExact that an export may lose on the validation split."""


def export(
    run: Path, wanted: Sequence[str], out: Path | None = None, may_lose: float | None = None
) -> list[tuple[Path, dict[str, Any]]]:
    """Write the model of a finished run's folder in some forms; returns the new folders and their manifests.

    An export may lose `may_lose` points of JSONExact on the validation split, by default `allowed_points`.

    That of a run that trained nothing is its base. Raises BadInput where another has no adapter, or a folder holds what
    no export wrote, and SlmbenchError where an export answers worse than the run, however its outliers are smoothed;
    what was written before stays.
    """
    if not (run / "recipe.yaml").is_file():
        raise BadInput(f"{run}: no recipe.yaml in it; give the folder of a finished run.")
    if out is not None and len(wanted) > 1:
        raise BadInput(f"--out {out}: one folder for {len(wanted)} forms; give one form, or leave --out away.")
    if may_lose is not None and not 0 <= may_lose <= 100:
        raise BadInput(f"--may-lose {may_lose:g}: give points of JSONExact, 0 to 100.")
    folders = {to: out or run / "export" / to for to in wanted}
    for folder in folders.values():
        _check_place(folder)
    recipe = load_recipe(run / "recipe.yaml")
    adapter = adapter_of(run, recipe)
    # The plan's own run is not this one: an older version may have written it, and nothing is to be added to it.
    with tempfile.TemporaryDirectory(prefix="slmbench-") as scratch:
        plan = make_plan(recipe, Path(scratch))
    if not plan.validation.examples:
        raise BadInput(f"{run}: its recipe holds back no validation split, which an export is checked on.")
    merged, seen = merge(plan, adapter, calibrate=any(forms.FORMS[to].rounded for to in wanted))
    original: _Original | None = None
    done = []
    for to, folder in folders.items():
        say(f"export    {run.name} to {to}: {forms.FORMS[to].says}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with partial_folder(folder) as partial:
            for strength in STRENGTHS if forms.FORMS[to].rounded else (None,):
                manifest = _write(plan, adapter, to, merged, seen, strength, partial)
                original = original or _Original(plan, adapter)
                checked = manifest["checked"] = original.compare(Exported(partial, manifest))
                say(f"export    {json.dumps({'smoothing': strength, **checked})}")
                allowed = allowed_points(checked["documents"]) if may_lose is None else may_lose
                if checked["points_lost"] <= allowed:
                    break
            else:
                raise SlmbenchError(
                    f"the export answers {checked['exact']['export']} of {checked['documents']} validation documents"
                    f" exactly, the run {checked['exact']['run']}: {checked['points_lost']:.1f} points lost, over"
                    f" {allowed:g}; take another form, or allow more with --may-lose."
                )
            manifest |= calibrate(Exported(partial, manifest), plan.validation.examples)
            write_atomic(partial / MANIFEST, json_text(manifest))
            for path in partial.iterdir():
                path.chmod(0o644)
        done.append((folder, manifest))
    if out is None and samples_path(run / "record.json").is_file():
        rewrite_report(run)
    return done


def _check_place(folder: Path) -> None:
    """Raise BadInput where a folder holds anything that no export wrote: a new one takes the place of all of it."""
    another = "move it elsewhere, or give another folder with --out"
    if not folder.exists():
        return
    if not folder.is_dir():
        raise BadInput(f"{folder}: is no folder; {another}.")
    there = {path.name for path in folder.iterdir()}
    manifest = read_json(folder / MANIFEST, another) if MANIFEST in there else {}
    listed = manifest.get("files")
    ours = {MANIFEST, *listed} if "form" in manifest and isinstance(listed, dict) else set()
    if others := sorted(there - ours):
        raise BadInput(f"{folder}: holds {others[0]}, which no export wrote; {another}.")


def allowed_points(documents: int) -> float:
    """The points that an export may lose: one document in any case, which is more where there are fewer than 200."""
    return max(MOST_POINTS_LOST, round(100 / documents, 2))


def _write(
    plan: Plan, adapter: Path | None, to: str, merged: forms.Merged, seen: Mapping[tuple[int, str], np.ndarray],
    strength: float | None, folder: Path,
) -> dict[str, Any]:  # fmt: skip
    """The files of an export, and a manifest that does not say yet how it was checked."""
    new = merged
    if strength is not None:
        new = replace(merged, tensors=smoothed(merged.tensors, merged.config, seen, strength))
    try:
        forms.write(forms.FORMS[to], new, folder)
    except ValueError as error:
        raise BadInput(f"{plan.recipe.name}: {error}, so it cannot be written as {to}; take another form.") from None
    return {**_manifest(plan, adapter, to, folder), "smoothing": strength}


def merge(
    plan: Plan, adapter: Path | None, *, calibrate: bool
) -> tuple[forms.Merged, dict[tuple[int, str], np.ndarray]]:
    """The model with its adapter merged in fp32, and if wanted the largest inputs that its layers see of training
    documents."""
    model = models.load_merged(plan.base, adapter)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    tensors = {k: v.detach().numpy() for k, v in model.state_dict().items() if not (tied and k == "lm_head.weight")}
    rows = plan.train.encoded
    picked = spread(len(rows), CALIBRATION_ROWS) if calibrate else []
    seen = largest_inputs(model, [rows[i].ids for i in picked])
    config = read_json(plan.base.folder / "config.json", ANEW)
    return forms.Merged(tensors, config, plan.base.folder, model.model.rotary_emb.inv_freq.numpy()), seen


def _manifest(plan: Plan, adapter: Path | None, to: str, folder: Path) -> dict[str, Any]:
    """What an export is, but for how it was checked."""
    tokenizer = plan.tokenizer
    return {
        "form": to,
        "backend": forms.FORMS[to].backend,
        "name": plan.recipe.name,
        "base": plan.base.facts(),
        "adapter_sha256": file_sha256(adapter / models.ADAPTER) if adapter else None,
        "recipe": plan.recipe.to_dict(),
        "data": {"train": plan.train.facts(), "validation": plan.validation.facts()},
        "task": plan.recipe.task,
        "schema": only_schema(plan.train.examples),
        "prompt": {"style": plan.recipe.prompt, "sha256": prompt_hash(plan.recipe.prompt)},
        "eos": tokenizer.eos_token_id,
        "pad": tokenizer.pad_token_id,
        "stops": sorted({tokenizer.eos_token_id, tokenizer.pad_token_id}),
        "files": {
            path.name: {"bytes": path.stat().st_size, "sha256": file_sha256(path)} for path in sorted(folder.iterdir())
        },
    }


def only_schema(examples: Sequence[Example]) -> Mapping[str, Any] | None:
    """The schema that all examples are under; None where they are under several."""
    first = examples[0].schema
    return first if all(example.schema == first for example in examples) else None


class _Original:
    """What the run itself answers to its validation split: decoded once."""

    def __init__(self, plan: Plan, adapter: Path | None) -> None:
        import torch

        from slmbench import memory
        from slmbench.backends.hf import HfBackend

        self.plan = plan
        self.asked = [request(row, plan.recipe.evaluate) for row in plan.validation.encoded]
        model = models.load_merged(plan.base, adapter, memory.precision("auto"))
        with torch.inference_mode():
            self.logits = [
                model(input_ids=torch.tensor([row.prompt_ids]), logits_to_keep=1).logits[0, -1].float().numpy()
                for row in self.asked[:LOGIT_ROWS]
            ]
        self.answers = self._answers("run", HfBackend(model, plan.tokenizer))
        del model
        gc.collect()

    def _answers(self, kind: str, backend: Backend) -> list[Sample]:
        plan = self.plan
        # By their places: two tasks of one recipe may have rows of the same id.
        examples = [replace(example, id=str(i)) for i, example in enumerate(plan.validation.examples)]
        encoded = [replace(row, id=str(i)) for i, row in enumerate(plan.validation.encoded)]
        with tempfile.TemporaryDirectory() as name:
            return evaluate(
                plan.task, backend, examples, encoded, plan.recipe.evaluate, Path(name) / "samples.jsonl",
                f"check {kind}",
            )  # fmt: skip

    def compare(self, exported: Exported) -> dict[str, Any]:
        """How an export's logits and answers differ from these."""
        from slmbench.decode.loop import Decoder

        backend = exported.backend()
        logits = self._compare_logits(backend) if isinstance(backend, Decoder) else {}
        pairs = list(zip(self.answers, self._answers("export", backend), strict=True))
        exact = {kind: sum(pair[i]["score"]["exact"] for pair in pairs) for i, kind in enumerate(("run", "export"))}
        return {
            **logits,
            "documents": len(pairs),
            "exact": exact,
            "points_lost": round(100 * (exact["run"] - exact["export"]) / len(pairs), 2),
            "same_answers": sum(a["output"] == b["output"] for a, b in pairs),
            "same_answers_of_first": sum(a["output"] == b["output"] for a, b in pairs[:LOGIT_ROWS]),
        }

    def _compare_logits(self, decoder: Decoder) -> dict[str, float]:
        """Of each prompt's next token."""
        from slmbench.decode.loop import Part

        parts = [Part(0, row.prompt_ids, 0, 1) for row in self.asked[:LOGIT_ROWS]]
        got = [decoder.engine.forward([part])[0][0].copy() for part in parts]
        apart = [np.abs(a - b) for a, b in zip(got, self.logits, strict=True)]
        return {
            "first_token_same": sum(int(a.argmax() == b.argmax()) for a, b in zip(got, self.logits, strict=True)),
            "logits_apart": round(float(np.mean([a.mean() for a in apart])), 4),
            "logits_apart_most": round(float(max(a.max() for a in apart)), 3),
        }
