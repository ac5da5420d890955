"""LoRA by hand: losses and gradients are those of the PEFT model under autograd, whatever its sizes and its rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters import clear, gradients
from hypothesis import given
from hypothesis import strategies as st

from slmbench import llama, models
from slmbench.config import PROJECTIONS
from slmbench.llama import LlamaStep, unsupported
from slmbench.packing import pack, packed, sizes
from slmbench.template import Encoded
from slmbench.train import flatten

VOCABULARY = 97
SIZES = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512, "initializer_range": 0.3,
    "tie_word_embeddings": True,
}  # fmt: skip
LENGTHS = (2, 7, 8, 9, 10, 11, 23)
"""Of the rows of most tests: within, at and beyond WHOLE_ROW = 8, over blocks of 5."""


def made(
    kind: str = "llama", dtype: torch.dtype = torch.float32, lora: dict[str, Any] | None = None, **sizes: Any
) -> Any:
    """A seeded random model with an adapter whose B is not zero, its gradients at hand."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**SIZES, **sizes})).to(dtype)
    settings: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": list(PROJECTIONS), "task_type": "CAUSAL_LM"}
    model = get_peft_model(model, LoraConfig(**{**settings, **(lora or {})}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)
            if "lora_B" in name or name.endswith("proj.base_layer.bias") or name.endswith("proj.bias"):
                parameter.normal_(std=0.2)
    return model


def rows_of(lengths: Sequence[int]) -> list[Encoded]:
    """Rows of random tokens; of each, a third is the prompt."""
    random = torch.Generator().manual_seed(1)
    return [
        Encoded(f"{i}", tuple(torch.randint(VOCABULARY, (n,), generator=random).tolist()), max(1, n // 3))
        for i, n in enumerate(lengths)
    ]


def family(*shape: tuple[str, int, int], seed: int = 2) -> list[Encoded]:
    """Rows by what they begin with: "ab" begins as "a" and "abc" do. Each letter is 9 tokens; then (prompt, answer)."""
    random = torch.Generator().manual_seed(seed)

    def some(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(VOCABULARY, (count,), generator=random).tolist())

    letters = {letter: some(9) for letter in "abcdef"}
    rows = []
    for i, (name, prompt, answer) in enumerate(shape):
        begins = tuple(token for letter in name for token in letters[letter])
        rows.append(Encoded(f"{i}", begins + some(prompt + answer), len(begins) + prompt))
    return rows


def plain(model: Any, rows: Sequence[Encoded]) -> float:
    """The twin: one row after another through the model itself, torch's own cross-entropy, autograd."""
    total = 0.0
    for row in rows:
        logits = model(input_ids=torch.tensor([row.ids])).logits[0, row.prompt_tokens - 1 : -1].float()
        labels = torch.tensor(row.ids[row.prompt_tokens :])
        loss = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
        loss.backward()
        total += float(loss.detach())
    return total


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of more than 8 tokens are long ones, looked at by 5 queries at a time."""
    monkeypatch.setattr(llama, "WHOLE_ROW", 8)
    monkeypatch.setattr(llama, "ATTENTION_BLOCK", 5)


CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "grouped heads": ("llama", {}, {}),
    "plain heads": ("llama", {"num_key_value_heads": 4}, {}),
    "one key head": ("llama", {"num_key_value_heads": 1}, {}),
    "a head width of its own": ("llama", {"head_dim": 16}, {}),
    "an output layer of its own": ("llama", {"tie_word_embeddings": False}, {}),
    "biases of qwen2": ("qwen2", {}, {}),
    "biases of all attention": ("llama", {"attention_bias": True}, {}),
    "biases without an adapter": ("qwen2", {}, {"target_modules": ["o_proj", "up_proj"]}),
    "stretched positions": (
        "llama", {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}}, {},
    ),
    "some targets": ("llama", {}, {"target_modules": ["q_proj", "down_proj"]}),
    "one target": ("llama", {}, {"target_modules": ["v_proj"]}),
    "some layers": ("llama", {}, {"layers_to_transform": [1]}),
    "rank 1": ("llama", {}, {"r": 1}),
    "rank 24": ("llama", {}, {"r": 24, "lora_alpha": 5}),
    "a rank for each target": ("llama", {}, {"rank_pattern": {"k_proj": 2, "down_proj": 7}}),
    "another scale": ("llama", {}, {"use_rslora": True}),
}  # fmt: skip


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(("kind", "sizes", "lora"), CASES.values(), ids=CASES)
def test_loss_and_gradients_are_those_of_autograd(
    kind: str, sizes: dict[str, Any], lora: dict[str, Any], recompute: bool
) -> None:
    model, twin, rows = made(kind, lora=lora, **sizes), made(kind, lora=lora, **sizes), rows_of(LENGTHS)
    assert unsupported(model) == ""
    expected_loss = plain(twin, rows)
    expected = gradients(twin)
    step = LlamaStep(model)
    step.recompute = recompute
    assert step.loss_and_gradients(rows, 0.25) == pytest.approx(expected_loss, rel=1e-5)
    got = gradients(model)
    assert got.keys() == expected.keys() and len(got) > 0
    for name, gradient in expected.items():
        assert float(gradient.norm()) > 0, name
        assert float((got[name] - 0.25 * gradient).norm()) < 1e-4 * 0.25 * float(gradient.norm()), name


FAMILIES = {
    "one beginning": (("a", 2, 3), ("a", 1, 1), ("a", 12, 9)),
    "one and strangers": (("a", 2, 3), ("b", 3, 3), ("a", 30, 2), ("", 4, 4)),
    "beginnings of beginnings": (("ab", 1, 3), ("abc", 2, 6), ("a", 5, 4), ("abcd", 3, 1), ("abc", 1, 1), ("e", 1, 2)),
    "the same prompt": (("abc", 0, 3), ("abc", 0, 3), ("abc", 0, 12)),
    "many": tuple(("f", n % 3 + 1, n % 5 + 1) for n in range(12)),
}


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("shape", FAMILIES.values(), ids=FAMILIES)
def test_what_rows_begin_with_is_there_once(
    shape: tuple[tuple[str, int, int], ...], recompute: bool, small: bool, request: pytest.FixtureRequest
) -> None:
    """Loss and gradients are those of rows that are computed one by one."""
    if small:
        request.getfixturevalue("small_blocks")
    model, twin, rows = made(), made(), family(*shape)
    expected = plain(twin, rows)
    step = LlamaStep(model)
    step.recompute = recompute
    assert pack(rows).shared > 0
    assert step.loss_and_gradients(rows, 1.0) == pytest.approx(expected, rel=1e-5)
    assert step.loss(rows) == pytest.approx(expected, rel=1e-5)
    got = gradients(model)
    for name, gradient in gradients(twin).items():
        assert float((got[name] - gradient).norm()) < 1e-4 * float(gradient.norm()), name


def test_rows_that_begin_alike_come_together() -> None:
    rows = family(*((name, 1 + n % 3, 4) for n in range(4) for name in ("ab", "c", "abd")))
    step = LlamaStep(made())
    groups = step.alike(rows, 60)
    assert sorted(row.id for group in groups for row in group) == sorted(row.id for row in rows)
    assert all(sum(own for own, _ in sizes(group)) <= 60 for group in groups)
    assert len(groups) < len(packed(rows, 60))
    whole = sum(step.loss([row]) for row in rows)
    assert sum(step.loss(group) for group in groups) == pytest.approx(whole, rel=1e-5)
    assert [len(group) for group in step.alike(rows, 1)] == [1] * len(rows)


@given(st.lists(st.tuples(st.text("ab", max_size=4), st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=8))
def test_segments_hold_every_row(shape: list[tuple[str, int, int]]) -> None:
    rows = family(*((name, max(prompt, 1 - len(name)), answer) for name, prompt, answer in shape))
    batch = pack(rows)
    ids = batch.ids.tolist()
    found = []
    for segment in batch.segments:
        parts = [*segment.before, (segment.begin, segment.end)]
        whole = [token for begin, end in parts for token in ids[begin:end]]
        positions = [place for begin, end in parts for place in batch.positions[begin:end].tolist()]
        assert positions == list(range(len(whole)))
        assert all(end <= batch.shared for _, end in segment.before)
        if segment.begin >= batch.shared:
            found.append(tuple(whole))
    assert sorted(found) == sorted(row.ids for row in rows)
    wanted = [label for row in sorted(rows, key=lambda r: r.ids) for label in row.ids[row.prompt_tokens :]]
    assert sorted(batch.labels.tolist()) == sorted(wanted)
    assert batch.picks.min() >= batch.shared and len(set(batch.picks.tolist())) == len(batch.labels)
    follow = {pick: label for pick, label in zip(batch.picks.tolist(), batch.labels.tolist(), strict=True)}
    assert all(ids[pick + 1] == label for pick, label in follow.items())


@pytest.mark.parametrize("lengths", [(2,), (5, 5), (40,), (3, 30, 17), (2,) * 9])
def test_rows_of_any_lengths(lengths: tuple[int, ...]) -> None:
    """With the constants as they are: every row is one block."""
    model, twin, rows = made(), made(), rows_of(lengths)
    expected = plain(twin, rows)
    assert LlamaStep(model).loss_and_gradients(rows, 1.0) == pytest.approx(expected, rel=1e-5)
    got, exact = gradients(model), gradients(twin)
    # The one key that a first token sees has all the weight: no gradient reaches queries and keys there.
    nothing = 1e-6 * float(torch.cat([gradient.reshape(-1) for gradient in exact.values()]).norm())
    for name, gradient in exact.items():
        assert float((got[name] - gradient).norm()) < 1e-4 * float(gradient.norm()) + nothing, name


def test_the_output_layer_is_cut_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, cut, rows = made(), made(), rows_of(LENGTHS)
    expected = LlamaStep(whole).loss_and_gradients(rows, 1.0)
    monkeypatch.setattr(llama, "LOSS_ROWS", 7)
    monkeypatch.setattr(llama, "SOFTMAX_ROWS", 3)
    assert LlamaStep(cut).loss_and_gradients(rows, 1.0) == pytest.approx(expected, rel=1e-6)
    for one, other in zip(gradients(whole).values(), gradients(cut).values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("small_blocks")
def test_computing_layers_again_gives_the_same_bits() -> None:
    model, rows = made(), rows_of(LENGTHS)
    step = LlamaStep(model)
    loss = step.loss_and_gradients(rows, 1.0)
    kept = gradients(model)
    clear(model)
    step.recompute = True
    assert step.loss_and_gradients(rows, 1.0) == loss
    assert same(gradients(model), kept)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("recompute", [False, True])
def test_buffers_that_served_other_batches_change_no_bit(recompute: bool) -> None:
    """A resumed training starts with new buffers and must go on as one that has used them for hours."""
    model, other = made(), made()
    used, new = LlamaStep(model), LlamaStep(other)
    used.recompute = new.recompute = recompute
    for lengths in ((9, 4), (60, 33, 8, 8, 3), (2,), (8, 8)):
        used.loss_and_gradients(rows_of(lengths), 1.0)
        used.loss(rows_of(lengths))
    clear(model)
    rows = rows_of(LENGTHS)
    assert used.loss_and_gradients(rows, 1.0) == new.loss_and_gradients(rows, 1.0)
    assert same(gradients(model), gradients(other))


def test_memory_that_was_given_back_is_taken_anew() -> None:
    model, rows = made(), rows_of(LENGTHS)
    step = LlamaStep(model)
    loss = step.loss_and_gradients(rows, 1.0)
    before = gradients(model)
    clear(model)
    step.release()
    assert not step.work.buffers
    assert step.loss_and_gradients(rows, 1.0) == loss
    assert same(gradients(model), before)


@pytest.mark.usefixtures("small_blocks")
def test_passes_add_up() -> None:
    whole, parts, rows = made(), made(), rows_of(LENGTHS)
    expected = LlamaStep(whole).loss_and_gradients(rows, 1.0)
    step = LlamaStep(parts)
    groups = step.groups(rows, 20)
    assert len(groups) > 2
    assert sum(step.loss_and_gradients(group, 1.0) for group in groups) == pytest.approx(expected, rel=1e-5)
    for one, other in zip(gradients(whole).values(), gradients(parts).values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("recompute", [False, True])
def test_the_loss_alone_is_the_same_and_leaves_gradients(recompute: bool) -> None:
    model, rows = made(), rows_of(LENGTHS)
    step = LlamaStep(model)
    step.recompute = recompute
    loss = step.loss_and_gradients(rows, 1.0)
    before = gradients(model)
    assert step.loss(rows) == loss
    assert same(gradients(model), before)


def test_a_step_of_the_optimizer_is_seen_after_a_refresh() -> None:
    model, twin, rows = made(), made(), rows_of(LENGTHS)
    step = LlamaStep(model)
    before = step.loss(rows)
    for each in (model, twin):
        torch.manual_seed(3)
        with torch.no_grad():
            for parameter in each.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn(parameter.shape), alpha=0.05)
    assert step.loss(rows) == before
    step.refresh()
    expected = plain(twin, rows)
    assert abs(expected - before) > 0.1
    assert step.loss_and_gradients(rows, 1.0) == pytest.approx(expected, rel=1e-5)
    got = gradients(model)
    for name, gradient in gradients(twin).items():
        assert float((got[name] - gradient).norm()) < 1e-4 * float(gradient.norm()), name


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_the_model_still_answers_as_before(kind: str) -> None:
    """Its weights became views of wider matrices; peft and transformers must not notice."""
    model, ids = made(kind), torch.tensor([rows_of((20,))[0].ids])
    with torch.no_grad():
        before = model(input_ids=ids).logits
        step = LlamaStep(model)
        torch.testing.assert_close(model(input_ids=ids).logits, before)
        del step
        torch.testing.assert_close(model.merge_and_unload()(input_ids=ids).logits, before, rtol=1e-3, atol=1e-3)


def test_bf16_is_as_near_as_bf16_is() -> None:
    model, twin, rows = made(dtype=torch.bfloat16), made(), rows_of(LENGTHS)
    expected = plain(twin, rows)
    assert LlamaStep(model).loss_and_gradients(rows, 1.0) == pytest.approx(expected, rel=0.03)
    rough, exact = (torch.cat([g.reshape(-1) for g in gradients(m).values()]) for m in (model, twin))
    assert rough.dtype == torch.float32
    assert float(torch.nn.functional.cosine_similarity(rough, exact, dim=0)) > 0.98


def test_the_adapter_of_a_flattened_model_loads_back(
    fresh: Any, tiny: Any, encoded: list[Encoded], tmp_path: Path
) -> None:
    model = fresh(dropout=0.0)
    flat = flatten([p for p in model.parameters() if p.requires_grad])
    step = LlamaStep(model)
    with torch.no_grad():
        flat.add_(torch.randn(flat.shape, generator=torch.Generator().manual_seed(1)), alpha=0.1)
    step.refresh()
    models.save_adapter(model, tmp_path / "adapter", tiny)
    again = models.load_adapter(models.load_model(tiny), tmp_path / "adapter", tiny, trainable=True)
    saved = {name: p.detach() for name, p in model.named_parameters() if "lora_" in name}
    loaded = {name: p.detach() for name, p in again.named_parameters() if "lora_" in name}
    assert same(saved, loaded)
    assert LlamaStep(again).loss(encoded[:3]) == step.loss(encoded[:3])


def test_one_flat_parameter_holds_all_values_and_gradients() -> None:
    parts = [torch.nn.Parameter(torch.randn(2, 3)), torch.nn.Parameter(torch.randn(4))]
    values = torch.cat([part.detach().reshape(-1) for part in parts])
    flat = flatten(parts)
    assert torch.equal(flat.detach(), values)
    (parts[0].sum() * 2 + parts[1].sum()).backward()
    assert flat.grad is not None and flat.grad.tolist() == [2.0] * 6 + [1.0] * 4
    with torch.no_grad():
        flat.zero_()
    assert not any(bool(part.any()) for part in parts)


# ---- what is left to autograd


@pytest.mark.parametrize(
    ("kind", "sizes", "lora", "why"),
    [
        ("llama", {}, {"lora_dropout": 0.1}, "dropout is above 0"),
        ("llama", {}, {"use_dora": True}, "its adapter is not plain LoRA"),
        ("qwen2", {}, {"lora_bias": True, "target_modules": ["q_proj", "v_proj"]}, "its adapter is not plain LoRA"),
        ("llama", {"mlp_bias": True}, {}, "its MLP is not a plain SwiGLU"),
        ("llama", {"hidden_act": "gelu"}, {}, "its MLP is not a plain SwiGLU"),
        ("qwen2", {"use_sliding_window": True}, {}, "its attention is not plain"),
        ("llama", {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 500.0}}, {},
         "its attention is not plain"),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 500.0}}, {},
         "its positions depend on the length"),
        ("qwen3", {"head_dim": 8}, {}, "qwen3 is no Llama-shaped model"),
    ],
)  # fmt: skip
def test_what_is_not_done_by_hand_says_why(kind: str, sizes: dict[str, Any], lora: dict[str, Any], why: str) -> None:
    assert unsupported(made(kind, lora=lora, **sizes)) == why


def test_another_device_is_not_done_by_hand() -> None:
    assert unsupported(made().to("meta")) == "it is not on the CPU"


# ---- rows into passes


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 200))
def test_passes_hold_every_row_once_within_the_budget_and_balanced(lengths: list[int], budget: int) -> None:
    rows = [Encoded(f"{i:03}", (0,) * n, 0) for i, n in enumerate(lengths)]
    groups = packed(rows, budget)
    assert sorted(row.id for group in groups for row in group) == [row.id for row in rows]
    sizes = [sum(len(row.ids) for row in group) for group in groups]
    assert all(size <= budget or len(group) == 1 for size, group in zip(sizes, groups, strict=True))
    # A row went where the fewest tokens were: without its shortest row, no pass is above the smallest.
    assert all(size - min(len(r.ids) for r in g) <= min(sizes) for size, g in zip(sizes, groups, strict=True))


def test_passes_are_as_few_as_can_be() -> None:
    rows = [Encoded(f"{i}", (0,) * n, 0) for i, n in enumerate((30, 30, 20, 20, 10, 10))]
    assert [sum(len(r.ids) for r in group) for group in packed(rows, 60)] == [60, 60]
    assert len(packed(rows, 10**6)) == 1
    assert packed(rows, 60) == packed(rows[::-1], 60)
    assert packed([], 60) == []


def test_holes_are_given_back_once_buffers_have_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    step = LlamaStep(made())
    given: list[None] = []
    monkeypatch.setattr(llama, "give_back", lambda: given.append(None))
    counts = []
    for lengths in ((9, 4), (9, 4), (60, 33), (60, 33), (9, 4)):
        step.loss_and_gradients(rows_of(lengths), 1.0)
        counts.append(len(given))
    first = counts[0]
    assert counts == [first, first, first + 1, first + 1, first + 1]
