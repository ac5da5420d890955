"""Training: what is in an update does not depend on memory, a stop loses nothing, memory that runs out neither."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slmbench import kernels, padded, train
from slmbench.config import Training
from slmbench.core import BadInput, SlmbenchError
from slmbench.files import read_jsonl_tolerant
from slmbench.llama import LlamaStep
from slmbench.padded import PaddedStep
from slmbench.runs import Stopped, stopping
from slmbench.template import Encoded

PAD = 0
FULL = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"
both = pytest.mark.parametrize("dropout", [0.0, 0.1], ids=["by hand", "autograd"])


def row(name: str, length: int, prompt: int = 1) -> Encoded:
    return Encoded(name, tuple(range(3, 3 + length)), prompt)


@pytest.fixture
def trainer(fresh: Any, recipe: Any, encoded: list[Encoded], tmp_path: Path) -> Callable[..., train.Trainer]:
    def make(
        folder: str = "t", dropout: float = 0.1, made_of: dict[str, Any] | None = None,
        on_best: Callable[[], None] | None = None, **settings: Any,
    ) -> train.Trainer:  # fmt: skip
        changed = replace(recipe, train=replace(recipe.train, **settings))
        rows, held = encoded[:20], encoded[20:]
        made_of = made_of or {"recipe": {"seed": 42}}
        return train.Trainer(
            changed, fresh(dropout=dropout), rows, held, PAD, tmp_path / folder, made_of, on_best=on_best
        )

    return make


def told(one: train.Trainer) -> list[dict[str, Any]]:
    """The history without times and memory."""
    keys = ("update", "epoch", "loss", "lr", "grad_norm", "validation_loss", "tokens")
    return [{key: r.get(key) for key in keys} for r in read_jsonl_tolerant(one.folder / "history.jsonl")]


def end_equal(one: train.Trainer, other: train.Trainer) -> bool:
    """The same parameters and history to the bit."""
    return torch.equal(one.flat, other.flat) and told(one) == told(other)


def stop_at(one: train.Trainer, number: int) -> None:
    """Run until an update begins, and break off there."""
    plain = one.update

    def update(examples: Any, update: int) -> Any:
        if update == number:
            raise KeyboardInterrupt
        return plain(examples, update)

    one.update = update  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        one.run()


def fail(one: train.Trainer, when: Callable[[int], bool], error: Exception | None = None) -> list[int]:
    """Let memory run out at the end of a pass of so many tokens, gradients added; returns the tokens of all passes."""
    plain, seen = one.step.loss_and_gradients, []

    def pass_(rows: Any, scale: float) -> float:
        tokens = sum(len(r.ids) for r in rows)
        seen.append(tokens)
        value = plain(rows, scale)
        if when(tokens):
            raise error or RuntimeError(FULL)
        return value

    one.step.loss_and_gradients = pass_  # type: ignore[method-assign]
    return seen


# ---- what is in an update


@given(st.integers(1, 50), st.integers(1, 12), st.integers(0, 5), st.integers(1, 4), st.booleans())
def test_an_epoch_has_every_example_once(count: int, size: int, epoch: int, together: int, stratified: bool) -> None:
    rows = [replace(row(f"{i:03}", 3), schema=str(i % 5)) for i in range(count)]
    settings = Training(update_examples=size, together=together, stratified=stratified)
    updates = train.updates_of_epoch(rows, epoch, 42, settings)
    assert sorted(r.id for update in updates for r in update) == [r.id for r in rows]
    assert all(len(update) == size for update in updates[:-1])


def test_epochs_differ_and_repeat() -> None:
    rows = [row(f"{i:03}", 3) for i in range(30)]
    settings = Training(update_examples=8)
    first, second = (train.updates_of_epoch(rows, epoch, 42, settings) for epoch in (0, 1))
    assert first != second
    assert first == train.updates_of_epoch(rows, 0, 42, settings) != train.updates_of_epoch(rows, 0, 43, settings)


def test_rows_of_one_schema_are_together() -> None:
    rows = [replace(row(f"{i:03}", 3), schema=str(i % 5)) for i in range(40)]
    updates = train.updates_of_epoch(rows, 0, 42, Training(update_examples=8, together=4))
    for update in updates:
        assert all(len({r.schema for r in update[i : i + 4]}) == 1 for i in (0, 4))
    assert len({tuple(r.schema for r in update) for update in updates}) > 1
    assert updates != train.updates_of_epoch(rows, 1, 42, Training(update_examples=8, together=4))


def test_every_update_has_its_share_of_each_schema() -> None:
    rows = [replace(row(f"{i:03}", 3), schema="often" if i % 4 else "rare") for i in range(192)]
    updates, random = (
        train.updates_of_epoch(rows, 0, 42, Training(update_examples=16, together=4, stratified=stratified))
        for stratified in (True, False)
    )
    shares, by_chance = ({sum(r.schema == "rare" for r in update) for update in part} for part in (updates, random))
    assert shares == {4} and {0, 4} < by_chance
    assert updates != train.updates_of_epoch(rows, 1, 42, Training(update_examples=16, together=4, stratified=True))


def test_the_schedule_rises_and_falls() -> None:
    rates = [train.learning_rate(i, 100, 1.0, 0.1) for i in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[10] == 1.0 == max(rates)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.001
    assert rates[55] == pytest.approx(0.5)
    assert train.learning_rate(0, 1, 1.0, 0.0) == 1.0


@both
def test_an_update_does_not_depend_on_memory(trainer: Any, dropout: float) -> None:
    """The same update in one pass or in many: the same loss, norm and step, to rounding."""
    wide, narrow = (trainer(str(size), dropout=dropout, micro_tokens=size) for size in (10**6, 1))
    for one in (wide, narrow):
        if dropout:  # it draws by position in a batch
            one.step.model.eval()
    a, b = wide.update(wide.rows[:4], 3), narrow.update(narrow.rows[:4], 3)
    assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
    assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3)
    torch.testing.assert_close(wide.flat, narrow.flat, rtol=1e-3, atol=1e-4)


@both
def test_validation_is_the_mean_over_completion_tokens(
    trainer: Any, fresh: Any, encoded: list[Encoded], dropout: float
) -> None:
    one, rows = trainer(dropout=dropout), encoded[:5]
    value = train.validation_loss(one.step, rows, 10**6)
    model = fresh(dropout=0.5).eval()
    with torch.no_grad():
        total = sum(float(padded.batch_loss(model, padded.collate([r], PAD), kernels.plain_loss)) for r in rows)
    assert value == pytest.approx(total / sum(r.completion_tokens for r in rows), rel=1e-5)
    assert train.validation_loss(one.step, rows, 1) == pytest.approx(value, rel=1e-5)


# ---- a whole training


@both
def test_training_learns_and_tells_how(trainer: Any, dropout: float) -> None:
    one = trainer(dropout=dropout)
    assert isinstance(one.step, PaddedStep if dropout else LlamaStep)
    before = {name: value.detach().clone() for name, value in one.parameters.items()}
    figures = one.run()
    history = read_jsonl_tolerant(one.folder / "history.jsonl")
    assert [r["update"] for r in history if "loss" in r] == list(range(1, 11))
    assert figures["final_loss"] < figures["first_loss"]
    assert len(figures["validation_losses"]) == 2
    assert figures["tokens"] == 2 * sum(len(r.ids) for r in one.rows)
    assert figures["trainable_parameters"] == sum(p.numel() for p in before.values()) == one.flat.numel()
    assert (figures["gradients"], figures["pass_tokens"]) == ("autograd" if dropout else "by hand", 400)
    assert all(not torch.equal(before[name], value) for name, value in one.parameters.items())


def test_both_ways_train_the_same(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without dropout, by hand and by autograd end alike, to what rounding makes of ten updates."""
    hand = trainer("hand", dropout=0.0)
    monkeypatch.setattr(train, "unsupported", lambda model: "as a test wishes")
    auto = trainer("auto", dropout=0.0)
    assert (hand.step.name, auto.step.name) == ("by hand", "autograd")
    hand.run()
    auto.run()
    for one, other in zip(told(hand), told(auto), strict=True):
        for key in ("loss", "validation_loss", "grad_norm"):
            assert one[key] == (other[key] and pytest.approx(other[key], rel=1e-3))


