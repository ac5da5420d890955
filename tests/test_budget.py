"""What is foretold of bytes and seconds: the counts are those of real models and real buffers, and follow the work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from slmbench import budget, llama, models, packing
from slmbench.budget import Shape, Speed, Training, evaluation_bytes, training_bytes
from slmbench.config import PROJECTIONS
from slmbench.core import BadInput
from slmbench.memory import GIB
from slmbench.padded import PaddedStep, batch_loss, collate
from slmbench.template import Encoded

SMOLLM2 = {
    "num_hidden_layers": 30, "hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9,
    "num_key_value_heads": 3, "vocab_size": 49_152,
}  # fmt: skip
SMOLLM2_135M = Shape(
    parameters=134_515_008, layers=30, hidden=576, intermediate=1536, heads=9, kv_heads=3, vocab=49_152, head=64
)
WORK = Training(SMOLLM2_135M, "bf16", 16, PROJECTIONS, by_hand=True)
PASSES = [[(n, n) for n in lengths] for lengths in [[300, 250, 200], [350, 320], [128] * 6]]


def adapted(config: Any, targets: tuple[str, ...], rank: int, dropout: float = 0.0) -> Any:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = get_peft_model(
        AutoModelForCausalLM.from_config(config),
        LoraConfig(r=rank, lora_dropout=dropout, target_modules=list(targets), task_type="CAUSAL_LM"),
    )
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    return model


def tiny_config(tiny: Any, **sizes: Any) -> Any:
    config = models.load_model(tiny).config
    config.update(sizes)
    return config


# ---- sizes


def test_the_shape_of_a_config() -> None:
    assert budget.shape_of(SMOLLM2, 134_515_008) == SMOLLM2_135M
    assert SMOLLM2_135M.kv_values == 30 * 2 * 3 * 64
    # Every head has keys of its own where nothing else is said, and a width of its own where that is said.
    plain = budget.shape_of({k: v for k, v in SMOLLM2.items() if k != "num_key_value_heads"}, 1)
    assert plain.kv_width == 576
    wide = budget.shape_of({**SMOLLM2, "head_dim": 128}, 1)
    assert (wide.q_width, wide.kv_width) == (9 * 128, 3 * 128)
    assert budget.shape_of({**SMOLLM2, "head_dim": None}, 134_515_008) == SMOLLM2_135M


@pytest.mark.parametrize(
    "targets", [PROJECTIONS, ("q_proj",), ("k_proj", "v_proj"), ("o_proj",), ("gate_proj", "down_proj"), ("up_proj",)]
)
@pytest.mark.parametrize("head_dim", [8, 16])
def test_adapter_parameters_are_those_of_peft(tiny: Any, targets: tuple[str, ...], head_dim: int) -> None:
    config = tiny_config(tiny, head_dim=head_dim)
    model = adapted(config, targets, 3)
    real = sum(p.numel() for p in model.parameters() if p.requires_grad)
    shape = budget.shape_of(config.to_dict(), tiny.parameters)
    assert Training(shape, "fp32", 3, targets, by_hand=True).adapter_parameters == real > 0


def test_the_constants_are_those_of_the_code() -> None:
    for name in ("LOSS_ROWS", "SOFTMAX_ROWS", "EVEN", "WHOLE_ROW", "ATTENTION_BLOCK"):
        assert getattr(budget, name) == getattr(llama, name)


# ---- bytes of training


@pytest.mark.parametrize("begin", [0, 18])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("lengths", [[220, 210, 200, 150, 60], [384, 300], [385, 200], [900, 30, 20]])
@pytest.mark.parametrize(
    ("sizes", "kind"), [({}, torch.float32), ({"head_dim": 32, "num_key_value_heads": 1}, torch.bfloat16)]
)
def test_buffers_are_as_large_as_foretold(
    tiny: Any, lengths: list[int], recompute: bool, begin: int, sizes: dict[str, int], kind: torch.dtype
) -> None:
    """The tiny base, deeper and wider; the rest is for what lives within one operation."""
    config = tiny_config(tiny, num_hidden_layers=24, hidden_size=96, intermediate_size=256, **sizes)
    step = llama.LlamaStep(adapted(config, PROJECTIONS, 4).to(kind))
    step.recompute = recompute
    begins = (5,) * begin
    rows = [
        Encoded(f"{n}", (*begins, *(7 + i for _ in range(n - begin))), max(n // 4, begin + 1))
        for i, n in enumerate(lengths)
    ]
    step.loss_and_gradients(rows, 1.0)
    step.loss(rows)
    real = sum(t.numel() * t.element_size() for t in (*step.work.buffers.values(), step.future))
    work = Training(
        budget.shape_of(config.to_dict(), tiny.parameters), "fp32" if kind == torch.float32 else "bf16", 4,
        PROJECTIONS, by_hand=True,
    )  # fmt: skip
    passes = [packing.sizes(part) for part in (rows[1:], rows, rows[:1])]
    parts = training_bytes(work, passes, recompute=recompute)
    foretold = sum(parts[name] for name in ("activations", "attention", "working buffers", "logits"))
    assert (0.8 if recompute else 0.9) < real / foretold <= 1


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("sizes", [{}, {"hidden_size": 96, "intermediate_size": 256}])
def test_autograd_keeps_what_is_foretold(tiny: Any, precision: Any, dropout: float, sizes: dict[str, int]) -> None:
    """Counted from the tensors that its graph holds, of a layer more."""

    def kept(layers: int) -> tuple[int, int]:
        config = tiny_config(tiny, num_hidden_layers=layers, **sizes)
        model = adapted(config, PROJECTIONS, 4, dropout).to({"fp32": torch.float32, "bf16": torch.bfloat16}[precision])
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        own = {p.untyped_storage().data_ptr() for p in model.parameters()}
        held: dict[int, torch.Tensor] = {}

        def hold(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.untyped_storage().data_ptr() not in own:
                held[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        step = PaddedStep(model, 0)
        with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
            loss = batch_loss(step.model, collate([Encoded("a", (5,) * 160, 159)], 0))
        assert loss.requires_grad
        work = Training(
            budget.shape_of(config.to_dict(), tiny.parameters), precision, 4, PROJECTIONS, False, dropout=dropout > 0
        )
        parts = training_bytes(work, [[(160, 160)]])
        return sum(t.untyped_storage().nbytes() for t in held.values()), parts["activations"] + parts["attention"]

    (real_two, two), (real_three, three) = kept(2), kept(3)
    assert three - two == pytest.approx(real_three - real_two, rel=0.1)


@pytest.mark.parametrize("by_hand", [True, False])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_bytes_follow_the_work(by_hand: bool, device: str) -> None:
    work = replace(WORK, by_hand=by_hand, device=device)
    one = training_bytes(work, PASSES)
    assert one["total"] == sum(value for key, value in one.items() if key not in ("loading, before", "total"))
    assert min(one.values()) >= 0
    assert training_bytes(work, [*PASSES, [(400, 400), (350, 350), (300, 300)]])["total"] > one["total"]
    assert training_bytes(work, [[(600, 600)]])["total"] < training_bytes(work, [[(1200, 1200)]])["total"]
    assert training_bytes(replace(work, rank=64), PASSES)["total"] > one["total"]
    assert training_bytes(replace(work, precision="fp32"), PASSES)["total"] > one["total"]
    again = training_bytes(work, PASSES, recompute=True)
    assert again["activations"] < 0.2 * one["activations"] and again["total"] < one["total"]
    fewer = training_bytes(replace(work, targets=("q_proj",)), PASSES)
    assert fewer["adapter and optimizer"] < one["adapter and optimizer"] / 5
    assert 0.9 * GIB < one["total"] < 8 * GIB


def test_by_hand_needs_less() -> None:
    auto = training_bytes(replace(WORK, by_hand=False), PASSES)
    assert training_bytes(WORK, PASSES)["total"] < 0.8 * auto["total"]


def test_a_file_read_beside_its_weights_can_be_the_most() -> None:
    work = replace(WORK, file_bytes=10 * GIB)
    assert training_bytes(work, PASSES)["total"] == training_bytes(work, PASSES)["loading, before"] > 10 * GIB
    assert training_bytes(replace(work, file_bytes=0), PASSES)["total"] < 3 * GIB


# ---- evaluation and time


def test_evaluation_bytes_follow_the_work() -> None:
    given: dict[str, Any] = {"positions": 4096, "longest": 300, "file_bytes": 0, "device": "cpu", "precision": "fp32"}
    one = evaluation_bytes(SMOLLM2_135M, **given)
    assert one["total"] == sum(value for key, value in one.items() if key not in ("total", "loading, before"))
    assert one["key-value cache"] == 4096 * 30 * 2 * 3 * 64 * 4
    half = evaluation_bytes(SMOLLM2_135M, **{**given, "precision": "bf16"})
    assert half["key-value cache"] * 2 == one["key-value cache"]
    assert half["loading, before"] == one["loading, before"]  # an adapter is merged in fp32
    assert half["loading, before"] <= half["total"] < one["total"]
    for key in ("positions", "longest", "file_bytes"):
        assert evaluation_bytes(SMOLLM2_135M, **{**given, key: given[key] * 2 + 1000})["total"] > one["total"]


def test_seconds_follow_the_work() -> None:
    speed = Speed(flops=2e11, bytes_per_s=3e10)
    one = budget.training_seconds(SMOLLM2_135M, speed, tokens=100_000, by_hand=True)
    assert budget.training_seconds(SMOLLM2_135M, speed, tokens=200_000, by_hand=True) == pytest.approx(2 * one)
    assert one < budget.training_seconds(SMOLLM2_135M, speed, tokens=100_000, by_hand=False)
    assert 300 < one < 1200
    asked: dict[str, Any] = {"prompt_tokens": 40_000, "new_tokens": 30_000, "precision": "fp32"}
    alone, together = (budget.evaluation_seconds(SMOLLM2_135M, speed, batch=batch, **asked) for batch in (1, 16))
    assert together < alone


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_calibration_measures_something(precision: Any) -> None:
    speed = budget.calibrate(precision, seconds=0.02)
    assert speed.flops > 1e7
    assert speed.bytes_per_s > 1e7


@pytest.mark.parametrize(
    ("key", "value"), [("intermediate_size", None), ("num_attention_heads", 0), ("vocab_size", "x")]
)
def test_a_config_of_other_names_is_said(key: str, value: Any) -> None:
    config = {
        "model_type": "bloom", "num_attention_heads": 4, "num_hidden_layers": 2, "hidden_size": 64,
        "intermediate_size": 96, "vocab_size": 100, "num_key_value_heads": None,
    }  # fmt: skip
    assert budget.shape_of(config, 1).kv_heads == 4
    config[key] = value
    with pytest.raises(
        BadInput, match=r"the base's config\.json \(bloom\) does not say its sizes as Llama and Qwen do"
    ):
        budget.shape_of(config, 1)
