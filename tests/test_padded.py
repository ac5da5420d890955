"""Loss and gradients by autograd: those of the plain model, row by row, however rows are padded and cut into passes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from adapters import clear, gradients
from hypothesis import given
from hypothesis import strategies as st

from slmbench import kernels, padded
from slmbench.core import BadInput
from slmbench.llama import LlamaStep
from slmbench.padded import WIDTH_STEP, PaddedStep, batch_loss, collate, micro_batches
from slmbench.template import Encoded

PAD = 0


def grown(model: Any) -> Any:
    """A fresh adapter has B = 0, which hides most of the arithmetic: give it values, and room for gradients."""
    torch.manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    return model


@pytest.fixture
def rows(encoded: list[Encoded]) -> list[Encoded]:
    """Four rows of different lengths."""
    chosen = sorted(encoded, key=lambda r: len(r.ids))[::6]
    assert len({len(r.ids) for r in chosen}) == len(chosen) == 4
    return chosen


# ---- the loss


def test_a_padded_batch_has_the_loss_and_gradients_of_its_rows_alone(fresh: Any, rows: list[Encoded]) -> None:
    """The fast path against its twin: peft's layers, torch's attention, transformers' loss, row by row."""
    fast, plain = kernels.fast(grown(fresh(dropout=0.0))), grown(fresh(dropout=0.0))
    total = batch_loss(fast, collate(rows, PAD))
    total.backward()
    reference = torch.zeros(())
    for row in rows:
        labels = torch.tensor([[-100] * row.prompt_tokens + list(row.ids[row.prompt_tokens :])])
        mean = plain(input_ids=torch.tensor([row.ids]), labels=labels).loss
        (mean * row.completion_tokens).backward()
        reference += mean.detach() * row.completion_tokens
    torch.testing.assert_close(total.detach(), reference)
    got = gradients(fast)
    for name, gradient in gradients(plain).items():
        assert float((got[name] - gradient).norm()) < 1e-4 * float(gradient.norm())


def test_by_hand_and_by_autograd_are_one(fresh: Any, rows: list[Encoded]) -> None:
    hand, auto = grown(fresh(dropout=0.0)), grown(fresh(dropout=0.0))
    one, other = LlamaStep(hand), PaddedStep(auto, PAD)
    assert one.loss(rows) == pytest.approx(other.loss(rows), rel=1e-5)
    assert one.loss_and_gradients(rows, 0.1) == pytest.approx(other.loss_and_gradients(rows, 0.1), rel=1e-5)
    got = gradients(hand)
    for name, gradient in gradients(auto).items():
        assert float((got[name] - gradient).norm()) < 1e-4 * float(gradient.norm())


def test_the_last_label_of_every_row_is_its_end_token(encoded: list[Encoded], tokenizer: Any) -> None:
    rows = encoded[:3]
    batch = collate(rows, PAD)
    ends = torch.tensor([r.completion_tokens for r in rows]).cumsum(0) - 1
    end = tokenizer.eos_token_id
    assert set(batch.labels[ends].tolist()) == {end}
    assert PAD not in batch.labels
    following = batch.ids.reshape(-1)[batch.picks + 1]
    assert torch.equal(following[batch.labels != end], batch.labels[batch.labels != end])
    assert len(batch.labels) == sum(r.completion_tokens for r in rows)
    assert batch.tokens == sum(len(r.ids) for r in rows)
    assert batch.ids.shape[1] % WIDTH_STEP == 0


# ---- the step


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_computing_layers_again_gives_the_same_gradients(fresh: Any, rows: list[Encoded], dropout: float) -> None:
    """With the same dropout too: the second forward pass draws what the first drew."""
    model = grown(fresh(dropout=dropout))
    step = PaddedStep(model, PAD)
    torch.manual_seed(7)
    loss = step.loss_and_gradients(rows, 1.0)
    kept = gradients(model)
    clear(model)
    step.recompute = True
    torch.manual_seed(7)
    assert step.loss_and_gradients(rows, 1.0) == loss
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, kept[name])
    assert step.loss(rows) == pytest.approx(PaddedStep(grown(fresh(dropout=0.0)), PAD).loss(rows), rel=1e-6)


def test_layers_are_computed_again_from_the_first_update(fresh: Any, rows: list[Encoded]) -> None:
    """And dropout drops from then on: a model is loaded in the mode that knows neither."""
    step = PaddedStep(grown(fresh(dropout=0.5)), PAD)
    passes: list[int] = []
    step.model.get_base_model().model.layers[0].mlp.register_forward_pre_hook(lambda *_: passes.append(1))
    first = step.loss_and_gradients(rows, 1.0)
    assert len(passes) == 1 and first != step.loss_and_gradients(rows, 1.0)
    passes.clear()
    step.recompute = True
    step.loss_and_gradients(rows, 1.0)
    assert len(passes) == 2


def test_gradients_are_scaled_and_added(fresh: Any, rows: list[Encoded]) -> None:
    model = grown(fresh(dropout=0.0))
    step = PaddedStep(model, PAD)
    step.loss_and_gradients(rows, 1.0)
    once = gradients(model)
    step.loss_and_gradients(rows, 0.5)
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, 1.5 * once[name])


def test_the_loss_alone_has_no_dropout_and_leaves_gradients(fresh: Any, rows: list[Encoded]) -> None:
    model, plain = grown(fresh(dropout=0.5)), grown(fresh(dropout=0.0))
    step = PaddedStep(model, PAD)
    assert step.loss(rows) == step.loss(rows) == pytest.approx(PaddedStep(plain, PAD).loss(rows), rel=1e-6)
    assert model.training
    assert not any(bool(gradient.any()) for gradient in gradients(model).values())
    assert step.loss_and_gradients(rows, 1.0) != pytest.approx(step.loss(rows), rel=1e-3)


# ---- rows into passes


@given(st.lists(st.integers(2, 60), min_size=1, max_size=40), st.integers(1, 200))
def test_micro_batches_keep_every_row_and_the_budget(lengths: list[int], budget: int) -> None:
    rows = [Encoded(f"{i:03}", tuple(range(3, 3 + n)), 1) for i, n in enumerate(lengths)]
    groups = micro_batches(rows, budget)
    assert sorted(r.id for group in groups for r in group) == [r.id for r in rows]
    assert all(len(group) == 1 or collate(group, PAD).ids.numel() <= budget for group in groups)
    flat = [len(r.ids) for group in groups for r in group]
    assert flat == sorted(flat)


# ---- what is refused


@pytest.mark.parametrize(
    ("config", "bias", "what"),
    [
        ({"logits_scaling": 2.0}, None, "caps or scales its logits"),
        ({"logit_scale": 0.5}, None, "caps or scales its logits"),
        ({"final_logit_softcapping": 30.0}, None, "caps or scales its logits"),
        ({}, torch.zeros(3), "has a bias on its output layer"),
    ],
)
def test_a_base_whose_logits_are_not_the_product_is_refused(config: dict[str, float], bias: Any, what: str) -> None:
    model = SimpleNamespace(
        config=SimpleNamespace(model_type="odd", **config), get_output_embeddings=lambda: SimpleNamespace(bias=bias)
    )
    with pytest.raises(BadInput, match=what):
        padded.check_output_layer(model)