@both
@pytest.mark.parametrize("number", [1, 4, 5, 9])
def test_a_stopped_training_ends_the_same_to_the_bit(trainer: Any, number: int, dropout: float) -> None:
    whole = trainer("whole", dropout=dropout)
    whole.run()
    stop_at(trainer("broken", dropout=dropout, checkpoint_seconds=1e9 if number == 9 else 0), number)
    again = trainer("broken", dropout=dropout)
    again.run()
    assert end_equal(again, whole)


@pytest.fixture
def wish() -> Iterator[None]:
    yield
    stopping.clear()


@both
@pytest.mark.usefixtures("wish")
def test_a_wish_to_stop_is_kept_at_the_next_update(trainer: Any, dropout: float) -> None:
    whole = trainer("whole", dropout=dropout)
    whole.run()
    broken = trainer("broken", dropout=dropout, checkpoint_seconds=1e9)
    plain = broken.update

    def update(examples: Any, number: int) -> Any:
        if number == 2:
            stopping.set()
        return plain(examples, number)

    broken.update = update
    with pytest.raises(Stopped):
        broken.run()
    assert broken.done == 3
    stopping.clear()
    again = trainer("broken", dropout=dropout)
    again.restore()
    assert again.done == 3
    again.run()
    assert end_equal(again, whole)


