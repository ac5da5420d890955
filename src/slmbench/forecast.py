"""The plan of a training before it starts: memory by part, tokens a pass, time, and whether it fits a machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from slmbench import budget, memory
from slmbench.core import BadInput, SlmbenchError
from slmbench.evaluate import request
from slmbench.files import read_json
from slmbench.memory import GIB
from slmbench.weights import ANEW

if TYPE_CHECKING:
    from slmbench.pipeline import Plan
    from slmbench.template import Encoded

SMALLEST_PASS = 64


@dataclass(frozen=True)
class Forecast:
    """What is foretold of a run: bytes by part, with their `total`; seconds, None where the machine is not this one.

    Where nothing is trained, training needs nothing.
    """

    device: str
    precision: str
    gradients: str
    pass_tokens: int
    longest_row: int
    recompute: bool
    training: dict[str, int]
    evaluation_positions: int
    evaluation: dict[str, int]
    limit: int
    training_seconds: float | None
    evaluation_seconds: float | None

    @property
    def peak(self) -> int:
        """The most memory at any time."""
        return max(self.training["total"], self.evaluation["total"])

    @property
    def fits(self) -> bool:
        """Whether the peak stays within the limit."""
        return self.peak <= self.limit

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {**asdict(self), "peak": self.peak, "fits": self.fits}


def device_of(text: str) -> tuple[str, int]:
    """`cuda:16GiB` as a device and its bytes. Raises BadInput for anything else."""
    kind, _, size = text.partition(":")
    if kind not in budget.RUNTIME_BYTES or not size:
        raise BadInput(f"--device {text}: write it like cuda:16GiB or cpu:8GiB.")
    return kind, memory.bytes_of(size)


def forecast(plan: Plan, *, device: str | None = None, limit: int | None = None, measure: bool = True) -> Forecast:
    """Choose the tokens a pass for this machine, or for a `device` of `limit` bytes, and foretell bytes and seconds.

    On a CPU a pass has `train.micro_tokens` at most, on a GPU as many as fit; where even a row alone does not fit,
    layers are computed again in the backward pass.
    """
    from slmbench.llama import MODEL_TYPES

    here = memory.best_device()
    target = device or here
    kind = _precision(plan.recipe.train.precision, target)
    config = read_json(plan.base.folder / "config.json", ANEW)
    shape = budget.shape_of(config, plan.base.parameters)
    by_hand = target == "cpu" and plan.recipe.adapter.dropout == 0 and config.get("model_type") in MODEL_TYPES
    size = sum(path.stat().st_size for path in plan.base.folder.glob("*.safetensors"))
    work = budget.Training(
        shape, kind, plan.recipe.adapter.r, plan.recipe.adapter.targets, by_hand, target,
        size if target == "cpu" and size != shape.parameters * budget.width_of(kind) else 0,
        plan.recipe.adapter.dropout > 0,
    )  # fmt: skip
    limit = limit or (memory.memory_bytes() if target == "cpu" else memory.gpu_bytes())
    tokens, recompute, need, computed = plan.recipe.train.micro_tokens, False, {"total": 0}, 0
    if plan.recipe.trains:
        tokens, recompute, need, computed = _fitting(plan, work, limit)
    positions, evaluation = _evaluation(plan, shape, size, target, limit)
    seconds: tuple[float, float] | tuple[None, None] = (None, None)
    if target == here and measure:
        seconds = _seconds(plan, work, computed)
    return Forecast(
        target, kind, "by hand" if by_hand else "autograd", tokens, max(len(r.ids) for r in plan.train.encoded),
        recompute, need, positions, evaluation, limit, *seconds,
    )  # fmt: skip


def allowed(plan: Plan) -> int:
    """Bytes that a plan may take: what is free now, or what `--memory` says where that is less.

    On a GPU it is all that the card has.
    """
    free = memory.free_memory() if memory.best_device() == "cpu" else memory.gpu_bytes()
    return min(free, plan.memory or free)


def _precision(asked: Literal["auto"] | memory.Precision, device: str) -> memory.Precision:
    """What a recipe asks for; under `auto`, on a device that is not at hand to be asked, what is usual there."""
    if asked == "auto" and device == "cuda" and memory.best_device() != device:
        return "bf16"
    return memory.precision(asked, device)


def _fitting(plan: Plan, work: budget.Training, limit: int) -> tuple[int, bool, dict[str, int], int]:
    """(tokens a pass, whether to compute layers again, bytes, tokens of all passes): the most tokens that fit, else
    what needs least. A beginning that rows share is computed once."""

    def computed(cut: budget.Passes) -> int:
        return sum(length for one in cut for length, _ in one)

    rows = plan.train.encoded
    settings = plan.recipe.train
    tokens = settings.micro_tokens
    if work.device == "cuda":  # few large passes: up to a whole update
        tokens = max(tokens, settings.update_examples * max(len(row.ids) for row in rows))
    longest = max(len(row.ids) for row in rows)
    while True:
        cut = passes(plan, tokens, work.by_hand)
        need = budget.training_bytes(work, cut)
        if need["total"] <= limit or tokens <= max(SMALLEST_PASS, 1):
            break
        tokens = max(tokens // 2, SMALLEST_PASS)
    if need["total"] <= limit:
        return tokens, False, need, computed(cut)
    tokens = min(settings.micro_tokens, longest)
    cut = passes(plan, tokens, work.by_hand)
    return tokens, True, budget.training_bytes(work, cut, recompute=True), computed(cut)


def passes(plan: Plan, tokens: int, by_hand: bool) -> list[list[tuple[int, int]]]:
    """What every pass of the training holds, as `budget.Passes`."""
    from slmbench import packing
    from slmbench.padded import micro_batches
    from slmbench.train import updates_of_epoch

    cut = packing.passes if by_hand else micro_batches
    settings = plan.recipe.train
    updates: list[Sequence[Encoded]] = [
        update
        for epoch in range(settings.epochs)
        for update in updates_of_epoch(plan.train.encoded, epoch, plan.recipe.seed, settings)
    ]
    groups = (group for update in updates for group in cut(update, tokens))
    return [packing.sizes(group) if by_hand else [(len(row.ids),) * 2 for row in group] for group in groups]


def _evaluation(plan: Plan, shape: budget.Shape, size: int, device: str, limit: int) -> tuple[int, dict[str, int]]:
    """(key-value positions at once, bytes) of decoding: as many as the recipe allows, or as fit."""
    asked = [request(row, plan.recipe.evaluate) for split in plan.tests.values() for row in split.encoded]
    longest = max(len(r.prompt_ids) for r in asked)
    least = max(len(r.prompt_ids) + r.max_new_tokens for r in asked)
    positions = max(plan.recipe.evaluate.batch_tokens, least)
    kind = _precision(plan.recipe.evaluate.precision, device)
    while True:
        need = budget.evaluation_bytes(
            shape, positions=positions, longest=longest, file_bytes=size, device=device, precision=kind
        )
        if need["total"] <= limit or positions == least:
            return positions, need
        positions = max(positions // 2, least)


def _seconds(plan: Plan, work: budget.Training, tokens: int) -> tuple[float, float]:
    """Seconds of training over so many tokens, and of evaluation, on this machine, from a second of measuring."""
    shape = work.shape
    speed = budget.calibrate(work.precision, work.device)
    training = budget.training_seconds(shape, speed, tokens=tokens, by_hand=work.by_hand)
    evaluation = 0.0
    kind = _precision(plan.recipe.evaluate.precision, work.device)
    speed = budget.calibrate(kind, work.device)
    for name, split in plan.tests.items():
        asked = [request(row, plan.recipe.evaluate) for row in split.encoded]
        prompts = sum(len(r.prompt_ids) for r in asked)
        gold = sum(row.completion_tokens for row in split.encoded)
        most = sum(r.max_new_tokens for r in asked)  # what a base writes, which knows no end
        tuned = gold if plan.recipe.trains else most
        written = tuned + (most if plan.test(name).base else 0)
        evaluation += budget.evaluation_seconds(
            shape, speed, prompt_tokens=prompts * (1 + plan.test(name).base), new_tokens=written, batch=16,
            precision=kind,
        )  # fmt: skip
    return round(training, 1), round(evaluation, 1)


def table(told: Forecast) -> str:
    """The forecast for people."""
    names = list(dict.fromkeys([*told.training, *told.evaluation]))
    names = [name for name in names if name not in ("loading, before", "total")]
    rows = [("", "training", "evaluation")]
    rows += [(name, _mib(told.training.get(name)), _mib(told.evaluation.get(name))) for name in names]
    if loading := told.training.get("loading, before"):
        rows += [("loading the weights", f"({_mib(loading)})", "")]
    rows += [("most at any time", _mib(told.training["total"]), _mib(told.evaluation["total"]))]
    lines = [f"{name:24}{training:>12}{evaluation:>12}" for name, training, evaluation in rows]
    again = ", each layer computed again in the backward pass" if told.recompute else ""
    lines += [
        f"on {told.device} in {told.precision}, gradients {told.gradients}: {told.pass_tokens} tokens a pass (longest"
        f" row {told.longest_row}){again}; {told.evaluation_positions} positions at once in evaluation",
    ]
    if told.training_seconds is not None and told.evaluation_seconds is not None:
        lines += [f"time: {_minutes(told.training_seconds)} training, {_minutes(told.evaluation_seconds)} evaluation"]
    verdict = "fits" if told.fits else "does not fit"
    lines += [f"{verdict}: {told.peak / GIB:.2f} GiB foretold, {told.limit / GIB:.2f} GiB allowed"]
    return "\n".join(lines)


def check_fit(told: Forecast, stages: Sequence[Literal["training", "evaluation"]] = ("training", "evaluation")) -> None:
    """Raise SlmbenchError, with the numbers, for the first stage that does not fit."""
    needs = {"training": told.training["total"], "evaluation": told.evaluation["total"]}
    over = [stage for stage in stages if needs[stage] > told.limit]
    if not over:
        return
    stage, need = over[0], needs[over[0]]
    raise SlmbenchError(
        f"{stage} needs {need / GIB:.2f} GiB even with the smallest passes, and {told.limit / GIB:.2f} GiB are there;"
        f" end other programs, allow more --memory, or lower data.max_tokens (the longest row has {told.longest_row})."
    )


def _mib(value: int | None) -> str:
    return "" if value is None else f"{value / 2**20:,.0f} MiB"


def _minutes(seconds: float) -> str:
    return f"{math.ceil(seconds / 60)} min" if seconds >= 60 else f"{seconds:.0f} s"
