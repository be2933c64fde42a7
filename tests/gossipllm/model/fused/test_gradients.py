"""Fused functions against what autograd makes of their definitions, in float64."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import pytest
import torch

from gossipllm.model.fused.attention import rotated_attention
from gossipllm.model.fused.head import next_token_losses
from gossipllm.model.fused.lora import adapted
from gossipllm.model.fused.norm import rms_normed


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def gradients_hold(function: Any, *inputs: torch.Tensor) -> bool:
    """Whether the written gradients are those of finite differences."""
    return cast("Any", torch.autograd).gradcheck(function, inputs)


@pytest.mark.parametrize("adapters", [1, 3])
@pytest.mark.parametrize("with_bias", [False, True])
def test_an_adapted_layer_is_its_definition_for_each_adapter(adapters: int, *, with_bias: bool) -> None:
    x_PNI, a_PRI, b_POR = drawn(adapters, 5, 4), drawn(adapters, 2, 4, seed=1), drawn(adapters, 3, 2, seed=2)
    weight_OI, bias_O = drawn(3, 4, seed=3).detach(), drawn(3, seed=4).detach() if with_bias else None

    def function(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return adapted(x, weight_OI, bias_O, a, b, 1.5)

    y_PNO = function(x_PNI, a_PRI, b_POR)

    want_PNO = x_PNI @ weight_OI.T + 1.5 * x_PNI @ a_PRI.transpose(1, 2) @ b_POR.transpose(1, 2)
    torch.testing.assert_close(y_PNO, want_PNO if bias_O is None else want_PNO + bias_O)
    assert gradients_hold(function, x_PNI, a_PRI, b_POR)


def test_an_adapted_layer_takes_part_where_only_a_factor_is_trained() -> None:
    x_PNI, a_PRI, b_POR = drawn(1, 5, 4), drawn(1, 2, 4, seed=1), drawn(1, 3, 2, seed=2)
    weight_OI = drawn(3, 4, seed=3).detach()
    for trained in (x_PNI, a_PRI, b_POR):
        given = [one if one is trained else one.detach() for one in (x_PNI, a_PRI, b_POR)]
        whole = adapted(x_PNI, weight_OI, None, a_PRI, b_POR, 1.5).square().sum()
        alone = adapted(given[0], weight_OI, None, given[1], given[2], 1.5).square().sum()
        torch.testing.assert_close(
            torch.autograd.grad(alone, [trained]), torch.autograd.grad(whole, [trained])
        )


def test_a_norm_is_its_definition() -> None:
    x_NI, weight_I = drawn(2, 3, 6), drawn(6, seed=1).detach()

    y_NI = rms_normed(x_NI, weight_I, 1e-3)

    want_NI = weight_I * x_NI / (x_NI.square().mean(dim=-1, keepdim=True) + 1e-3).sqrt()
    torch.testing.assert_close(y_NI, want_NI)
    assert gradients_hold(partial(rms_normed, weight_I=weight_I, epsilon=1e-3), x_NI)


@pytest.mark.parametrize("logits_at_once", [1, 20, 10**6])
def test_losses_are_cross_entropys_however_many_rows_go_at_a_time(
    monkeypatch: pytest.MonkeyPatch, logits_at_once: int
) -> None:
    monkeypatch.setattr("gossipllm.model.fused.head._ENTRIES", logits_at_once)
    monkeypatch.setattr("gossipllm.model.fused.head._ROWS", 2)
    hidden_NH, weight_VH = drawn(7, 4), drawn(9, 4, seed=1).detach()
    targets_N = torch.arange(7) + 1

    losses_N = next_token_losses(hidden_NH, weight_VH, targets_N)

    want_N = torch.nn.functional.cross_entropy(hidden_NH @ weight_VH.T, targets_N, reduction="none")
    torch.testing.assert_close(losses_N, want_N)
    assert gradients_hold(partial(next_token_losses, weight_VH=weight_VH, targets_N=targets_N), hidden_NH)


def test_a_target_that_the_model_excludes_has_its_loss_though_its_probability_is_0() -> None:
    hidden_NH = torch.tensor([[1.0]])
    weight_VH = torch.tensor([[300.0], [0.0]])

    assert next_token_losses(hidden_NH, weight_VH, torch.tensor([1])).item() == pytest.approx(300.0)


@pytest.mark.parametrize("groups", [1, 2])
def test_attention_rotates_queries_and_keys_and_looks_at_the_past(groups: int) -> None:
    q_BTHD, k_BTGD, v_BTGD = (
        drawn(2, 5, 2, 4),
        drawn(2, 5, 2 // groups, 4, seed=1),
        drawn(2, 5, 2 // groups, 4, seed=2),
    )
    angles_TD = torch.arange(5, dtype=torch.float64)[:, None] * torch.tensor([1.0, 0.3, 1.0, 0.3])
    cos_TD, sin_TD = angles_TD.cos(), angles_TD.sin()

    def function(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return rotated_attention(q, k, v, cos_TD, sin_TD, 0.5)

    def rotated(x_BTHD: torch.Tensor) -> torch.Tensor:
        x1, x2 = x_BTHD.chunk(2, dim=-1)
        return x_BTHD * cos_TD[:, None] + torch.cat((-x2, x1), dim=-1) * sin_TD[:, None]

    want_BHTD = torch.nn.functional.scaled_dot_product_attention(
        rotated(q_BTHD).transpose(1, 2),
        rotated(k_BTGD).transpose(1, 2),
        v_BTGD.transpose(1, 2),
        is_causal=True,
        scale=0.5,
        enable_gqa=True,
    )
    torch.testing.assert_close(function(q_BTHD, k_BTGD, v_BTGD), want_BHTD.transpose(1, 2))
    assert gradients_hold(function, q_BTHD, k_BTGD, v_BTGD)
