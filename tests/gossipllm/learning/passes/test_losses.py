"""The loss by blocks against the usual one, and means over what bears loss against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from gossipllm.learning.passes.losses import (
    pooled,
    token_losses,
    tokens_and_mask,
    window_losses,
    window_means,
)
from support.tensors import listed
from trust.rows.config import Reduction


@pytest.mark.parametrize("windows", [1, 40])
def test_losses_and_gradients_are_cross_entropys(windows: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(windows, 9, 50, generator=generator) * 5).requires_grad_()
    tokens = torch.randint(0, 50, (windows, 9), generator=generator)
    slopes = torch.randn(windows, 8, generator=generator)
    want = functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction="none"
    ).view(windows, 8)
    (want_slope,) = torch.autograd.grad((want * slopes).sum(), logits)

    got = token_losses(logits, tokens)
    (slope,) = torch.autograd.grad((got * slopes).sum(), logits)

    torch.testing.assert_close(got, want)
    torch.testing.assert_close(slope, want_slope)


def test_half_precision_loses_no_more_than_the_logits_did() -> None:
    logits = torch.randn(4, 9, 50, generator=torch.Generator().manual_seed(0)).bfloat16()
    tokens = torch.zeros(4, 9, dtype=torch.int64)

    torch.testing.assert_close(token_losses(logits, tokens), token_losses(logits.float(), tokens))


def test_windows_become_ids_and_a_mask_and_no_mask_where_all_bear_loss() -> None:
    device = torch.device("cpu")
    marked, mask = tokens_and_mask(np.array([[~5, ~6, 7, 8], [1, 2, 3, ~0]], np.int32), device)
    plain, none = tokens_and_mask(np.arange(8, dtype=np.int32).reshape(2, 1, 4), device)

    assert listed(marked) == [[5, 6, 7, 8], [1, 2, 3, 0]]
    assert mask is not None
    assert listed(mask) == [[False, True, True], [True, True, False]]
    assert plain.shape == (2, 4)
    assert none is None


def test_means_leave_out_what_bears_no_loss() -> None:
    losses = torch.tensor([[9.0, 2.0, 4.0], [6.0, 9.0, 9.0], [torch.inf, 9.0, 9.0], [3.0, 3.0, 9.0]])
    bears = torch.tensor([[0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]], dtype=torch.bool)

    total, count = window_losses(losses, bears)

    assert listed(total) == [6, 6, 0, 6]
    assert listed(count) == [2, 1, 0, 2]
    assert listed(window_means(losses, bears)) == [3, 6, 0, 3]
    assert listed(pooled(losses, bears, groups=2)) == [12 / 3, 6 / 2]
    assert listed(pooled(losses, bears, groups=2, reduction="sequences")) == [9 / 2, 3]
    assert listed(pooled(losses[2:3], bears[2:3])) == [0]


def test_tokens_that_bear_no_loss_give_no_gradient() -> None:
    logits = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    tokens, bears = tokens_and_mask(np.array([[~1, ~2, 3, 4], [~1, 2, ~0, ~0]], np.int32), logits.device)

    (slope,) = torch.autograd.grad(pooled(token_losses(logits, tokens), bears).sum(), logits)

    bearing = slope.abs().sum(dim=2) > 0
    assert listed(bearing) == [[False, True, True, False], [True, False, False, False]]


@pytest.mark.parametrize("reduction", ["tokens", "sequences"])
def test_without_a_mask_means_are_the_plain_ones_to_the_last_bit(
    reduction: Reduction,
) -> None:
    losses = torch.rand(12, 127, generator=torch.Generator().manual_seed(0))

    assert torch.equal(window_means(losses, None), losses.mean(dim=1))
    assert torch.equal(pooled(losses, None, groups=3, reduction=reduction), losses.reshape(3, -1).mean(dim=1))
    total, count = window_losses(losses, None)
    torch.testing.assert_close(total / count, losses.mean(dim=1))


def test_the_reductions_agree_where_windows_bear_equally_many_and_differ_elsewhere() -> None:
    losses = torch.rand(4, 5, generator=torch.Generator().manual_seed(0))
    equal = torch.tensor([[0, 1, 1, 0, 0], [0, 0, 1, 1, 0], [1, 1, 0, 0, 0], [0, 0, 0, 1, 1]]).bool()
    unequal = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 0, 0, 1], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0]]).bool()

    torch.testing.assert_close(pooled(losses, equal), pooled(losses, equal, reduction="sequences"))
    by_window = window_means(losses, unequal)
    torch.testing.assert_close(pooled(losses, unequal, reduction="sequences")[0], by_window.mean())
    torch.testing.assert_close(
        pooled(losses, unequal)[0], (by_window * torch.tensor([5.0, 1.0, 1.0, 1.0])).sum() / 8
    )
