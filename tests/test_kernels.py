"""Every fast operation against its plain twin: the same values and the same gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from slmbench import kernels, models
from slmbench.kernels import CHUNK_ROWS, LONGEST_PRODUCT, CompletionLoss, LoraLinear, causal_attention, plain_loss


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(1)


def leaf(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, requires_grad=True)


def twin(value: torch.Tensor) -> torch.Tensor:
    return value.detach().clone().requires_grad_()


@pytest.mark.parametrize("rows", [1, CHUNK_ROWS, CHUNK_ROWS + 3])
def test_the_chunked_loss_and_its_gradient_are_the_plain_ones(rows: int) -> None:
    weight, labels, fast = torch.randn(40, 16), torch.randint(40, (rows,)), leaf(rows, 16)
    plain = twin(fast)
    a, b = CompletionLoss.apply(fast, weight, labels), plain_loss(plain, weight, labels)
    (a / 7).backward()
    (b / 7).backward()
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(fast.grad, plain.grad)


def test_a_hopeless_token_has_a_finite_loss() -> None:
    hidden, weight = torch.tensor([[200.0]], requires_grad=True), torch.tensor([[1.0], [-1.0]])
    loss = CompletionLoss.apply(hidden, weight, torch.tensor([1]))
    loss.backward()
    assert float(loss.detach()) == 400.0
    assert float(hidden.grad) == 2.0


def test_without_a_gradient_the_loss_is_the_same() -> None:
    hidden, weight, labels = leaf(9, 16), torch.randn(40, 16), torch.randint(40, (9,))
    with torch.no_grad():
        free = CompletionLoss.apply(hidden, weight, labels)
    torch.testing.assert_close(free, plain_loss(hidden, weight, labels).detach())


@pytest.mark.parametrize("bias", [None, torch.linspace(-1, 1, 7)])
@pytest.mark.parametrize("frozen_input", [False, True])
def test_the_fused_layer_is_the_sum_of_its_parts(bias: torch.Tensor | None, frozen_input: bool) -> None:
    weight, fast = torch.randn(7, 12), (leaf(2, 5, 12), leaf(3, 12), leaf(7, 3))
    fast[0].requires_grad_(not frozen_input)
    plain = tuple(map(twin, fast))
    x, a, b = plain
    expected = torch.nn.functional.linear(x, weight, bias) + 0.5 * (x @ a.T) @ b.T
    got = LoraLinear.apply(fast[0], weight, bias, fast[1], fast[2], 0.5)
    torch.testing.assert_close(got, expected)
    upstream = torch.randn_like(got)
    got.backward(upstream)
    expected.backward(upstream)
    for one, other in zip(fast, plain, strict=True):
        if one.requires_grad:
            torch.testing.assert_close(one.grad, other.grad)


def test_the_fused_layer_keeps_its_masters_in_fp32() -> None:
    x, weight = torch.randn(5, 12).bfloat16().requires_grad_(), torch.randn(7, 12).bfloat16()
    a, b = leaf(3, 12), leaf(7, 3)
    out = LoraLinear.apply(x, weight, None, a, b, 2.0)
    out.sum().backward()
    assert (out.dtype, x.grad.dtype, a.grad.dtype, b.grad.dtype) == (
        torch.bfloat16, torch.bfloat16, torch.float32, torch.float32,
    )  # fmt: skip
    exact = x.float() @ weight.float().T + 2.0 * (x.float() @ a.T) @ b.T
    torch.testing.assert_close(out.float(), exact, rtol=0.02, atol=0.2)


@pytest.mark.parametrize("heads", [(6, 2), (3, 3), (4, 1)])
@pytest.mark.parametrize("scaling", [None, 0.3])
def test_attention_by_products_is_torchs_own(heads: tuple[int, int], scaling: float | None) -> None:
    fast = (leaf(2, heads[0], 9, 8), leaf(2, heads[1], 9, 8), leaf(2, heads[1], 9, 8))
    plain = tuple(map(twin, fast))
    q, k, v = plain
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=True)
    got, _ = causal_attention(torch.nn.Identity(), *fast, None, scaling)
    torch.testing.assert_close(got, expected.transpose(1, 2))
    upstream = torch.randn_like(got)
    got.backward(upstream)
    expected.transpose(1, 2).backward(upstream)
    for one, other in zip(fast, plain, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_long_rows_go_to_torchs_own_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = torch.nn.functional.scaled_dot_product_attention
    seen: list[int] = []

    def watched(query: torch.Tensor, *rest: Any, **settings: Any) -> torch.Tensor:
        seen.append(query.shape[2])
        return plain(query, *rest, **settings)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    for positions in (LONGEST_PRODUCT, LONGEST_PRODUCT + 1):
        q, kv = torch.randn(1, 2, positions, 4), torch.randn(1, 1, positions, 4)
        got, _ = causal_attention(torch.nn.Identity(), q, kv, kv, None)
        torch.testing.assert_close(got, plain(q, kv, kv, is_causal=True, enable_gqa=True).transpose(1, 2))
    assert seen == [LONGEST_PRODUCT + 1]


def test_layers_with_dropout_keep_their_own_forward(tiny: Any, recipe: Any) -> None:
    from dataclasses import replace

    from slmbench.train import attach_adapter

    def layers(dropout: float) -> list[Any]:
        changed = replace(recipe, adapter=replace(recipe.adapter, dropout=dropout))
        model = kernels.fast(attach_adapter(models.load_model(tiny), changed))
        return [layer for name, layer in model.named_modules() if name.endswith("q_proj")]

    assert all("forward" in vars(layer) for layer in layers(0.0))
    assert not any("forward" in vars(layer) for layer in layers(0.1))
