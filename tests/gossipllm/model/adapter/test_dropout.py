"""Tests of dropout on the input of A: statistics of its draws, and the closed form of a site with dropout."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from gossipllm.model.adapter.dropout import Dropout, dropped
from gossipllm.model.adapter.sites import LoraSite

ENTRIES = 64 * 512


def ones(*, module: str = "q", rate: float = 0.5, draw: tuple[int, ...] = (0, 1, 2)) -> torch.Tensor:
    return dropped(torch.ones(1, 64, 512), module, [Dropout(rate, draw)])


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_rate_is_the_share_that_is_dropped_and_the_rest_makes_up_for_it(rate: float) -> None:
    values = ones(rate=rate)

    share = float((values == 0).double().mean())
    # Four standard deviations of a binomial share.
    assert share == pytest.approx(rate, abs=4 * (rate * (1 - rate) / ENTRIES) ** 0.5)
    torch.testing.assert_close(values[values != 0], torch.full_like(values[values != 0], 1 / (1 - rate)))


@pytest.mark.parametrize(
    ("module", "draw"), [("k", (0, 1, 2)), ("q", (1, 1, 2)), ("q", (0, 2, 2)), ("q", (0, 1, 3))]
)
def test_modules_seeds_rounds_and_steps_drop_independently(module: str, draw: tuple[int, ...]) -> None:
    """A mask is no shifted copy of another either: no circular shift of one agrees with the other beyond chance."""
    fft = cast("Any", torch).fft
    one, two = (
        fft.fft((values == 0).double().flatten() - 0.5) for values in (ones(), ones(module=module, draw=draw))
    )

    agreement = fft.ifft(one * two.conj()).real / (ENTRIES / 4)

    # Six standard deviations, for the largest of 32,768.
    assert float(agreement.abs().max()) < 6 / ENTRIES**0.5


def test_neighbouring_entries_drop_independently() -> None:
    values = (ones() == 0).double()[0]

    for rows in (values, values.T):
        pairs = torch.stack([rows[:, 1:].flatten(), rows[:, :-1].flatten()])
        assert abs(float(torch.corrcoef(pairs)[0, 1])) < 4 / ENTRIES**0.5


def test_what_an_adapter_drops_does_not_depend_on_who_shares_its_pass() -> None:
    x = torch.randn(3, 8, 16, generator=torch.Generator().manual_seed(0))
    dropouts = [Dropout(0.5, (seed, 0, 0)) for seed in range(3)]

    together = dropped(x, "q", dropouts)

    for index, dropout in enumerate(dropouts):
        torch.testing.assert_close(together[index : index + 1], dropped(x[index : index + 1], "q", [dropout]))


def test_an_adapter_without_dropout_is_untouched_beside_one_with_it() -> None:
    x = torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0))

    both = dropped(x, "q", [Dropout(0.0, (0, 0, 0)), Dropout(0.5, (0, 0, 0))])

    assert torch.equal(both[0], x[0])
    assert not torch.equal(both[1], x[1])


def test_a_site_drops_inputs_of_a_only_and_bears_the_gradient_of_what_is_kept() -> None:
    """y = W x + scale B A d(x), where d(x) is x with some entries at zero and the others divided by the share kept."""
    generator = torch.Generator().manual_seed(1)
    linear = torch.nn.Linear(12, 6, bias=False)
    site = LoraSite("q", linear)
    a, b = (torch.randn(1, *shape, generator=generator).requires_grad_() for shape in ((3, 12), (6, 3)))
    x = torch.randn(5, 12, generator=generator)
    site.mount({"q.lora_A": a, "q.lora_B": b}, scale=2.0)
    site.dropouts = [Dropout(0.4, (7, 8, 9))]

    y = site(x)
    y.sum().backward()

    kept = dropped(x[None], "q", site.dropouts)[0]
    torch.testing.assert_close(y, linear(x) + 2.0 * kept @ a[0].T @ b[0].T)
    assert a.grad is not None
    torch.testing.assert_close(a.grad[0], 2.0 * b[0].detach().sum(0)[:, None] * kept.sum(0))