@both
def test_a_finished_training_is_told_again(trainer: Any, dropout: float) -> None:
    figures = trainer(dropout=dropout).run()
    again = trainer(dropout=dropout)
    seen = fail(again, lambda tokens: True)
    repeated = again.run()
    assert seen == []
    moving = ("peak_memory_gib",)
    assert {k: v for k, v in repeated.items() if k not in moving} == {
        k: v for k, v in figures.items() if k not in moving
    }


@both
@pytest.mark.parametrize("damaged", [1, 2])
def test_a_damaged_checkpoint_costs_only_time(
    trainer: Any, dropout: float, damaged: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the newest one damaged the one before serves; with both, training starts anew; the end is the same."""
    whole = trainer("whole", dropout=dropout)
    whole.run()
    stop_at(trainer("broken", dropout=dropout), 7)
    again = trainer("broken", dropout=dropout)
    names = ("checkpoint.safetensors", "checkpoint.before.safetensors")
    for name in names[:damaged]:
        path = again.folder / name
        path.write_bytes(path.read_bytes()[:-1])
    again.restore()
    assert again.done == (6 if damaged == 1 else 0)
    said = capsys.readouterr().err
    assert all(f"{again.folder / name}: passed over, it is damaged" in said for name in names[:damaged])
    again = trainer("broken", dropout=dropout)
    again.run()
    assert end_equal(again, whole)


@both
def test_a_checkpoint_of_another_recipe_names_what_differs(trainer: Any, dropout: float) -> None:
    trainer(dropout=dropout).run()
    other = trainer(dropout=dropout, made_of={"recipe": {"seed": 43}})
    with pytest.raises(BadInput, match=r"checkpoint\.safetensors: belongs to another run: recipe\.seed is 42 there and"
                       r" 43 here; use another --name or delete the folder"):  # fmt: skip
        other.run()


@both
def test_every_best_validation_is_told(trainer: Any, dropout: float, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([3.0, 3.0, 2.0, 2.5, 1.0])
    monkeypatch.setattr(train, "validation_loss", lambda *_: next(values))
    best: list[int] = []

    def make() -> Any:
        one = trainer(dropout=dropout, epochs=5, on_best=lambda: best.append(one.done))
        return one

    stop_at(make(), 17)
    assert best == [5, 15]
    again = make()
    again.run()
    assert best == [5, 15, 25]  # 2.5 was no better than what was known before the stop
    assert again.best == 1.0
    assert again.figures()["validation_losses"] == [3.0, 3.0, 2.0, 2.5, 1.0]


@both
def test_a_loss_that_is_no_number_stops_the_run_before_the_step(trainer: Any, dropout: float) -> None:
    one = trainer(dropout=dropout)
    with torch.no_grad():
        one.flat[0] = math.nan
    one.step.refresh()
    with pytest.raises(SlmbenchError, match=r"update 1: the loss is nan; lower train\.learning_rate"):
        one.run()


def test_the_output_layer_is_no_target(fresh: Any) -> None:
    with pytest.raises(BadInput, match=r"adapter\.targets: lm_head cannot be trained here"):
        fresh(targets=("q_proj", "lm_head"))


def test_targets_that_the_base_lacks_are_named(fresh: Any) -> None:
    with pytest.raises(BadInput, match=r"adapter\.targets \['c_attn'\] do not fit this base"):
        fresh(targets=("c_attn",))


# ---- memory that runs out


@both
@pytest.mark.parametrize("error", [RuntimeError(FULL), MemoryError()])
def test_an_update_is_done_again_in_smaller_passes(
    trainer: Any, dropout: float, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    """To the bit what the smaller passes give from the start: no half-added gradient and no other dropout remains."""
    short = trainer("short", dropout=dropout, micro_tokens=10**6)
    seen = fail(short, lambda tokens: tokens > 450, error)
    whole = sum(len(r.ids) for r in next(short.schedule())[1])
    assert whole > 450
    short.run()
    said = capsys.readouterr().err
    assert short.budget == whole // 2
    assert f"out of memory at update 1: the same again, {whole // 2} tokens a pass" in said
    assert said.count("out of memory") == 1
    assert seen[0] == whole and max(seen[1:]) <= 450
    assert not short.step.recompute
    small = trainer("small", dropout=dropout, micro_tokens=whole // 2)
    small.run()
    assert end_equal(short, small)
    if not dropout:
        ample = trainer("ample", dropout=dropout, micro_tokens=10**6)
        ample.run()
        for one, other in zip(told(short), told(ample), strict=True):
            for key in ("loss", "validation_loss"):
                assert one[key] == (other[key] and pytest.approx(other[key], rel=1e-3))


@both
def test_then_layers_are_computed_again(trainer: Any, dropout: float, capsys: pytest.CaptureFixture[str]) -> None:
    short = trainer("short", dropout=dropout)
    fail(short, lambda tokens: not short.step.recompute)
    short.run()
    said = capsys.readouterr().err
    assert said.count("tokens a pass") >= 1
    assert said.count("the same again, keeping only each layer's input") == 1
    assert said.count("out of memory at update 1:") == said.count("out of memory")
    longest = max(len(r.ids) for r in next(short.schedule())[1])
    assert short.budget == longest
    small = trainer("small", dropout=dropout, micro_tokens=longest)
    small.run()
    torch.testing.assert_close(short.flat, small.flat, rtol=1e-3, atol=1e-4)
    if not dropout:
        assert end_equal(short, small)


@both
def test_at_last_it_is_one_sentence_with_the_numbers(trainer: Any, dropout: float) -> None:
    one = trainer(dropout=dropout)
    fail(one, lambda tokens: True)
    longest = max(len(r.ids) for r in next(one.schedule())[1])
    with pytest.raises(
        SlmbenchError,
        match=rf"update 1: one row of {longest} tokens does not fit in memory, \d+\.\d GiB are in use; lower"
        r" data\.max_tokens with data\.over_long: skip, or allow more memory",
    ):
        one.run()
    assert one.done == 0


@both
def test_another_error_is_not_taken_for_it(trainer: Any, dropout: float) -> None:
    one = trainer(dropout=dropout)
    seen = fail(one, lambda tokens: True, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        one.run()
    assert len(seen) == 1


@both
def test_smaller_passes_outlive_a_stop(trainer: Any, dropout: float, capsys: pytest.CaptureFixture[str]) -> None:
    whole = trainer("whole", dropout=dropout)
    fail(whole, lambda tokens: not whole.step.recompute)
    whole.run()
    broken = trainer("broken", dropout=dropout)
    fail(broken, lambda tokens: not broken.step.recompute)
    stop_at(broken, 4)
    capsys.readouterr()
    again = trainer("broken", dropout=dropout)
    figures = again.run()
    assert "out of memory" not in capsys.readouterr().err
    assert again.step.recompute
    assert figures["pass_tokens"] == again.budget == whole.budget
    assert end_equal(again, whole)


@both
def test_where_memory_is_short_for_a_save_the_passes_give_theirs(
    trainer: Any, dropout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result is that of ample memory: only buffers are given."""
    ample, short = trainer("ample", dropout=dropout), trainer("short", dropout=dropout)
    ample.run()
    given: list[None] = []
    release = short.step.release
    monkeypatch.setattr(short.step, "release", lambda: (given.append(None), release()))
    monkeypatch.setattr(train, "has_room", lambda size: size < 6 * short.flat.nbytes)
    short.run()
    assert len(given) > short.updates  # every save, checkpoint_seconds being 0, and the end
    assert end_equal(ample, short)


def test_each_process_trains_on_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under `accelerate launch --multi_gpu`: the model too, or all processes would share the first GPU."""
    monkeypatch.setattr("accelerate.PartialState", lambda cpu: SimpleNamespace(device=torch.device("cuda:1")))
    assert train.own_device() == "cuda:1"
