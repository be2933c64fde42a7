"""AdamW by rows against torch's, and the schedules."""

from __future__ import annotations

import pytest
import torch

from gossipllm.config import TrainingConfig
from gossipllm.learning.passes.optimiser import AdamW, Descent, rate
from support.tensors import norm


def test_the_steps_are_those_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    theta = torch.randn(2, 50, generator=generator)
    configs = [
        TrainingConfig(learning_rate=0.1, warmup_steps=0, clip_norm=1.0, weight_decay=0.1),
        TrainingConfig(learning_rate=0.01, warmup_steps=3, clip_norm=100.0, weight_decay=0.0),
    ]
    ours = theta.clone()
    adamw = AdamW(configs, first_PN=torch.zeros(2, 50), second_PN=torch.zeros(2, 50), taken=(0, 0))
    theirs = [theta[i].clone().requires_grad_() for i in range(2)]
    optimisers = [
        torch.optim.AdamW([value], betas=(0.9, 0.95), weight_decay=config.weight_decay)
        for value, config in zip(theirs, configs, strict=True)
    ]

    for step in range(8):
        gradient = torch.randn(2, 50, generator=generator)
        for value, row, optimiser, config in zip(theirs, gradient, optimisers, configs, strict=True):
            value.grad = row.clone()
            torch.nn.utils.clip_grad_norm_([value], config.clip_norm)
            optimiser.param_groups[0]["lr"] = rate(step, config)
            optimiser.step()  # pyright: ignore[reportUnknownMemberType] - typed in part
        norms = adamw.step(ours, gradient.clone())
        torch.testing.assert_close(norms, norm(gradient, dim=1))

    torch.testing.assert_close(ours, torch.stack([value.detach() for value in theirs]), rtol=1e-6, atol=1e-7)


def test_the_rate_rises_then_stays() -> None:
    config = TrainingConfig(learning_rate=1.0, warmup_steps=4)

    assert [rate(step, config) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_a_decaying_rate_ends_at_a_tenth_and_stays_there() -> None:
    config = TrainingConfig(learning_rate=1.0, warmup_steps=2, decay_steps=12)

    assert rate(2, config) == 1.0
    assert rate(7, config) == pytest.approx(0.55), "half of the cosine"
    assert rate(12, config) == rate(100, config) == pytest.approx(0.1)


def test_one_cycle_is_torchs() -> None:
    config = TrainingConfig(learning_rate=2e-3, warmup_steps=10, decay_steps=500, schedule="onecycle")
    optimiser = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=2e-3, total_steps=500, pct_start=0.02, div_factor=100, final_div_factor=0.05
    )

    for step in range(500):
        assert rate(step, config) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-6), step
        optimiser.step()  # pyright: ignore[reportUnknownMemberType] - typed in part
        if step < 499:
            theirs.step()


def test_moments_begun_later_are_corrected_from_there_and_the_rate_goes_on() -> None:
    config = TrainingConfig(learning_rate=0.1, warmup_steps=4, weight_decay=0.0, clip_norm=1e9)
    fresh, later = (torch.zeros(1, 3) for _ in range(2))
    gradient = torch.tensor([[1.0, -2.0, 3.0]])
    for theta, taken, since in ((fresh, 0, 0), (later, 3, 3)):
        adamw = AdamW(
            [config], first_PN=torch.zeros(1, 3), second_PN=torch.zeros(1, 3), taken=[taken], since=[since]
        )
        adamw.step(theta, gradient.clone())

    # The first step of AdamW is the rate, whatever the gradient.
    torch.testing.assert_close(fresh, -0.025 * gradient.sign())
    torch.testing.assert_close(later, -0.1 * gradient.sign())


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_masked_entries_stay_and_count_for_no_norm(kind: str) -> None:
    config = TrainingConfig(learning_rate=0.1, warmup_steps=0, weight_decay=0.5)
    theta, gradient = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 100.0]])
    optimiser = (
        Descent([config], taken=[0])
        if kind == "sgd"
        else AdamW([config], first_PN=torch.zeros(1, 2), second_PN=torch.zeros(1, 2), taken=[0])
    )

    norms = optimiser.step(theta, gradient, torch.tensor([[1.0, 0.0]]))

    assert norms.item() == pytest.approx(3.0)
    assert theta[0, 1].item() == 2.0
    assert theta[0, 0].item() < 1.0


def test_descent_is_the_rate_times_the_gradient_and_nothing_else() -> None:
    config = TrainingConfig(learning_rate=0.5, warmup_steps=0, weight_decay=1.0, clip_norm=0.1)
    theta = torch.tensor([[1.0, 2.0]])

    Descent([config], taken=[0]).step(theta, torch.tensor([[4.0, -8.0]]))

    torch.testing.assert_close(theta, torch.tensor([[-1.0, 6.0]]))
