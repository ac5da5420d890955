"""Training: its loss and gradients are the plain ones, an update does not depend on memory, a stop loses nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slmbench import kernels, models, train
from slmbench.core import BadInput, SlmbenchError
from slmbench.files import read_jsonl_tolerant
from slmbench.template import Encoded

PAD = 0


def row(name: str, length: int, prompt: int = 1) -> Encoded:
    return Encoded(name, tuple(range(3, 3 + length)), prompt)


@pytest.fixture
def fresh(tiny: Any, recipe: Any) -> Callable[..., Any]:
    """A tiny base with a new adapter, the same each time."""

    def make(**changes: Any) -> Any:
        return train.attach_adapter(
            models.load_model(tiny), replace(recipe, adapter=replace(recipe.adapter, **changes))
        )

    return make


@pytest.fixture
def trainer(fresh: Any, recipe: Any, encoded: list[Encoded], tmp_path: Path) -> Callable[..., train.Trainer]:
    def make(folder: str = "t", identity: str = "me", dropout: float = 0.1, **settings: Any) -> train.Trainer:
        changed = replace(recipe, train=replace(recipe.train, **settings))
        return train.Trainer(
            changed, fresh(dropout=dropout), encoded[:20], encoded[20:], PAD, tmp_path / folder, identity
        )

    return make


def parameters(trainer: train.Trainer) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in trainer.parameters.items()}


# ---- the loss


def test_a_padded_batch_has_the_loss_and_gradients_of_its_rows_alone(fresh: Any, encoded: list[Encoded]) -> None:
    """The fast path against its twin: peft's layers, torch's attention, transformers' loss, row by row."""
    rows = sorted(encoded, key=lambda r: len(r.ids))[::6]
    assert len({len(r.ids) for r in rows}) > 1
    fast, plain = kernels.fast(fresh(dropout=0.0)), fresh(dropout=0.0)
    with torch.no_grad():  # a fresh adapter has B = 0, which hides most of the arithmetic
        for model in (fast, plain):
            torch.manual_seed(5)
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.05)
    total = train.batch_loss(fast, train.collate(rows, PAD))
    total.backward()
    reference = torch.zeros(())
    for r in rows:
        labels = torch.tensor([[-100] * r.prompt_tokens + list(r.ids[r.prompt_tokens :])])
        mean = plain(input_ids=torch.tensor([r.ids]), labels=labels).loss
        (mean * r.completion_tokens).backward()
        reference += mean.detach() * r.completion_tokens
    torch.testing.assert_close(total.detach(), reference)
    gradients = {n: p.grad for n, p in fast.named_parameters() if p.requires_grad}
    assert gradients
    for name, parameter in plain.named_parameters():
        if parameter.requires_grad:
            assert float((gradients[name] - parameter.grad).norm()) < 1e-4 * float(parameter.grad.norm())


def test_the_last_label_of_every_row_is_its_end_token(encoded: list[Encoded], tokenizer: Any) -> None:
    rows = encoded[:3]
    batch = train.collate(rows, PAD)
    ends = torch.tensor([r.completion_tokens for r in rows]).cumsum(0) - 1
    assert set(batch.labels[ends].tolist()) == {tokenizer.eos_token_id}
    assert PAD not in batch.labels
    assert torch.equal(batch.ids.reshape(-1)[batch.picks + 1][batch.labels != tokenizer.eos_token_id],
                       batch.labels[batch.labels != tokenizer.eos_token_id])  # fmt: skip
    assert len(batch.labels) == sum(r.completion_tokens for r in rows)
    assert batch.tokens == sum(len(r.ids) for r in rows)


def test_validation_is_the_mean_over_completion_tokens(fresh: Any, encoded: list[Encoded]) -> None:
    model, rows = fresh(dropout=0.5), encoded[:5]
    value = train.validation_loss(model, rows, PAD, 10**6)
    assert model.training
    model.eval()
    with torch.no_grad():
        total = sum(float(train.batch_loss(model, train.collate([r], PAD), kernels.plain_loss)) for r in rows)
    assert value == pytest.approx(total / sum(r.completion_tokens for r in rows), rel=1e-5)
    assert train.validation_loss(model, rows, PAD, 1) == pytest.approx(value, rel=1e-5)


# ---- what is in an update


@given(st.lists(st.integers(2, 60), min_size=1, max_size=40), st.integers(1, 200))
def test_micro_batches_keep_every_row_and_the_budget(lengths: list[int], budget: int) -> None:
    rows = [row(f"{i:03}", n) for i, n in enumerate(lengths)]
    groups = train.micro_batches(rows, budget)
    assert sorted(r.id for group in groups for r in group) == [r.id for r in rows]
    assert all(len(group) == 1 or len(group) * max(len(r.ids) for r in group) <= budget for group in groups)
    flat = [len(r.ids) for group in groups for r in group]
    assert flat == sorted(flat)


@given(st.integers(1, 50), st.integers(1, 12), st.integers(0, 5))
def test_an_epoch_has_every_example_once(count: int, size: int, epoch: int) -> None:
    rows = [row(f"{i:03}", 3) for i in range(count)]
    updates = train.updates_of_epoch(rows, epoch, 42, size)
    assert sorted(r.id for update in updates for r in update) == [r.id for r in rows]
    assert all(len(update) == size for update in updates[:-1])


