"""The loss by blocks against the usual one."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from gossipllm.learning.losses import token_losses


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
