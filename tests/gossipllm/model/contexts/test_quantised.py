"""Tests of packed linear layers, against the unpacked weights that they stand for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.pytorch_utils import Conv1D

from gossipllm.model.contexts import quantised
from gossipllm.model.contexts.quantised import Int4Linear, Int8Linear, PackedLinear, packed
from support.tensors import norm, seed_torch


def drawn(kind: str, inputs: int = 100, outputs: int = 48) -> Any:
    """A random layer. Its 100 inputs fill one group of the four-bit format and part of a second."""
    seed_torch(1)
    layer: Any = Conv1D(outputs, inputs) if kind == "Conv1D" else torch.nn.Linear(inputs, outputs)
    torch.nn.init.normal_(layer.bias)
    return layer.requires_grad_(False)


def wide(layer: PackedLinear) -> torch.Tensor:
    """`(O, I)`: the weights that a packed layer stands for."""
    weight_OI = layer.wide(slice(0, layer.outputs), torch.float32)
    scale_O = layer.after(slice(0, layer.outputs))
    return weight_OI if scale_O is None else weight_OI * scale_O[:, None]


@pytest.mark.parametrize("kind", ["Linear", "Conv1D"])
@pytest.mark.parametrize("bits", [8, 4])
def test_a_packed_layer_multiplies_by_weights_near_the_originals(kind: str, bits: int) -> None:
    layer = drawn(kind)
    weight_OI = layer.weight.T if kind == "Conv1D" else layer.weight
    x = torch.randn(2, 5, 100)

    made = packed(layer, bits)

    assert made.bias is layer.bias
    step = weight_OI.abs().max() / (127 if bits == 8 else 8)
    # Half a step, or a whole one where the level +8 is missing; and the scale's own rounding.
    assert (wide(made) - weight_OI).abs().max() <= step * (0.5 if bits == 8 else 1.0) * 1.01
    torch.testing.assert_close(made(x), torch.nn.functional.linear(x, wide(made), layer.bias))


@pytest.mark.parametrize("bits", [8, 4])
def test_the_gradient_goes_through_the_packed_weights(bits: int) -> None:
    made = packed(drawn("Linear"), bits)
    x = torch.randn(2, 5, 100, requires_grad=True)
    slope = torch.randn(2, 5, 48)

    made(x).backward(slope)

    torch.testing.assert_close(x.grad, slope @ wide(made))


@pytest.mark.parametrize("bits", [8, 4])
def test_slices_change_nothing(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = packed(drawn("Linear"), bits)
    x = torch.randn(5, 100, requires_grad=True)
    found: list[torch.Tensor] = []
    for size in (quantised._SLICE, 700):
        monkeypatch.setattr(quantised, "_SLICE", size)
        y = made(x)
        found += [y, *torch.autograd.grad(y.sum(), x)]

    assert len(list(made.slices())) == 7
    torch.testing.assert_close(found[0], found[2])
    torch.testing.assert_close(found[1], found[3])


def test_a_packed_layer_takes_a_quarter_or_an_eighth_and_keeps_nothing_for_the_backward_pass() -> None:
    layer = drawn("Linear", 1024, 256)
    wide_bytes = layer.weight.numel() * 4
    kept: list[torch.Tensor] = []

    for bits, share in ((8, 1 / 4), (4, 4.25 / 32)):
        made = packed(layer, bits)
        held = sum(each.numel() * each.element_size() for each in made.buffers())
        assert held == pytest.approx(share * wide_bytes, rel=5e-3), "the scales of 8 bits are the rest"
        with torch.autograd.graph.saved_tensors_hooks(
            lambda value: kept.append(value) or value, lambda value: value
        ):
            made(torch.randn(3, 1024, requires_grad=True)).sum()

    assert not kept


def test_weights_of_zero_stay_zero() -> None:
    layer = torch.nn.Linear(64, 3)
    torch.nn.init.zeros_(layer.weight)

    assert not wide(packed(layer, 8)).any()
    assert not wide(packed(layer, 4)).any()


def test_bfloat16_goes_through_in_bfloat16() -> None:
    layer = drawn("Linear").bfloat16()
    x = torch.randn(4, 100, dtype=torch.bfloat16, requires_grad=True)

    for made in (packed(layer, 8), packed(layer, 4)):
        y = made(x)
        (slope,) = torch.autograd.grad(y.float().sum(), x)
        assert (y.dtype, slope.dtype) == (torch.bfloat16, torch.bfloat16)
        want = torch.nn.functional.linear(x.float(), wide(made), layer.bias.float())
        # bfloat16 has 8 bits.
        assert norm(y.float() - want) < 0.01 * norm(want)


def test_the_class_of_a_packed_layer_follows_its_bits() -> None:
    assert isinstance(packed(drawn("Linear"), 8), Int8Linear)
    assert isinstance(packed(drawn("Linear"), 4), Int4Linear)