def test_epochs_differ_and_repeat() -> None:
    rows = [row(f"{i:03}", 3) for i in range(30)]
    first, second = (train.updates_of_epoch(rows, epoch, 42, 8) for epoch in (0, 1))
    assert first != second
    assert first == train.updates_of_epoch(rows, 0, 42, 8) != train.updates_of_epoch(rows, 0, 43, 8)


def test_the_schedule_rises_and_falls() -> None:
    rates = [train.learning_rate(i, 100, 1.0, 0.1) for i in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[10] == 1.0 == max(rates)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.001
    assert rates[55] == pytest.approx(0.5)
    assert train.learning_rate(0, 1, 1.0, 0.0) == 1.0


def test_an_update_does_not_depend_on_memory(trainer: Any) -> None:
    """The same update in one pass or in many: the same loss, norm and step, to rounding."""
    wide, narrow = trainer("wide", micro_tokens=10**6), trainer("narrow", micro_tokens=1)
    for model in (wide.model, narrow.model):
        model.eval()  # dropout draws by position in a batch
    a, b = wide.update(wide.rows[:4], 3), narrow.update(narrow.rows[:4], 3)
    assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
    assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3)
    moved = parameters(narrow)
    for name, value in parameters(wide).items():
        torch.testing.assert_close(value, moved[name], rtol=1e-3, atol=1e-4)


# ---- a whole training


def test_training_learns_and_tells_how(trainer: Any) -> None:
    one = trainer()
    before = parameters(one)
    figures = one.run()
    history = read_jsonl_tolerant(one.folder / "history.jsonl")
    assert [r["update"] for r in history if "loss" in r] == list(range(1, 11))
    assert figures["final_loss"] < figures["first_loss"]
    assert len(figures["validation_losses"]) == 2
    assert figures["tokens"] == 2 * sum(len(r.ids) for r in one.rows)
    assert figures["trainable_parameters"] == sum(p.numel() for p in before.values())
    assert all(not torch.equal(before[name], value) for name, value in parameters(one).items())


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("stop_at", [1, 4, 5, 9])
def test_a_stopped_training_ends_the_same_to_the_bit(trainer: Any, stop_at: int, dropout: float) -> None:
    whole = trainer("whole", dropout=dropout)
    whole.run()

    broken = trainer("broken", dropout=dropout, checkpoint_seconds=1e9 if stop_at == 9 else 0)
    plain_update = broken.update

    def update(examples: Any, number: int) -> Any:
        if number == stop_at:
            raise KeyboardInterrupt
        return plain_update(examples, number)

    broken.update = update
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    again = trainer("broken", dropout=dropout)
    again.run()

    expected = parameters(whole)
    assert all(torch.equal(expected[name], value) for name, value in parameters(again).items())
    told = ("update", "loss", "lr", "grad_norm", "validation_loss", "tokens")
    one, other = (
        [{key: r.get(key) for key in told} for r in read_jsonl_tolerant(t.folder / "history.jsonl")]
        for t in (whole, again)
    )
    assert one == other


def test_a_checkpoint_of_another_run_is_refused(trainer: Any) -> None:
    trainer().run()
    with pytest.raises(BadInput, match="belongs to another recipe, data or base"):
        trainer(identity="you").run()


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x02\x00\x00\x00\x00\x00\x00\x00{}"])
def test_a_file_that_is_no_checkpoint_is_one_sentence(trainer: Any, content: bytes) -> None:
    one = trainer()
    one.folder.mkdir(parents=True)
    (one.folder / "checkpoint.safetensors").write_bytes(content)
    with pytest.raises(BadInput, match=r"checkpoint\.safetensors: not a checkpoint .*delete it to train anew"):
        one.run()


def test_a_loss_that_is_no_number_stops_the_run_before_the_step(trainer: Any) -> None:
    one = trainer()
    with torch.no_grad():
        next(iter(one.parameters.values())).fill_(math.nan)
    with pytest.raises(SlmbenchError, match=r"update 1: the loss is nan; lower train\.learning_rate"):
        one.run()


def test_targets_that_the_base_lacks_are_named(fresh: Any) -> None:
    with pytest.raises(BadInput, match=r"adapter\.targets \['c_attn'\] do not fit this base"):
        fresh(targets=("c_attn",))


@pytest.mark.parametrize(
    ("config", "bias", "what"),
    [
        ({"logits_scaling": 2.0}, None, "caps or scales its logits"),
        ({"final_logit_softcapping": 30.0}, None, "caps or scales its logits"),
        ({}, torch.zeros(3), "has a bias on its output layer"),
    ],
)
def test_a_base_whose_logits_are_not_the_product_is_refused(config: dict[str, float], bias: Any, what: str) -> None:
    model = SimpleNamespace(
        config=SimpleNamespace(model_type="odd", **config), get_output_embeddings=lambda: SimpleNamespace(bias=bias)
    )
    with pytest.raises(BadInput, match=what):
        train.check_output_layer(model)
