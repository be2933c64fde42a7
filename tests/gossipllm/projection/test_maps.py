"""Maps are what regression gives: exact where one model is a linear image of the other."""

from __future__ import annotations

import numpy as np
import torch

from gossipllm.projection.maps import random_maps, ridge_maps, svd_maps
from gossipllm.projection.statistics import PairSums


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sums_of(
    x_large: torch.Tensor, x_small: torch.Tensor, y_small: torch.Tensor, y_large: torch.Tensor
) -> PairSums:
    sums = PairSums()
    half = len(x_large) // 2
    for held_out, part in enumerate((slice(0, half), slice(half, None))):
        # In two pieces, as windows come.
        for piece in (slice(0, 10), slice(10, None)):
            sums.inputs[held_out].add(x_large[part][piece], x_small[part][piece])
            sums.outputs[held_out].add(y_small[part][piece], y_large[part][piece])
    return sums


def test_ridge_finds_the_linear_maps_between_two_models() -> None:
    inputs, outputs = drawn(6, 3, seed=0), drawn(4, 7, seed=1)
    x_large, y_small = drawn(400, 6, seed=2), drawn(400, 4, seed=3)

    maps = ridge_maps(sums_of(x_large, x_large @ inputs, y_small, y_small @ outputs))

    assert torch.allclose(maps.inputs_XY, inputs, atol=1e-3)
    assert torch.allclose(maps.outputs_XY, outputs, atol=1e-3)
    assert maps.explained is not None
    assert min(maps.explained) > 0.999


def test_outputs_are_mapped_as_changes_and_inputs_as_they_are() -> None:
    outputs = drawn(4, 7, seed=1)
    x_large, y_small = drawn(400, 6, seed=2), drawn(400, 4, seed=3)
    constant = 5 * torch.ones(7, dtype=torch.float64)

    maps = ridge_maps(sums_of(x_large, x_large[:, :3] + 5, y_small, y_small @ outputs + constant))

    assert torch.allclose(maps.outputs_XY, outputs, atol=1e-3)
    assert maps.explained is not None
    assert maps.explained[1] > 0.999
    assert maps.explained[0] < 0  # a product has no constant, and the mean would have done better


def test_what_has_nothing_in_common_is_not_explained() -> None:
    maps = ridge_maps(
        sums_of(drawn(400, 6, seed=2), drawn(400, 3, seed=4), drawn(400, 4, seed=3), drawn(400, 7, seed=5))
    )

    assert maps.explained is not None
    assert max(maps.explained) < 0.05


def test_aligned_directions_carry_a_weight_over_to_itself() -> None:
    weight = drawn(5, 8, seed=6)

    maps = svd_maps(weight, weight)

    assert torch.allclose(weight @ maps.inputs_XY.T, weight)
    assert torch.allclose(maps.outputs_XY.T @ weight, weight)


def test_aligned_directions_do_not_depend_on_signs() -> None:
    small, large = drawn(4, 3, seed=7), drawn(6, 5, seed=8)

    maps = svd_maps(small, large)

    # The strongest direction of the one comes out as that of the other.
    (u_small, _, _), (u_large, _, _) = (np.linalg.svd(one.numpy()) for one in (small, large))
    assert abs(float(u_small[:, 0] @ maps.outputs_XY.numpy() @ u_large[:, 0])) > 0.999


def test_random_maps_are_as_large_as_aligned_ones() -> None:
    small, large = drawn(4, 3, seed=7), drawn(6, 5, seed=8)

    aligned, random = svd_maps(small, large), random_maps(small, large, 0)

    for one, other in ((aligned.inputs_XY, random.inputs_XY), (aligned.outputs_XY, random.outputs_XY)):
        assert one.shape == other.shape
        assert abs(float(one.square().sum() - other.square().sum())) < 1e-9
